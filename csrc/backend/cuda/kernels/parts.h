#pragma once

#include <cstdint>

#include "backend/cuda/group.h"

namespace cofactor::cuda {

/// A sum in parts: `count` arrays, `stride` numbers apart, which are added in order.
template <class T>
struct Parts {
  const T* data = nullptr;
  int count = 0;
  std::int64_t stride = 0;

  [[nodiscard]] COFACTOR_DEVICE T sum(std::int64_t at) const {
    T result = data[at];
    for (int part = 1; part < count; ++part) result += data[part * stride + at];
    return result;
  }
};

/// to[i] = the sum of the parts' numbers i, for i < size. A thread a number.
template <class T>
struct AddParts {
  static constexpr int kThreads = 256;

  Parts<T> parts;
  std::int64_t size = 0;
  T* to = nullptr;

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    block.each([&](int thread) {
      const std::int64_t i = std::int64_t{block.index()} * kThreads + thread;
      if (i < size) to[i] = parts.sum(i);
    });
  }
};

}  // namespace cofactor::cuda
