#pragma once

// Second product, S += W^T X: every entry of S takes the rows in order, one fused multiply-add
// each, so that neither tiles nor blocks change the order of a sum.

#include <cstdint>

#include "backend/cpu/kernels.h"
#include "backend/cpu/prefetch.h"

namespace cofactor::cpu {
namespace {

template <class V, int kComponents, int kVectors>
void accumulate_tile(const typename V::T* x, std::int64_t ldx, std::int64_t rows,
                     const typename V::T* w, std::int64_t ldw, typename V::T* s, std::int64_t lds) {
  using Reg = typename V::Reg;
  Reg sum[kComponents][kVectors];
  for (int r = 0; r < kComponents; ++r) {
    for (int c = 0; c < kVectors; ++c) sum[r][c] = V::load(s + r * lds + c * V::kLanes);
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    Reg xv[kVectors];
    for (int c = 0; c < kVectors; ++c) xv[c] = V::loadu(x + i * ldx + c * V::kLanes);
    for (int r = 0; r < kComponents; ++r) {
      const Reg wv = V::broadcast(w[r * ldw + i]);
      for (int c = 0; c < kVectors; ++c) sum[r][c] = V::fma(wv, xv[c], sum[r][c]);
    }
  }
  for (int r = 0; r < kComponents; ++r) {
    for (int c = 0; c < kVectors; ++c) V::store(s + r * lds + c * V::kLanes, sum[r][c]);
  }
}

/// Picks the instance for a run-time tile size of at most kComponents x kVectors.
template <class V, int kComponents, int kVectors>
void accumulate_any(int components, int vectors, const typename V::T* x, std::int64_t ldx,
                    std::int64_t rows, const typename V::T* w, std::int64_t ldw, typename V::T* s,
                    std::int64_t lds) {
  if (components == kComponents && vectors == kVectors) {
    accumulate_tile<V, kComponents, kVectors>(x, ldx, rows, w, ldw, s, lds);
    return;
  }
  if constexpr (kVectors > 1) {
    if (vectors < kVectors) {
      accumulate_any<V, kComponents, kVectors - 1>(components, vectors, x, ldx, rows, w, ldw, s,
                                                   lds);
      return;
    }
  }
  if constexpr (kComponents > 1) {
    accumulate_any<V, kComponents - 1, kVectors>(components, vectors, x, ldx, rows, w, ldw, s, lds);
  }
}

template <class V>
void accumulate(const StoredRows<typename V::T>& x, int rows, const typename V::T* w,
                std::int64_t ldw, int k, std::int64_t n, typename V::T* s, std::int64_t lds,
                typename V::T* packed) {
  using T = typename V::T;
  constexpr std::int64_t kStep = std::int64_t{V::kAccumulateVectors} * V::kLanes;
  const int k_tiles = (k + V::kAccumulateComponents - 1) / V::kAccumulateComponents;
  const std::int64_t padded = (n + kColumnAlign - 1) / kColumnAlign * kColumnAlign;
  constexpr int kAhead = 4;
  const T* tile = packed;
  std::int64_t ldx = kAccumulateColumns;
  if (x.pack == nullptr) {
    tile = reinterpret_cast<const T*>(x.data);
    ldx = x.stride / static_cast<std::int64_t>(sizeof(T));
  } else {
    for (int i = 0; i < rows; ++i) {
      const char* const row = x.data + i * x.stride;
      // A few rows ahead and no more: rows a power of two apart share a handful of cache sets.
      if (i + kAhead < rows) prefetch(row + kAhead * x.stride, n * x.itemsize);
      x.pack(row, n, packed + i * kAccumulateColumns, padded);
    }
  }
  for (std::int64_t j = 0; j < padded; j += kStep) {
    const std::int64_t left = (padded - j) / V::kLanes;
    const int vectors =
        left < V::kAccumulateVectors ? static_cast<int>(left) : V::kAccumulateVectors;
    for (int kt = 0; kt < k_tiles; ++kt) {
      const std::int64_t r0 = static_cast<std::int64_t>(k) * kt / k_tiles;
      const std::int64_t r1 = static_cast<std::int64_t>(k) * (kt + 1) / k_tiles;
      accumulate_any<V, V::kAccumulateComponents, V::kAccumulateVectors>(
          static_cast<int>(r1 - r0), vectors, tile + j, ldx, rows, w + r0 * ldw, ldw,
          s + r0 * lds + j, lds);
    }
  }
}

}  // namespace
}  // namespace cofactor::cpu
