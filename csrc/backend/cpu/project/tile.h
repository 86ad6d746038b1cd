#pragma once

// First product, B += X H^T: dot products along the columns, kProjectColumns at a time. Within
// those every lane sums its own columns in order, then the lanes are added up; no tile size changes
// the order of a sum.

#include <cstdint>
#include <type_traits>

#include "backend/cpu/component_tiles.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/prefetch.h"
#include "backend/cpu/simd/operands.h"
#include "backend/cpu/simd/unroll.h"

namespace cofactor::cpu {
namespace {

/// With Source a type of stored numbers, also leaves the converted rows in `packed`; else reads
/// them from there.
template <class Ops, class Source, int kRows, int kComponents>
void project_tile(const char* x, std::int64_t stride, typename Ops::Packed* packed,
                  const typename Ops::Packed* h, std::int64_t n, typename Ops::T scale,
                  typename Ops::T* b, std::int64_t ldb) {
  using V = typename Ops::V;
  static_assert(kComponents <= 4);
  typename V::Reg sum[kRows][kComponents];
  unroll<kRows>([&](auto i) { unroll<kComponents>([&](auto r) { sum[i][r] = V::zero(); }); });
  for (std::int64_t j = 0; j < n; j += Ops::kColumns) {
    typename Ops::Operand hv[kComponents];
    unroll<kComponents>([&](auto r) { hv[r] = Ops::load(h + r * kProjectColumns + j); });
    unroll<kRows>([&](auto i) {
      const std::int64_t at = i * kProjectColumns + j;
      typename Ops::Operand xv;
      if constexpr (std::is_same_v<Source, FromPacked>) {
        xv = Ops::load(packed + at);
      } else {
        xv = Ops::columns(reinterpret_cast<const Source*>(x + i * stride) + j);
        Ops::store(packed + at, xv);
      }
      unroll<kComponents>([&](auto r) { sum[i][r] = Ops::multiply_add(xv, hv[r], sum[i][r]); });
    });
  }
  unroll<kRows>([&](auto i) {
    typename V::Reg lanes[4];
    unroll<4>([&](auto r) {
      if constexpr (r < kComponents) {
        lanes[r] = sum[i][r];
      } else {
        lanes[r] = V::zero();
      }
    });
    V::template add_sums<kComponents>(lanes[0], lanes[1], lanes[2], lanes[3], scale, b + i * ldb);
  });
}

/// Picks the instance for a run-time tile size of at most kRows x kComponents.
template <class Ops, class Source, int kRows, int kComponents>
void project_any(int rows, int components, const char* x, std::int64_t stride,
                 typename Ops::Packed* packed, const typename Ops::Packed* h, std::int64_t n,
                 typename Ops::T scale, typename Ops::T* b, std::int64_t ldb) {
  if (rows == kRows && components == kComponents) {
    project_tile<Ops, Source, kRows, kComponents>(x, stride, packed, h, n, scale, b, ldb);
    return;
  }
  if constexpr (kComponents > 1) {
    if (components < kComponents) {
      project_any<Ops, Source, kRows, kComponents - 1>(rows, components, x, stride, packed, h, n,
                                                       scale, b, ldb);
      return;
    }
  }
  // Fewer rows than a whole tile are always packed first.
  if constexpr (kRows > 1 && std::is_same_v<Source, FromPacked>) {
    project_any<Ops, Source, kRows - 1, kComponents>(rows, components, x, stride, packed, h, n,
                                                     scale, b, ldb);
  }
}

template <class Ops, class Stored>
void project(const StoredRows& x, int rows, const void* factor, int k, std::int64_t n,
             typename Ops::T scale, typename Ops::T* b, std::int64_t ldb, void* space) {
  using V = typename Ops::V;
  constexpr int kRows = V::kProjectRows;
  static_assert(sizeof(typename Ops::T) * kRows * kProjectColumns <= kTileBytes);
  const auto* const h = static_cast<const typename Ops::Packed*>(factor);
  auto* const packed = static_cast<typename Ops::Packed*>(space);
  const ComponentTiles<V::kProjectComponents> tiles(k);
  const std::int64_t padded = (n + Ops::kColumns - 1) / Ops::kColumns * Ops::kColumns;
  for (int i = 0; i < rows; i += kRows) {
    const int count = rows - i < kRows ? rows - i : kRows;
    const char* const stored = x.data + i * x.stride;
    const bool convert = Ops::template kConverts<Stored> && count == kRows && n == padded;
    if (!convert) {
      for (int row = 0; row < count; ++row) {
        Ops::pack_columns(reinterpret_cast<const Stored*>(stored + row * x.stride), n,
                          packed + row * kProjectColumns, padded);
      }
    }
    // While these rows are multiplied, draw in the next ones, or the next columns of the first.
    constexpr auto kSize = static_cast<std::int64_t>(sizeof(Stored));
    const char* const next = i + kRows < rows ? stored + kRows * x.stride : x.data + n * kSize;
    for (int kt = 0; kt < tiles.count; ++kt) {
      for (int row = count * kt / tiles.count; row < count * (kt + 1) / tiles.count; ++row) {
        prefetch(next + row * x.stride, n * kSize);
      }
      const int r0 = tiles.first(kt);
      const int components = tiles.size(kt);
      const auto* const from = h + r0 * kProjectColumns;
      typename Ops::T* const to = b + i * ldb + r0;
      if constexpr (Ops::template kConverts<Stored>) {
        if (convert && kt == 0) {
          project_any<Ops, Stored, kRows, V::kProjectComponents>(
              count, components, stored, x.stride, packed, from, padded, scale, to, ldb);
          continue;
        }
      }
      project_any<Ops, FromPacked, kRows, V::kProjectComponents>(
          count, components, stored, x.stride, packed, from, padded, scale, to, ldb);
    }
  }
}

template <class Ops>
void pack_factor(const typename Ops::T* h, std::int64_t n, void* packed) {
  Ops::pack_factor(h, n, static_cast<typename Ops::Packed*>(packed));
}

inline void round_factor(float* x, std::int64_t n) {
  for (std::int64_t j = 0; j < n; ++j) x[j] = round_to_bf16(x[j]);
}

/// The table's part of this product.
template <class Ops>
void fill_project_table(Products<typename Ops::T>& table) {
  table.factor_size = sizeof(typename Ops::Packed);
  table.pack_factor = pack_factor<Ops>;
  table.project[static_cast<int>(DType::kUInt8)] = project<Ops, std::uint8_t>;
  table.project[static_cast<int>(DType::kFloat16)] = project<Ops, Float16>;
  table.project[static_cast<int>(DType::kBFloat16)] = project<Ops, BFloat16>;
  table.project[static_cast<int>(DType::kFloat32)] = project<Ops, float>;
  table.project[static_cast<int>(DType::kFloat64)] = project<Ops, double>;
}

}  // namespace
}  // namespace cofactor::cpu
