#pragma once

// First product, B = X H^T: a dot product along the columns, kept as one partial sum a lane until
// the last column, so that no tile size changes the order of a sum.

#include <cstdint>

#include "backend/cpu/kernels.h"
#include "backend/cpu/prefetch.h"

namespace cofactor::cpu {
namespace {

template <class V, int kRows, int kComponents>
void project_tile(const typename V::T* x, std::int64_t ldx, const typename V::T* h,
                  std::int64_t ldh, std::int64_t n, typename V::T* acc, std::int64_t acc_row) {
  using Reg = typename V::Reg;
  Reg sum[kRows][kComponents];
  for (int i = 0; i < kRows; ++i) {
    for (int r = 0; r < kComponents; ++r) sum[i][r] = V::load(acc + i * acc_row + r * V::kLanes);
  }
  for (std::int64_t j = 0; j < n; j += V::kLanes) {
    Reg hv[kComponents];
    for (int r = 0; r < kComponents; ++r) hv[r] = V::load(h + r * ldh + j);
    for (int i = 0; i < kRows; ++i) {
      const Reg xv = V::loadu(x + i * ldx + j);
      for (int r = 0; r < kComponents; ++r) sum[i][r] = V::fma(xv, hv[r], sum[i][r]);
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int r = 0; r < kComponents; ++r) V::store(acc + i * acc_row + r * V::kLanes, sum[i][r]);
  }
}

/// Picks the instance for a run-time tile size of at most kRows x kComponents.
template <class V, int kRows, int kComponents>
void project_any(int rows, int components, const typename V::T* x, std::int64_t ldx,
                 const typename V::T* h, std::int64_t ldh, std::int64_t n, typename V::T* acc,
                 std::int64_t acc_row) {
  if (rows == kRows && components == kComponents) {
    project_tile<V, kRows, kComponents>(x, ldx, h, ldh, n, acc, acc_row);
    return;
  }
  if constexpr (kComponents > 1) {
    if (components < kComponents) {
      project_any<V, kRows, kComponents - 1>(rows, components, x, ldx, h, ldh, n, acc, acc_row);
      return;
    }
  }
  if constexpr (kRows > 1) {
    project_any<V, kRows - 1, kComponents>(rows, components, x, ldx, h, ldh, n, acc, acc_row);
  }
}

template <class V>
void project(const StoredRows<typename V::T>& x, int rows, const typename V::T* h, std::int64_t ldh,
             int k, std::int64_t n, typename V::T* acc, typename V::T* packed) {
  using T = typename V::T;
  static_assert(V::kProjectRows * kProjectColumns <= kPackedSize);
  // Tiles of nearly equal size: k = 20 is five of four, never four of five and a rest.
  const int row_tiles = (rows + V::kProjectRows - 1) / V::kProjectRows;
  const int k_tiles = (k + V::kProjectComponents - 1) / V::kProjectComponents;
  const std::int64_t acc_row = static_cast<std::int64_t>(k) * V::kLanes;
  const std::int64_t padded = (n + kColumnAlign - 1) / kColumnAlign * kColumnAlign;
  for (int it = 0; it < row_tiles; ++it) {
    const int i0 = rows * it / row_tiles;
    const int i1 = rows * (it + 1) / row_tiles;
    const char* const stored = x.data + i0 * x.stride;
    const T* tile = packed;
    std::int64_t ldx = kProjectColumns;
    if (x.pack == nullptr) {
      tile = reinterpret_cast<const T*>(stored);
      ldx = x.stride / static_cast<std::int64_t>(sizeof(T));
    } else {
      for (int i = 0; i < i1 - i0; ++i) {
        x.pack(stored + i * x.stride, n, packed + i * kProjectColumns, padded);
      }
    }
    // While these rows are multiplied, draw in the next ones, or the next columns of the first.
    const bool last = it + 1 == row_tiles;
    const char* const next = last ? x.data + n * x.itemsize : x.data + i1 * x.stride;
    for (int kt = 0; kt < k_tiles; ++kt) {
      for (int i = (i1 - i0) * kt / k_tiles; i < (i1 - i0) * (kt + 1) / k_tiles; ++i) {
        prefetch(next + i * x.stride, n * x.itemsize);
      }
      const auto r0 = static_cast<int>(static_cast<std::int64_t>(k) * kt / k_tiles);
      const auto r1 = static_cast<int>(static_cast<std::int64_t>(k) * (kt + 1) / k_tiles);
      project_any<V, V::kProjectRows, V::kProjectComponents>(
          i1 - i0, r1 - r0, tile, ldx, h + r0 * ldh, ldh, padded,
          acc + i0 * acc_row + static_cast<std::int64_t>(r0) * V::kLanes, acc_row);
    }
  }
}

template <class V>
void project_sum(const typename V::T* acc, int rows, int k, typename V::T* b, std::int64_t ldb) {
  for (int i = 0; i < rows; ++i) {
    for (int r = 0; r < k; ++r) {
      b[r * ldb + i] = V::sum(V::load(acc + (static_cast<std::int64_t>(i) * k + r) * V::kLanes));
    }
  }
}

}  // namespace
}  // namespace cofactor::cpu
