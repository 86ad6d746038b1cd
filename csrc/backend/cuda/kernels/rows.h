#pragma once

// What a pass does with the rows of W once they are solved.

#include "backend/cuda/group.h"

namespace cofactor::cuda {

/// Rounds W where that is asked for, and gives for every row and fit <b, w> and the sum of w, and W
/// times the row's weight. Grid: groups of kRows rows.
template <class T>
struct WeighRows {
  static constexpr int kThreads = 128;
  static constexpr int kRows = kThreads / kWarpSize;

  T* w = nullptr;        ///< rows x components
  const T* b = nullptr;  ///< the same; null: no sums
  std::int64_t rows = 0;
  int components = 0;
  const std::int32_t* fits = nullptr;  ///< first component of every fit, and behind them all
  int num_fits = 0;
  bool rounded = false;
  const double* weight = nullptr;  ///< by row; null: 1
  T* weighted = nullptr;           ///< W times it; null with `weight`
  double* values = nullptr;        ///< two arrays a fit, `value_stride` apart
  std::int64_t value_stride = 0;

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    block.each_warp([&](typename Block::Warp& warp) {
      using Warp = typename Block::Warp;
      const std::int64_t row = std::int64_t{block.index()} * kRows + warp.index();
      if (row >= rows) return;
      const double factor = weight == nullptr ? 1.0 : weight[row];
      for (int fit = 0; fit < num_fits; ++fit) {
        typename Warp::template PerLane<double> cross, l1;
        warp.each([&](int lane) {
          cross[lane] = l1[lane] = 0;
          for (int r = fits[fit] + lane; r < fits[fit + 1]; r += kWarpSize) {
            const std::int64_t at = row * components + r;
            T value = w[at];
            if (rounded) {
              value = static_cast<T>(to_float(from_float<BFloat16>(static_cast<float>(value))));
              w[at] = value;
            }
            if (weight != nullptr) weighted[at] = value * static_cast<T>(factor);
            if (b == nullptr) continue;
            cross[lane] += static_cast<double>(value) * static_cast<double>(b[at]);
            l1[lane] += static_cast<double>(value);
          }
        });
        const double all_cross = warp.sum(cross), all_l1 = warp.sum(l1);
        warp.each([&](int lane) {
          if (lane == 0) values[std::int64_t{2} * fit * value_stride + row] = factor * all_cross;
          if (lane == 1) values[(std::int64_t{2} * fit + 1) * value_stride + row] = factor * all_l1;
        });
      }
    });
  }
};

/// The squares of a view's residual as one of the values of each row. Grid: blocks of kThreads
/// rows.
struct PutSquares {
  static constexpr int kThreads = 128;

  const double* squares = nullptr;  ///< slice, row
  int slices = 0;
  std::int64_t slice_stride = 0;
  std::int64_t rows = 0;
  const double* weight = nullptr;  ///< by row; null: 1
  double* values = nullptr;

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    block.each([&](int thread) {
      const std::int64_t row = std::int64_t{block.index()} * kThreads + thread;
      if (row >= rows) return;
      double sum = 0;
      for (int slice = 0; slice < slices; ++slice) sum += squares[slice * slice_stride + row];
      values[row] = weight == nullptr ? sum : weight[row] * sum;
    });
  }
};

}  // namespace cofactor::cuda
