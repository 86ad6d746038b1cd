#pragma once

// Sums over rows in float64, in an order that depends on the numbers of the rows alone: any
// division into blocks gives the same bits.

#include <cstdint>

#include "backend/cuda/group.h"

namespace cofactor::cuda {

/// Numbers that a sum over rows is kept in until the end of a pass.
inline constexpr int kRowLanes = 512;

/// Adds values of rows: lane l of a sum gets those of rows l, l + kRowLanes, ... of the source, in
/// order. The grid is one block a value.
struct SumRowValues {
  static constexpr int kThreads = kRowLanes;

  std::int64_t first_row = 0;  ///< in the source
  std::int64_t rows = 0;
  const double* row_values = nullptr;  ///< an array a value, `ld_values` apart
  std::int64_t ld_values = 0;
  double* lanes = nullptr;  ///< values x kRowLanes

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    const double* const from = row_values + block.index() * ld_values;
    block.each([&](int thread) {
      double& sum = lanes[std::int64_t{block.index()} * kRowLanes + thread];
      double own = sum;
      const std::int64_t first = (thread - first_row % kRowLanes + kRowLanes) % kRowLanes;
      for (std::int64_t i = first; i < rows; i += kRowLanes) own += from[i];
      sum = own;
    });
  }
};

/// totals[v] = the sum of the lanes of value v. The grid is one block a value.
struct AddRowLanes {
  static constexpr int kThreads = kWarpSize;

  const double* lanes = nullptr;
  double* totals = nullptr;

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    block.each_warp([&](auto& warp) {
      typename Block::Warp::template PerLane<double> own;
      warp.each([&](int lane) {
        own[lane] = 0;
        for (int l = lane; l < kRowLanes; l += kWarpSize) {
          own[lane] += lanes[std::int64_t{block.index()} * kRowLanes + l];
        }
      });
      const double total = warp.sum(own);
      warp.each([&](int lane) {
        if (lane == 0) totals[block.index()] = total;
      });
    });
  }
};

/// squares[g][r] += weight w[i][r]^2 for rows i of group g, in order. A warp takes kWarpSize
/// components of every `shares`-th group: the grid is divide_up(shares, kWarps) by
/// divide_up(components, kWarpSize), and any number of shares gives the same bits.
template <class T>
struct SumGroupSquares {
  static constexpr int kThreads = 128;
  static constexpr int kWarps = kThreads / kWarpSize;

  std::int64_t rows = 0;
  int components = 0;
  const T* w = nullptr;  ///< rows x components
  std::int64_t ld_w = 0;
  const double* weight = nullptr;  ///< of every row; null: 1
  const std::int32_t* group = nullptr;
  int shares = 1;
  double* squares = nullptr;  ///< groups x components

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    block.each_warp([&](auto& warp) {
      using Warp = typename Block::Warp;
      const int share = block.index() * kWarps + warp.index();
      const int r0 = block.index_y() * kWarpSize;
      if (share >= shares) return;
      typename Warp::template PerLane<double> own;
      // Rows of one group often follow each other: its sums stay at hand until another one comes.
      std::int64_t current = -1;
      for (std::int64_t first = 0; first < rows; first += kWarpSize) {
        typename Warp::template PerLane<bool> mine;
        warp.each([&](int lane) {
          mine[lane] = first + lane < rows && group[first + lane] % shares == share;
        });
        const std::uint32_t found = warp.ballot(mine);
        for (int at = 0; at < kWarpSize; ++at) {
          if ((found >> at & 1U) == 0) continue;
          const std::int64_t i = first + at;
          const std::int64_t before = current;
          current = group[i];
          const double factor = weight == nullptr ? 1.0 : weight[i];
          warp.each([&](int lane) {
            const int r = r0 + lane;
            if (r >= components) return;
            if (current != before) {
              if (before >= 0) squares[before * components + r] = own[lane];
              own[lane] = squares[current * components + r];
            }
            const auto value = static_cast<double>(w[i * ld_w + r]);
            own[lane] += factor * value * value;
          });
        }
      }
      if (current < 0) return;
      warp.each([&](int lane) {
        if (r0 + lane < components) squares[current * components + r0 + lane] = own[lane];
      });
    });
  }
};

}  // namespace cofactor::cuda
