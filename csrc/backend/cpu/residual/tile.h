#pragma once

// Explicit residual, for losses so small that the Gram identity has lost them to cancellation.

#include <cstdint>

namespace cofactor::cpu {
namespace {

template <class V>
void residual(const typename V::T* x, std::int64_t ldx, int rows, typename V::T scale,
              const typename V::T* w, std::int64_t ldw, const typename V::T* h, std::int64_t ldh,
              int k, std::int64_t n, double* out) {
  using Reg = typename V::Reg;
  constexpr int kVectors = 4;
  constexpr std::int64_t kStep = std::int64_t{kVectors} * V::kLanes;
  const Reg factor = V::broadcast(scale);
  for (int i = 0; i < rows; ++i) {
    const typename V::T* row = x + i * ldx;
    Reg squares = V::zero();
    std::int64_t j = 0;
    for (; j + kStep <= n; j += kStep) {
      Reg rest[kVectors];
      for (int c = 0; c < kVectors; ++c) {
        rest[c] = V::mul(factor, V::load(row + j + c * V::kLanes));
      }
      for (int r = 0; r < k; ++r) {
        const Reg wv = V::broadcast(w[r * ldw + i]);
        for (int c = 0; c < kVectors; ++c) {
          rest[c] = V::fnma(wv, V::loadu(h + r * ldh + j + c * V::kLanes), rest[c]);
        }
      }
      for (const Reg value : rest) squares = V::fma(value, value, squares);
    }
    for (; j < n; j += V::kLanes) {
      Reg rest = V::mul(factor, V::load(row + j));
      for (int r = 0; r < k; ++r) {
        rest = V::fnma(V::broadcast(w[r * ldw + i]), V::loadu(h + r * ldh + j), rest);
      }
      squares = V::fma(rest, rest, squares);
    }
    out[i] += static_cast<double>(V::sum(squares));
  }
}

}  // namespace
}  // namespace cofactor::cpu
