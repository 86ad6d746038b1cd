#pragma once

// Gram matrices of factors, in float64.

#include "backend/cuda/group.h"

namespace cofactor::cuda {

/// H H^T of one fit's components over runs of kRun columns. Grid: pairs of tiles x runs.
template <class T>
struct GramParts {
  static constexpr int kThreads = 256;
  static constexpr int kTile = 16;   ///< components: a thread has one pair
  static constexpr int kDepth = 64;  ///< columns in shared memory at a time
  static constexpr int kRun = 2048;

  const T* h = nullptr;
  std::int64_t h_stride = 0;
  int components = 0;
  std::int64_t columns = 0;
  double* parts = nullptr;  ///< run, component, component

  static constexpr int kLine = kDepth + 1;
  static constexpr int shared_bytes() { return 2 * kTile * kLine * static_cast<int>(sizeof(T)); }
  [[nodiscard]] static int tiles(int components) {
    const int side = divide_up(components, kTile);
    return side * side;
  }

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    auto left = block.template shared<T>(kTile * kLine);
    auto right = block.template shared<T>(kTile * kLine);
    const int side = divide_up(components, kTile);
    const int r0 = block.index() / side * kTile, l0 = block.index() % side * kTile;
    const std::int64_t begin = std::int64_t{block.index_y()} * kRun;
    const std::int64_t end = smaller(begin + kRun, columns);
    typename Block::template PerThread<double> sum;
    block.each([&](int thread) { sum[thread] = 0; });
    for (std::int64_t j0 = begin; j0 < end; j0 += kDepth) {
      block.sync();
      block.each([&](int thread) {
        for (int at = thread; at < kTile * kDepth; at += kThreads) {
          const int line = at / kDepth, column = at % kDepth;
          const std::int64_t j = j0 + column;
          const bool here = j < end;
          left[line * kLine + column] =
              here && r0 + line < components ? h[(r0 + line) * h_stride + j] : T{0};
          right[line * kLine + column] =
              here && l0 + line < components ? h[(l0 + line) * h_stride + j] : T{0};
        }
      });
      block.sync();
      block.each([&](int thread) {
        const int r = thread / kTile, l = thread % kTile;
        for (int column = 0; column < kDepth; ++column) {
          const T a = left[r * kLine + column], b = right[l * kLine + column];
          sum[thread] += static_cast<double>(a) * static_cast<double>(b);
        }
      });
    }
    block.each([&](int thread) {
      const int r = r0 + thread / kTile, l = l0 + thread % kTile;
      if (r < components && l < components) {
        parts[(std::int64_t{block.index_y()} * components + r) * components + l] = sum[thread];
      }
    });
  }
};

}  // namespace cofactor::cuda
