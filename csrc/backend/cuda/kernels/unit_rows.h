#pragma once

// Rows of H_v on the unit sphere, one at a time: with the other rows given, the best h_r is [t]_+
// normalised, with t = S_r - sum over l != r of C_rl h_l, and where no entry of t is positive its
// largest entry alone (backend/cpu/cpu_unit_rows.cpp).
//
// A sweep launches FindUnitRow and MoveUnitRow for every row, and EndUnitSweep. All of them return
// at once when a sweep before has moved no row further than it need: no sweep waits for the host.

#include <cmath>
#include <cstdint>

#include "backend/cuda/kernels/lane_groups.h"

namespace cofactor::cuda {

/// Columns of one block.
inline constexpr int kUnitColumns = 512;

/// Of one block's columns of t.
struct UnitPart {
  double square;    ///< of [t]_+
  double largest;   ///< entry of t
  std::int64_t at;  ///< its first column
};

/// What the kernels share.
template <class T>
struct UnitRows {
  std::int64_t columns = 0;
  int rank = 0;
  const double* c = nullptr;  ///< rank x rank
  std::int64_t ld_c = 0;
  const double* s = nullptr;  ///< rank x columns
  std::int64_t ld_s = 0;
  T* h = nullptr;  ///< rank x columns, improved in place
  std::int64_t ld_h = 0;

  double* t = nullptr;        ///< columns
  UnitPart* parts = nullptr;  ///< one a block
  double* moved = nullptr;    ///< rank x blocks: squares of what the columns of a row moved
  int* ended = nullptr;       ///< 0 before the first sweep, 1 after the last one that is needed

  [[nodiscard]] COFACTOR_DEVICE std::int64_t blocks() const {
    return divide_up(columns, std::int64_t{kUnitColumns});
  }
  /// Whether there is anything to do: where no row of W has the component, any h_r is as good.
  [[nodiscard]] COFACTOR_DEVICE bool moves(int r) const {
    return *ended == 0 && c[r * ld_c + r] > 0;
  }
};

/// t and its parts. One block kUnitColumns columns.
template <class T>
struct FindUnitRow {
  static constexpr int kThreads = 128;
  static constexpr int kWarps = kThreads / kWarpSize;
  static constexpr int kSharedBytes = round_up(kWarps * static_cast<int>(sizeof(double)), 16) * 3;

  UnitRows<T> rows;
  int r = 0;

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    using Warp = typename Block::Warp;
    if (!rows.moves(r)) return;
    const auto square = block.template shared<double>(kWarps);
    const auto largest = block.template shared<double>(kWarps);
    const auto at = block.template shared<std::int64_t>(kWarps);
    const std::int64_t first = std::int64_t{block.index()} * kUnitColumns;
    const std::int64_t last = smaller(first + kUnitColumns, rows.columns);
    block.each_warp([&](auto& warp) {
      typename Warp::template PerLane<double> squares, most;
      typename Warp::template PerLane<std::int64_t> column;
      warp.each([&](int lane) {
        squares[lane] = 0;
        most[lane] = -HUGE_VAL;
        column[lane] = last;
        for (std::int64_t j = first + warp.thread(lane); j < last; j += kThreads) {
          const double value = entry(j);
          rows.t[j] = value;
          const double positive = larger(value, 0.0);
          squares[lane] += positive * positive;
          if (value > most[lane]) {
            most[lane] = value;
            column[lane] = j;
          }
        }
      });
      const double sum = warp.sum(squares), best = warp.max(most);
      warp.each([&](int lane) {
        if (most[lane] < best) column[lane] = last;
      });
      min_in_groups<kWarpSize>(warp, column);
      warp.each([&](int lane) {
        if (lane != 0) return;
        square[warp.index()] = sum;
        largest[warp.index()] = best;
        at[warp.index()] = column[lane];
      });
    });
    block.sync();
    block.each([&](int thread) {
      if (thread != 0) return;
      UnitPart part{0, -HUGE_VAL, last};
      for (int warp = 0; warp < kWarps; ++warp) {
        part.square += square[warp];
        part = of_the_larger(part, largest[warp], at[warp]);
      }
      rows.parts[block.index()] = part;
    });
  }

  /// The part with the larger entry, or the first of two.
  COFACTOR_KERNEL static UnitPart of_the_larger(UnitPart part, double largest, std::int64_t at) {
    if (largest > part.largest || (largest == part.largest && at < part.at)) {
      part.largest = largest;
      part.at = at;
    }
    return part;
  }

 private:
  COFACTOR_KERNEL double entry(std::int64_t j) const {
    double value = rows.s[r * rows.ld_s + j];
    for (int l = 0; l < rows.rank; ++l) {
      if (l == r) continue;
      value -= rows.c[r * rows.ld_c + l] * static_cast<double>(rows.h[l * rows.ld_h + j]);
    }
    return value;
  }
};

/// h_r from t and the parts of all blocks. The same grid.
template <class T>
struct MoveUnitRow {
  static constexpr int kThreads = 128;
  static constexpr int kWarps = kThreads / kWarpSize;
  static constexpr int kSharedBytes = round_up(kWarps * static_cast<int>(sizeof(double)), 16);

  UnitRows<T> rows;
  int r = 0;

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    using Warp = typename Block::Warp;
    if (!rows.moves(r)) return;
    const auto squares = block.template shared<double>(kWarps);
    // The same sum in every block.
    UnitPart all = rows.parts[0];
    for (std::int64_t part = 1; part < rows.blocks(); ++part) {
      all.square += rows.parts[part].square;
      all = FindUnitRow<T>::of_the_larger(all, rows.parts[part].largest, rows.parts[part].at);
    }
    const double norm = sqrt(all.square);
    const std::int64_t first = std::int64_t{block.index()} * kUnitColumns;
    const std::int64_t last = smaller(first + kUnitColumns, rows.columns);
    block.each_warp([&](auto& warp) {
      typename Warp::template PerLane<double> moved;
      warp.each([&](int lane) {
        moved[lane] = 0;
        for (std::int64_t j = first + warp.thread(lane); j < last; j += kThreads) {
          const double value = norm > 0 ? larger(rows.t[j], 0.0) / norm : (j == all.at ? 1.0 : 0.0);
          T& h = rows.h[r * rows.ld_h + j];
          const double step = value - static_cast<double>(h);
          moved[lane] += step * step;
          h = static_cast<T>(value);
        }
      });
      const double sum = warp.sum(moved);
      warp.each([&](int lane) {
        if (lane == 0) squares[warp.index()] = sum;
      });
    });
    block.sync();
    block.each([&](int thread) {
      if (thread != 0) return;
      double sum = 0;
      for (int warp = 0; warp < kWarps; ++warp) sum += squares[warp];
      rows.moved[r * rows.blocks() + block.index()] = sum;
    });
  }
};

/// Ends the sweeps when no row has moved further than `least_move`. One block.
template <class T>
struct EndUnitSweep {
  static constexpr int kThreads = kWarpSize;

  UnitRows<T> rows;
  double least_move = 0;

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    if (*rows.ended != 0) return;
    block.each_warp([&](auto& warp) {
      typename Block::Warp::template PerLane<double> most;
      warp.each([&](int lane) {
        most[lane] = 0;
        for (int r = lane; r < rows.rank; r += kWarpSize) {
          if (!rows.moves(r)) continue;
          double square = 0;
          for (std::int64_t part = 0; part < rows.blocks(); ++part) {
            square += rows.moved[r * rows.blocks() + part];
          }
          most[lane] = larger(most[lane], square);
        }
      });
      const double largest = warp.max(most);
      warp.each([&](int lane) {
        if (lane == 0 && largest <= least_move * least_move) *rows.ended = 1;
      });
    });
  }
};

}  // namespace cofactor::cuda
