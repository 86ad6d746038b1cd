#pragma once

// Vectors of AVX-512. Everything has internal linkage: a file compiled for this level must not
// leave a copy of an inline function that the linker could hand to baseline code.

#include <immintrin.h>

#include <cstdint>

namespace cofactor::cpu {
namespace {

struct SimdF32 {
  using T = float;
  using Reg = __m512;
  static constexpr int kLanes = 16;
  // Registers: 24 accumulators, and room for one row and four columns of operands beside them.
  static constexpr int kProjectRows = 6, kProjectComponents = 4;
  static constexpr int kAccumulateComponents = 6, kAccumulateVectors = 4;
  static constexpr int kCholeskyBlock = 4;

  static Reg zero() { return _mm512_setzero_ps(); }
  static Reg broadcast(T x) { return _mm512_set1_ps(x); }
  static Reg load(const T* p) { return _mm512_load_ps(p); }
  static Reg loadu(const T* p) { return _mm512_loadu_ps(p); }
  static void store(T* p, Reg x) { _mm512_store_ps(p, x); }
  static void storeu(T* p, Reg x) { _mm512_storeu_ps(p, x); }
  static Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg div(Reg a, Reg b) { return _mm512_div_ps(a, b); }
  static Reg max(Reg a, Reg b) { return _mm512_max_ps(a, b); }
  static Reg abs(Reg a) { return _mm512_abs_ps(a); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  /// c - a * b
  static Reg fnma(Reg a, Reg b, Reg c) { return _mm512_fnmadd_ps(a, b, c); }
  /// 1 where a > b, else 0
  static Reg greater(Reg a, Reg b) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), _mm512_set1_ps(1.0F));
  }
  static bool any_nonzero(Reg a) {
    return _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NEQ_UQ) != 0;
  }
  static T sum(Reg a) { return _mm512_reduce_add_ps(a); }
  /// from[rows[lane] * stride + columns[lane]] in every lane.
  static Reg gather(const T* from, const std::int32_t* rows, const std::int32_t* columns,
                    std::int32_t stride) {
    const __m512i row = _mm512_load_si512(rows), column = _mm512_load_si512(columns);
    const __m512i at = _mm512_add_epi32(_mm512_mullo_epi32(row, _mm512_set1_epi32(stride)), column);
    return _mm512_i32gather_ps(at, from, sizeof(T));
  }
  /// to[r] += scale * sum of the r-th vector, for the first kCount of four.
  template <int kCount>
  static void add_sums(Reg a, Reg b, Reg c, Reg d, T scale, T* to) {
    const Reg ab = add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const Reg cd = add(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512d low = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    const __m512d high = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    const Reg all = add(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    const __m128 sums = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    constexpr __mmask8 kMask = (1U << kCount) - 1U;
    const __m128 before = _mm_maskz_loadu_ps(kMask, to);
    _mm_mask_storeu_ps(to, kMask, _mm_fmadd_ps(sums, _mm_set1_ps(scale), before));
  }

  static Reg convert(const float* p) { return _mm512_loadu_ps(p); }
  static Reg convert_f16(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Reg convert_bf16(const std::uint16_t* p) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static Reg round_to_bf16(Reg x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const Reg rounded = _mm512_castsi512_ps(_mm512_and_si512(up, _mm512_set1_epi32(-0x10000)));
    return _mm512_mask_mov_ps(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
  }
  static Reg convert_u8(const std::uint8_t* p) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
};

struct SimdF64 {
  using T = double;
  using Reg = __m512d;
  static constexpr int kLanes = 8;
  static constexpr int kProjectRows = 6, kProjectComponents = 4;
  static constexpr int kAccumulateComponents = 6, kAccumulateVectors = 4;
  static constexpr int kCholeskyBlock = 4;

  static Reg zero() { return _mm512_setzero_pd(); }
  static Reg broadcast(T x) { return _mm512_set1_pd(x); }
  static Reg load(const T* p) { return _mm512_load_pd(p); }
  static Reg loadu(const T* p) { return _mm512_loadu_pd(p); }
  static void store(T* p, Reg x) { _mm512_store_pd(p, x); }
  static void storeu(T* p, Reg x) { _mm512_storeu_pd(p, x); }
  static Reg add(Reg a, Reg b) { return _mm512_add_pd(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm512_sub_pd(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm512_mul_pd(a, b); }
  static Reg div(Reg a, Reg b) { return _mm512_div_pd(a, b); }
  static Reg max(Reg a, Reg b) { return _mm512_max_pd(a, b); }
  static Reg abs(Reg a) { return _mm512_abs_pd(a); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_pd(a, b, c); }
  static Reg fnma(Reg a, Reg b, Reg c) { return _mm512_fnmadd_pd(a, b, c); }
  static Reg greater(Reg a, Reg b) {
    return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(a, b, _CMP_GT_OQ), _mm512_set1_pd(1.0));
  }
  static bool any_nonzero(Reg a) {
    return _mm512_cmp_pd_mask(a, _mm512_setzero_pd(), _CMP_NEQ_UQ) != 0;
  }
  static T sum(Reg a) { return _mm512_reduce_add_pd(a); }
  static Reg gather(const T* from, const std::int32_t* rows, const std::int32_t* columns,
                    std::int32_t stride) {
    const __m256i row = _mm256_load_si256(reinterpret_cast<const __m256i*>(rows));
    const __m256i column = _mm256_load_si256(reinterpret_cast<const __m256i*>(columns));
    const __m256i at = _mm256_add_epi32(_mm256_mullo_epi32(row, _mm256_set1_epi32(stride)), column);
    return _mm512_i32gather_pd(at, from, sizeof(T));
  }
  template <int kCount>
  static void add_sums(Reg a, Reg b, Reg c, Reg d, T scale, T* to) {
    const T sums[] = {sum(a), sum(b), sum(c), sum(d)};
    for (int r = 0; r < kCount; ++r) to[r] += scale * sums[r];
  }
};

}  // namespace
}  // namespace cofactor::cpu
