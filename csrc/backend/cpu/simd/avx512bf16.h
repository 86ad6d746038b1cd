#pragma once

// Operands of the bfloat16 dot product, which adds the products of two pairs to every float32
// lane: the odd element's first, each rounded, as two fused multiply-adds would.

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/avx512.h"
#include "backend/cpu/simd/stored.h"

namespace cofactor::cpu {
namespace {

struct DotBF16 {
  using V = SimdF32;
  using T = float;
  using Operand = __m512i;
  using Packed = std::uint16_t;
  /// The numbers of two rows, the first in the upper half, so that it is added first.
  using Weight = std::uint32_t;
  static constexpr int kColumns = 32, kRows = 2;
  template <class Stored>
  static constexpr bool kConverts = sizeof(Stored) <= 4;

  static Operand load(const Packed* p) { return _mm512_load_si512(p); }
  static void store(Packed* p, Operand x) { _mm512_store_si512(p, x); }
  static Operand broadcast(Weight w) { return _mm512_set1_epi32(static_cast<int>(w)); }
  static __m512 multiply_add(Operand a, Operand b, __m512 c) {
    return _mm512_dpbf16_ps(c, as_bf16(a), as_bf16(b));
  }

  template <class Stored>
  static Operand columns(const Stored* p) {
    return pack_pair(convert<V>(p), convert<V>(p + V::kLanes));
  }
  static Operand columns(const BFloat16* p) { return _mm512_loadu_si512(p); }

  template <class Stored>
  static Operand rows(const Stored* p, std::int64_t stride) {
    const auto* const second =
        reinterpret_cast<const Stored*>(reinterpret_cast<const char*>(p) + stride);
    return interleave(convert<V>(p), convert<V>(second));
  }

  template <class Stored>
  static void pack_columns(const Stored* from, std::int64_t n, Packed* to, std::int64_t padded) {
    for (std::int64_t j = 0; j < padded; j += kColumns) {
      alignas(64) float numbers[kColumns];
      pack_vectors<V>(from + j, n - j < kColumns ? n - j : kColumns, numbers, kColumns);
      store(to + j, columns(numbers));
    }
  }
  template <class Stored>
  static void pack_rows(const Stored* first, const Stored* second, std::int64_t n, Packed* to,
                        std::int64_t padded) {
    for (std::int64_t j = 0; j < padded; j += V::kLanes) {
      alignas(64) float one[V::kLanes], two[V::kLanes] = {};
      const std::int64_t count = n - j < V::kLanes ? n - j : V::kLanes;
      pack_vectors<V>(first + j, count, one, V::kLanes);
      if (second != nullptr) pack_vectors<V>(second + j, count, two, V::kLanes);
      store(to + 2 * j, interleave(V::load(one), V::load(two)));
    }
  }
  static void pack_factor(const T* from, std::int64_t n, Packed* to) {
    pack_columns(from, n, to, (n + kColumns - 1) / kColumns * kColumns);
  }

  /// Pairs of rows, kAccumulateRows / 2 of them a component.
  static const Weight* weights(const T* w, std::int64_t ldw, int rows, int k, T* space) {
    auto* const pairs = reinterpret_cast<Weight*>(space);
    for (int r = 0; r < k; ++r) {
      for (int i = 0; i < rows; i += 32) {
        const int left = rows - i;
        const __m512 low = _mm512_maskz_loadu_ps(mask(left), w + r * ldw + i);
        const __m512 high = _mm512_maskz_loadu_ps(mask(left - 16), w + r * ldw + i + 16);
        const __m512i two = _mm512_rol_epi32(pack_pair(low, high), 16);
        _mm512_store_si512(pairs + r * weight_stride(ldw) + i / 2, two);
      }
    }
    return pairs;
  }
  static std::int64_t weight_stride([[maybe_unused]] std::int64_t ldw) {
    return kAccumulateRows / 2;
  }

 private:
  static __m512bh as_bf16(__m512i x) { return reinterpret_cast<__m512bh>(x); }
  /// 32 numbers in order.
  static __m512i pack_pair(__m512 low, __m512 high) {
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
  }
  /// Lane by lane, `first` in the upper half.
  static __m512i interleave(__m512 first, __m512 second) {
    const __m512i pair = pack_pair(second, first);
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, pair);
  }
  static __mmask16 mask(int count) {
    if (count <= 0) return 0;
    return static_cast<__mmask16>(count >= 16 ? 0xffffU : (1U << count) - 1U);
  }
};

}  // namespace
}  // namespace cofactor::cpu
