#pragma once

// Batched non-negative least squares by greedy coordinate descent (the rule of Gauss and
// Southwell).
//
// A move takes the coordinate that violates the conditions of optimality most to its minimiser.
// Every few of them the point is scaled by the best factor, and goes on along its last
// displacement by the best step: components are non-negative and so pull all together or none,
// which single moves are slow to find, and these two directions cost a few sums. On activations of
// a network, ranks 20 to 128, a row takes 75 to 395 moves from a cold start, where cyclic sweeps
// take 227 to 2,260; a move costs 2 k operations, and a search for the next one that reads no
// memory.
//
// The gradient is kept up to date by every move, and formed anew where a row seems done and now and
// then besides: a row ends only by a fresh one. What has not ended after kMostRounds is left to
// FinishNnls.

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "backend/cuda/kernels/lane_groups.h"
#include "backend/cuda/kernels/nnls_problem.h"
#include "backend/cuda/kernels/parts.h"

namespace cofactor::cuda {

/// Numbers of one 16-byte load, or of an 8-byte one where slots do not fill it.
template <class T, int kNumbers>
struct alignas(kNumbers * sizeof(T)) Vector {
  T x[kNumbers];
};

/// The rows that one warp solves. `Shape` is an NnlsShape.
template <class Warp, class T, class Shape>
class NnlsWarp {
 public:
  COFACTOR_KERNEL NnlsWarp(Warp& warp, const NnlsProblem<T>& problem, std::int64_t first)
      : warp_(warp), problem_(problem), first_(first) {}

  COFACTOR_KERNEL void load(const Parts<T>& parts) {
    PerLane<T> largest;
    warp_.each([&](int lane) {
      Row& row = rows_[lane];
      row.i = first_ + lane / kLanes;
      row.done = row.i >= problem_.rows;
      row.pattern = row.done ? 0 : problem_.pattern_of(row.i);
      row.gram = problem_.gram + row.pattern * problem_.k * Shape::kWidth + lane % kLanes * kVector;
      largest[lane] = 0;
      COFACTOR_UNROLL
      for (int c = 0; c < kSlots; ++c) {
        const int r = coordinate(lane, c);
        row.b[c] = row.x[c] = 0;
        if (row.done || r >= problem_.k) continue;
        const T scale = problem_.inv_sqrt_diag[row.pattern * problem_.k + r];
        row.b[c] = (right_side(parts, row.i * problem_.ld_b + r) - problem_.shift) * scale;
        largest[lane] = larger(largest[lane], magnitude(row.b[c]));
      }
    });
    max_in_groups<kLanes>(warp_, largest);
    warp_.each([&](int lane) { start(lane, largest[lane]); });
  }

  COFACTOR_KERNEL void solve() {
    for (int round = 0;; ++round) {
      form_gradients();
      judge();
      PerLane<bool> open;
      warp_.each([&](int lane) { open[lane] = !rows_[lane].done; });
      if (round == kMostRounds || !warp_.any(open)) return;
      scale_points();
      if (round >= 2) extrapolate();
      warp_.each([&](int lane) {
        Row& row = rows_[lane];
        COFACTOR_UNROLL
        for (int c = 0; c < kSlots; ++c) {
          row.x_before[c] = row.x[c];
          row.g_before[c] = row.g[c];
        }
      });
      move();
      warp_.each([&](int lane) {
        Row& row = rows_[lane];
        row.stale = !row.done && (row.settled || round % kFreshRounds == kFreshRounds - 1);
      });
    }
  }

  COFACTOR_KERNEL void store() {
    warp_.each([&](int lane) {
      const Row& row = rows_[lane];
      if (row.i >= problem_.rows) return;
      COFACTOR_UNROLL
      for (int c = 0; c < kSlots; ++c) {
        const int r = coordinate(lane, c);
        if (r >= problem_.k) continue;
        const T scale = problem_.inv_sqrt_diag[row.pattern * problem_.k + r];
        problem_.x[row.i * problem_.ld_x + r] = row.x[c] * row.unit * scale;
      }
      if (lane % kLanes == 0) problem_.unfinished[row.i] = row.done ? 0 : 1;
    });
  }

 private:
  static constexpr int kLanes = Shape::kLanes;
  static constexpr int kSlots = Shape::kSlots;
  /// Moves between two searches along lines, which bring all coordinates together.
  static constexpr int kMoves = smaller(larger(Shape::kWidth / 4, 16), 64);
  /// Activations need 4 to 20.
  static constexpr int kMostRounds = 100;
  /// A gradient takes as many roundings as moves are made on it.
  static constexpr int kFreshRounds = 8;
  static constexpr int kVector = kSlots % 4 == 0 && sizeof(T) == 4 ? 4 : 2;
  using Numbers = Vector<T, kVector>;
  template <class Value>
  using PerLane = typename Warp::template PerLane<Value>;

  /// What a lane has of its row, divided by a power of two near the largest |b|.
  struct Row {
    std::int64_t i = 0;
    std::int64_t pattern = 0;
    const T* gram = nullptr;  ///< of the pattern, from the lane's first number on
    T b[kSlots], x[kSlots], g[kSlots], x_before[kSlots], g_before[kSlots];
    T unit = 0, limit = 0;
    bool done = false;     ///< solved, or no row at all
    bool stale = false;    ///< the gradient is to be formed
    bool settled = false;  ///< no move is left by the gradient that was kept up to date
  };

  /// Number of the coordinate in a lane's slot: whole vectors of a row of G by lane.
  COFACTOR_KERNEL static constexpr int coordinate(int lane, int slot) {
    return (slot / kVector * kLanes + lane % kLanes) * kVector + slot % kVector;
  }
  /// The lane of the same row that has coordinate r.
  COFACTOR_KERNEL static constexpr int owner(int lane, int r) {
    return lane / kLanes * kLanes + r / kVector % kLanes;
  }
  COFACTOR_KERNEL static T magnitude(T x) { return x < 0 ? -x : x; }
  /// min(x, g), of which the magnitude is how far a coordinate is from optimal. In one instruction,
  /// which a comparison that minds NaN is not.
  COFACTOR_KERNEL static T violation(T x, T g) {
    if constexpr (sizeof(T) == 4) {
      return fminf(x, g);
    } else {
      return fmin(x, g);
    }
  }

  /// d_r of the scaled problem. Read where it is needed: few problems have any.
  COFACTOR_KERNEL T diagonal(const Row& row, int r) const {
    if (problem_.diagonal == nullptr) return 0;
    const T scale = problem_.inv_sqrt_diag[row.pattern * problem_.k + r];
    return problem_.scaled_diagonal(row.i, r, scale);
  }

  COFACTOR_KERNEL T right_side(const Parts<T>& parts, std::int64_t at) const {
    if (parts.count == 0) return problem_.b[at];
    return problem_.b[at] = parts.sum(at);
  }

  /// The row in its unit, and the point to start from: the given one, or b over the row sums of G,
  /// which is the solution where all coordinates are alike.
  COFACTOR_KERNEL void start(int lane, T largest) {
    Row& row = rows_[lane];
    row.unit = power_of_two(largest);
    row.limit = problem_.tolerance / 2 * (largest / row.unit);
    row.stale = !row.done;
    // The solution is 0, and what is no number ends here.
    const bool zero = !(largest > 0);
    COFACTOR_UNROLL
    for (int c = 0; c < kSlots; ++c) {
      const int r = coordinate(lane, c);
      row.b[c] /= row.unit;
      if (row.done || zero || r >= problem_.k) continue;
      const std::int64_t at = row.pattern * problem_.k + r;
      if (!problem_.warm) {
        row.x[c] = larger(row.b[c], T{0}) / (problem_.row_sum[at] + diagonal(row, r));
      } else if (problem_.inv_sqrt_diag[at] > 0) {
        row.x[c] = problem_.x[row.i * problem_.ld_x + r] / problem_.inv_sqrt_diag[at] / row.unit;
      }
    }
  }

  /// The largest power of two that is at most x, and the smallest normal one where x is less.
  COFACTOR_KERNEL static T power_of_two(T x) {
    if constexpr (sizeof(T) == 4) {
      return bits_as<float>(larger(bits_as<std::uint32_t>(x) & 0x7f800000U, 0x00800000U));
    } else {
      constexpr std::uint64_t kExponent = 0x7ff0000000000000U;
      return bits_as<double>(larger(bits_as<std::uint64_t>(x) & kExponent, 0x0010000000000000U));
    }
  }

  /// g = (G + diag(d))x - b, of the rows where it is stale.
  COFACTOR_KERNEL void form_gradients() {
    PerLane<bool> stale;
    warp_.each([&](int lane) {
      Row& row = rows_[lane];
      stale[lane] = row.stale;
      if (!row.stale) return;
      COFACTOR_UNROLL
      for (int c = 0; c < kSlots; ++c) {
        const int r = coordinate(lane, c);
        row.g[c] = (r < problem_.k ? diagonal(row, r) * row.x[c] : T{0}) - row.b[c];
      }
    });
    if (!warp_.any(stale)) return;
    for (int r = 0; r < problem_.k; ++r) {
      PerLane<T> own;
      warp_.each([&](int lane) {
        own[lane] = 0;
        COFACTOR_UNROLL
        for (int c = 0; c < kSlots; ++c) {
          if (coordinate(lane, c) == r) own[lane] = rows_[lane].x[c];
        }
      });
      const auto x = warp_.shuffle(own, [&](int lane) { return owner(lane, r); });
      warp_.each([&](int lane) {
        if (rows_[lane].stale) add_column(lane, r, x[lane]);
      });
    }
  }

  /// g += G_r times `step`
  COFACTOR_KERNEL void add_column(int lane, int r, T step) {
    Row& row = rows_[lane];
    const T* const from = row.gram + r * Shape::kWidth;
    COFACTOR_UNROLL
    for (int vector = 0; vector < kSlots / kVector; ++vector) {
      const auto column = load_vector<Numbers>(from + vector * kLanes * kVector);
      COFACTOR_UNROLL
      for (int e = 0; e < kVector; ++e) row.g[vector * kVector + e] += column.x[e] * step;
    }
  }

  /// Ends the rows whose fresh gradient is within the limit.
  COFACTOR_KERNEL void judge() {
    PerLane<T> worst;
    warp_.each([&](int lane) {
      const Row& row = rows_[lane];
      worst[lane] = 0;
      COFACTOR_UNROLL
      for (int c = 0; c < kSlots; ++c) {
        worst[lane] = larger(worst[lane], magnitude(violation(row.x[c], row.g[c])));
      }
    });
    max_in_groups<kLanes>(warp_, worst);
    warp_.each([&](int lane) {
      Row& row = rows_[lane];
      if (row.stale && worst[lane] <= row.limit) row.done = true;
      row.stale = false;
    });
  }

  /// x times the factor that minimises the objective.
  COFACTOR_KERNEL void scale_points() {
    PerLane<T> bx, xgx;
    warp_.each([&](int lane) {
      const Row& row = rows_[lane];
      bx[lane] = xgx[lane] = 0;
      COFACTOR_UNROLL
      for (int c = 0; c < kSlots; ++c) {
        bx[lane] += row.b[c] * row.x[c];
        xgx[lane] += row.x[c] * (row.g[c] + row.b[c]);
      }
    });
    sum_in_groups<kLanes>(warp_, bx);
    sum_in_groups<kLanes>(warp_, xgx);
    warp_.each([&](int lane) {
      Row& row = rows_[lane];
      if (row.done || !(bx[lane] > 0) || !(xgx[lane] > 0)) return;
      const T factor = bx[lane] / xgx[lane];
      COFACTOR_UNROLL
      for (int c = 0; c < kSlots; ++c) {
        row.x[c] *= factor;
        row.g[c] = factor * (row.g[c] + row.b[c]) - row.b[c];
      }
    });
  }

  /// x plus the displacement of the last round times the factor that minimises the objective, or
  /// the largest one that leaves x >= 0.
  COFACTOR_KERNEL void extrapolate() {
    PerLane<T> slope, curvature, most;
    warp_.each([&](int lane) {
      const Row& row = rows_[lane];
      slope[lane] = curvature[lane] = 0;
      most[lane] = std::numeric_limits<T>::max();
      COFACTOR_UNROLL
      for (int c = 0; c < kSlots; ++c) {
        const T way = row.x[c] - row.x_before[c];
        slope[lane] -= way * row.g[c];
        curvature[lane] += way * (row.g[c] - row.g_before[c]);
        if (way < 0) most[lane] = smaller(most[lane], row.x[c] / -way);
      }
    });
    sum_in_groups<kLanes>(warp_, slope);
    sum_in_groups<kLanes>(warp_, curvature);
    min_in_groups<kLanes>(warp_, most);
    warp_.each([&](int lane) {
      Row& row = rows_[lane];
      if (row.done || !(slope[lane] > 0) || !(curvature[lane] > 0)) return;
      const T factor = smaller(slope[lane] / curvature[lane], most[lane]);
      COFACTOR_UNROLL
      for (int c = 0; c < kSlots; ++c) {
        row.g[c] += factor * (row.g[c] - row.g_before[c]);
        row.x[c] = larger(row.x[c] + factor * (row.x[c] - row.x_before[c]), T{0});
      }
    });
  }

  /// Up to kMoves moves of every row that is not done.
  COFACTOR_KERNEL void move() {
    for (int n = 0; n < kMoves; ++n) {
      PerLane<std::uint32_t> key;
      warp_.each([&](int lane) { key[lane] = largest_violation(rows_[lane], lane); });
      max_in_groups<kLanes>(warp_, key);
      PerLane<bool> moves;
      PerLane<T> own;
      warp_.each([&](int lane) {
        Row& row = rows_[lane];
        const float size = bits_as<float>(key[lane] & kMagnitude);
        // Short of the limit: a row that a fresh gradient found outside it always has a move.
        row.settled = !(static_cast<T>(size) > row.limit * T(0.875));
        moves[lane] = !row.done && !row.settled;
        own[lane] = 0;
        const int r = static_cast<int>(key[lane] & kCoordinate);
        if (moves[lane] && owner(lane, r) == lane) own[lane] = move_coordinate(row, lane, r);
      });
      if (!warp_.any(moves)) return;
      const auto step = warp_.shuffle(
          own, [&](int lane) { return owner(lane, static_cast<int>(key[lane] & kCoordinate)); });
      warp_.each([&](int lane) {
        if (moves[lane]) add_column(lane, static_cast<int>(key[lane] & kCoordinate), step[lane]);
      });
    }
  }

  /// Moves a coordinate of the lane's own to its minimiser; returns how far.
  COFACTOR_KERNEL T move_coordinate(Row& row, int lane, int r) const {
    const int slot = r / (kVector * kLanes) * kVector + r % kVector;
    T x = 0, g = 0;
    COFACTOR_UNROLL
    for (int c = 0; c < kSlots; ++c) {
      if (c == slot) {
        x = row.x[c];
        g = row.g[c];
      }
    }
    T d = 0;
    if (problem_.diagonal != nullptr) {
      d = diagonal(row, r);
      g /= 1 + d;
    }
    const T to = larger(x - g, T{0});
    COFACTOR_UNROLL
    for (int c = 0; c < kSlots; ++c) {
      // Not the comparison above, of which the compiler would keep all results.
      if (coordinate(lane, c) != r) continue;
      row.x[c] = to;
      row.g[c] += d * (to - x);
    }
    return to - x;
  }

  /// The violation of a lane's worst coordinate, with the number of the coordinate in its last
  /// bits: as integers, such keys are in the order of the violations.
  COFACTOR_KERNEL static std::uint32_t largest_violation(const Row& row, int lane) {
    std::uint32_t key = 0;
    COFACTOR_UNROLL
    for (int c = 0; c < kSlots; ++c) {
      const auto size = static_cast<float>(violation(row.x[c], row.g[c]));
      const auto r = static_cast<std::uint32_t>(coordinate(lane, c));
      key = larger(key, (bits_as<std::uint32_t>(size) & kMagnitude) | r);
    }
    return key;
  }
  static constexpr std::uint32_t kCoordinate = kMostNnlsComponents - 1;
  static constexpr std::uint32_t kMagnitude = 0x7fffffffU & ~kCoordinate;

  Warp& warp_;
  const NnlsProblem<T>& problem_;
  std::int64_t first_;
  PerLane<Row> rows_;
};

/// One block a kRowsOfBlock rows.
template <class T, class Shape>
struct SolveNnls {
  static constexpr int kThreads = 128;
  static constexpr int kRowsOfBlock = kThreads / kWarpSize * Shape::kRows;
  /// The compiler makes room for a sixth block at the price of a spilled register.
  static constexpr int kLeastBlocks = sizeof(T) == 4 && Shape::kWidth == 256 ? 5 : 0;

  NnlsProblem<T> problem;
  /// Where right-hand sides come in parts, their sums are written to problem.b.
  Parts<T> parts;

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    block.each_warp([&](auto& warp) {
      using Warp = std::remove_reference_t<decltype(warp)>;
      const std::int64_t first =
          std::int64_t{block.index()} * kRowsOfBlock + warp.index() * Shape::kRows;
      if (first >= problem.rows) return;
      NnlsWarp<Warp, T, Shape> rows(warp, problem, first);
      rows.load(parts);
      rows.solve();
      rows.store();
    });
  }
};

}  // namespace cofactor::cuda
