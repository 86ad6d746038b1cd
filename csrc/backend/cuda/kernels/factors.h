#pragma once

// What is done to factors H and to their sums, number by number and component by component.

#include "backend/cuda/group.h"

namespace cofactor::cuda {

/// Every number to the nearest one of bfloat16. Grid: blocks of kThreads numbers.
struct RoundFactor {
  static constexpr int kThreads = 256;

  float* numbers = nullptr;
  std::int64_t count = 0;

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    block.each([&](int thread) {
      const std::int64_t i = std::int64_t{block.index()} * kThreads + thread;
      if (i < count) numbers[i] = to_float(from_float<BFloat16>(numbers[i]));
    });
  }
};

/// input = max(0, solved + momentum (solved - previous)); previous = solved. Grid: as RoundFactor.
template <class T>
struct AdvanceFactor {
  static constexpr int kThreads = 256;

  T* input = nullptr;
  T* previous = nullptr;
  const T* solved = nullptr;
  T momentum = 0;
  std::int64_t count = 0;

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    block.each([&](int thread) {
      const std::int64_t i = std::int64_t{block.index()} * kThreads + thread;
      if (i >= count) return;
      input[i] = larger(T{0}, solved[i] + momentum * (solved[i] - previous[i]));
      previous[i] = solved[i];
    });
  }
};

/// Sums over columns for one view: <S_r, H_r> and ||H_r||_1. Grid: components.
template <class T>
struct ComponentSums {
  static constexpr int kThreads = 256;

  const T* h = nullptr;
  std::int64_t h_stride = 0;
  const double* s = nullptr;  ///< components x columns, without gaps
  std::int64_t columns = 0;
  double* sums = nullptr;  ///< components x 2

  static constexpr int shared_bytes() { return 2 * kThreads * static_cast<int>(sizeof(double)); }

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    auto cross = block.template shared<double>(kThreads);
    auto l1 = block.template shared<double>(kThreads);
    const std::int64_t r = block.index();
    block.each([&](int thread) {
      double own_cross = 0, own_l1 = 0;
      for (std::int64_t j = thread; j < columns; j += kThreads) {
        const auto value = static_cast<double>(h[r * h_stride + j]);
        own_cross += value * s[r * columns + j];
        own_l1 += value;
      }
      cross[thread] = own_cross;
      l1[thread] = own_l1;
    });
    for (int half = kThreads / 2; half > 0; half /= 2) {
      block.sync();
      block.each([&](int thread) {
        if (thread >= half) return;
        const double other_cross = cross[thread + half], other_l1 = l1[thread + half];
        cross[thread] = cross[thread] + other_cross;
        l1[thread] = l1[thread] + other_l1;
      });
    }
    block.sync();
    block.each([&](int thread) {
      if (thread == 0) sums[2 * r] = cross[0];
      if (thread == 1) sums[2 * r + 1] = l1[0];
    });
  }
};

}  // namespace cofactor::cuda
