#pragma once

// Second product, S += W^T X: every entry of S takes the rows in order, one fused multiply-add
// each, so that neither tiles nor blocks change the order of a sum.

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
/// them from there. `steps` counts operands of Ops::kRows rows.
template <class Ops, class Source, int kComponents, int kVectors>
void accumulate_tile(const char* x, const char* next, std::int64_t stride,
                     typename Ops::Packed* packed, std::int64_t steps,
                     const typename Ops::Weight* w, std::int64_t ldw, typename Ops::T* s,
                     std::int64_t lds) {
  using V = typename Ops::V;
  constexpr std::int64_t kNumbers = std::int64_t{V::kLanes} * Ops::kRows;
  constexpr std::int64_t kTileRow = V::kAccumulateVectors * kNumbers;
  typename V::Reg sum[kComponents][kVectors];
  unroll<kComponents>([&](auto r) {
    unroll<kVectors>([&](auto c) { sum[r][c] = V::load(s + r * lds + c * V::kLanes); });
  });
  for (std::int64_t i = 0; i < steps; ++i) {
    typename Ops::Operand xv[kVectors];
    if constexpr (std::is_same_v<Source, FromPacked>) {
      unroll<kVectors>([&](auto c) { xv[c] = Ops::load(packed + i * kTileRow + c * kNumbers); });
    } else {
      const char* const row = x + i * Ops::kRows * stride;
      const std::int64_t ahead = i + kPrefetchRows / Ops::kRows;
      const char* const fetched = ahead < steps ? x + ahead * Ops::kRows * stride
                                                : next + (ahead - steps) * Ops::kRows * stride;
      for (int one = 0; one < Ops::kRows; ++one) {
        prefetch(fetched + one * stride,
                 kVectors * V::kLanes * static_cast<std::int64_t>(sizeof(Source)));
      }
      const auto* const from = reinterpret_cast<const Source*>(row);
      unroll<kVectors>([&](auto c) {
        xv[c] = Ops::rows(from + c * V::kLanes, stride);
        Ops::store(packed + i * kTileRow + c * kNumbers, xv[c]);
      });
    }
    unroll<kComponents>([&](auto r) {
      const typename Ops::Operand wv = Ops::broadcast(w[r * ldw + i]);
      unroll<kVectors>([&](auto c) { sum[r][c] = Ops::multiply_add(wv, xv[c], sum[r][c]); });
    });
  }
  unroll<kComponents>([&](auto r) {
    unroll<kVectors>([&](auto c) { V::store(s + r * lds + c * V::kLanes, sum[r][c]); });
  });
}

/// Picks the instance for a run-time tile size of at most kComponents x kVectors.
template <class Ops, class Source, int kComponents, int kVectors>
void accumulate_any(int components, int vectors, const char* x, const char* next,
                    std::int64_t stride, typename Ops::Packed* packed, std::int64_t steps,
                    const typename Ops::Weight* w, std::int64_t ldw, typename Ops::T* s,
                    std::int64_t lds) {
  if (components == kComponents && vectors == kVectors) {
    accumulate_tile<Ops, Source, kComponents, kVectors>(x, next, stride, packed, steps, w, ldw, s,
                                                        lds);
    return;
  }
  if constexpr (kComponents > 1) {
    if (components < kComponents) {
      accumulate_any<Ops, Source, kComponents - 1, kVectors>(components, vectors, x, next, stride,
                                                             packed, steps, w, ldw, s, lds);
      return;
    }
  }
  // Fewer vectors than a whole tile are always packed first.
  if constexpr (kVectors > 1 && std::is_same_v<Source, FromPacked>) {
    accumulate_any<Ops, Source, kComponents, kVectors - 1>(components, vectors, x, next, stride,
                                                           packed, steps, w, ldw, s, lds);
  }
}

template <class Ops, class Stored>
void accumulate(const StoredRows& x, int rows, const typename Ops::T* w, std::int64_t ldw, int k,
                std::int64_t n, typename Ops::T* s, std::int64_t lds, void* space) {
  using V = typename Ops::V;
  using Packed = typename Ops::Packed;
  constexpr std::int64_t kStep = std::int64_t{V::kAccumulateVectors} * V::kLanes;
  static_assert(sizeof(typename Ops::T) * kAccumulateRows * kStep <= kTileBytes);
  auto* const packed = static_cast<Packed*>(space);
  auto* const weight_space =
      reinterpret_cast<typename Ops::T*>(static_cast<char*>(space) + kTileBytes);
  const ComponentTiles<V::kAccumulateComponents> tiles(k);
  for (int i = 0; i < rows; i += kAccumulateRows) {
    const int count = rows - i < kAccumulateRows ? rows - i : kAccumulateRows;
    const int steps = (count + Ops::kRows - 1) / Ops::kRows;
    const typename Ops::Weight* const weights = Ops::weights(w + i, ldw, count, k, weight_space);
    const std::int64_t weight_stride = Ops::weight_stride(ldw);
    const char* const data = x.data + i * x.stride;
    for (std::int64_t j = 0; j < n; j += kStep) {
      const std::int64_t width = n - j < kStep ? n - j : kStep;
      const auto vectors = static_cast<int>((width + V::kLanes - 1) / V::kLanes);
      const char* const stored = data + j * static_cast<std::int64_t>(sizeof(Stored));
      const bool last = j + kStep >= n;
      const char* const next = last ? data + kAccumulateRows * x.stride
                                    : stored + kStep * static_cast<std::int64_t>(sizeof(Stored));
      const bool convert =
          Ops::template kConverts<Stored> && width == kStep && count % Ops::kRows == 0;
      if (!convert) {
        for (int step = 0; step < steps; ++step) {
          const char* const row = stored + step * Ops::kRows * x.stride;
          const bool paired = Ops::kRows == 2 && 2 * step + 1 < count;
          Ops::pack_rows(reinterpret_cast<const Stored*>(row),
                         paired ? reinterpret_cast<const Stored*>(row + x.stride) : nullptr, width,
                         packed + step * kStep * Ops::kRows, vectors * V::kLanes);
        }
      }
      for (int kt = 0; kt < tiles.count; ++kt) {
        const int r0 = tiles.first(kt);
        const int components = tiles.size(kt);
        const auto* const from = weights + r0 * weight_stride;
        typename Ops::T* const to = s + r0 * lds + j;
        if constexpr (Ops::template kConverts<Stored>) {
          if (convert && kt == 0) {
            accumulate_any<Ops, Stored, V::kAccumulateComponents, V::kAccumulateVectors>(
                components, vectors, stored, next, x.stride, packed, steps, from, weight_stride, to,
                lds);
            continue;
          }
        }
        accumulate_any<Ops, FromPacked, V::kAccumulateComponents, V::kAccumulateVectors>(
            components, vectors, stored, next, x.stride, packed, steps, from, weight_stride, to,
            lds);
      }
    }
  }
}

/// The table's part of this product.
template <class Ops>
void fill_accumulate_table(Products<typename Ops::T>& table) {
  table.accumulate[static_cast<int>(DType::kUInt8)] = accumulate<Ops, std::uint8_t>;
  table.accumulate[static_cast<int>(DType::kFloat16)] = accumulate<Ops, Float16>;
  table.accumulate[static_cast<int>(DType::kBFloat16)] = accumulate<Ops, BFloat16>;
  table.accumulate[static_cast<int>(DType::kFloat32)] = accumulate<Ops, float>;
  table.accumulate[static_cast<int>(DType::kFloat64)] = accumulate<Ops, double>;
}

}  // namespace
}  // namespace cofactor::cpu
