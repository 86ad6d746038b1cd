#pragma once

// Vectors of AVX2 with FMA and F16C. Internal linkage, for the reason given in avx512.h.

#include <immintrin.h>

#include <cstdint>

namespace cofactor::cpu {
namespace {

struct SimdF32 {
  using T = float;
  using Reg = __m256;
  static constexpr int kLanes = 8;
  // 12 accumulators of the 16 registers.
  static constexpr int kProjectRows = 4, kProjectComponents = 3;
  static constexpr int kAccumulateComponents = 6, kAccumulateVectors = 2;
  static constexpr int kCholeskyBlock = 3;

  static Reg zero() { return _mm256_setzero_ps(); }
  static Reg broadcast(T x) { return _mm256_set1_ps(x); }
  static Reg load(const T* p) { return _mm256_load_ps(p); }
  static Reg loadu(const T* p) { return _mm256_loadu_ps(p); }
  static void store(T* p, Reg x) { _mm256_store_ps(p, x); }
  static void storeu(T* p, Reg x) { _mm256_storeu_ps(p, x); }
  static Reg add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
  static Reg div(Reg a, Reg b) { return _mm256_div_ps(a, b); }
  static Reg max(Reg a, Reg b) { return _mm256_max_ps(a, b); }
  static Reg abs(Reg a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  /// c - a * b
  static Reg fnma(Reg a, Reg b, Reg c) { return _mm256_fnmadd_ps(a, b, c); }
  /// 1 where a > b, else 0
  static Reg greater(Reg a, Reg b) {
    return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ), _mm256_set1_ps(1.0F));
  }
  static bool any_nonzero(Reg a) {
    return _mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_UQ)) != 0;
  }
  static T sum(Reg a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  /// to[r] += scale * sum of the r-th vector, for the first kCount of four.
  template <int kCount>
  static void add_sums(Reg a, Reg b, Reg c, Reg d, T scale, T* to) {
    T out[4];
    const Reg ab = _mm256_hadd_ps(a, b), cd = _mm256_hadd_ps(c, d);
    const Reg all = _mm256_hadd_ps(ab, cd);
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
    for (int r = 0; r < kCount; ++r) to[r] += scale * out[r];
  }

  static Reg convert(const float* p) { return _mm256_loadu_ps(p); }
  static Reg convert_f16(const std::uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Reg convert_bf16(const std::uint16_t* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  static Reg round_to_bf16(Reg x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const Reg rounded = _mm256_castsi256_ps(_mm256_and_si256(up, _mm256_set1_epi32(-0x10000)));
    return _mm256_blendv_ps(rounded, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  }
  static Reg convert_u8(const std::uint8_t* p) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
};

struct SimdF64 {
  using T = double;
  using Reg = __m256d;
  static constexpr int kLanes = 4;
  static constexpr int kProjectRows = 4, kProjectComponents = 3;
  static constexpr int kAccumulateComponents = 6, kAccumulateVectors = 2;
  static constexpr int kCholeskyBlock = 3;

  static Reg zero() { return _mm256_setzero_pd(); }
  static Reg broadcast(T x) { return _mm256_set1_pd(x); }
  static Reg load(const T* p) { return _mm256_load_pd(p); }
  static Reg loadu(const T* p) { return _mm256_loadu_pd(p); }
  static void store(T* p, Reg x) { _mm256_store_pd(p, x); }
  static void storeu(T* p, Reg x) { _mm256_storeu_pd(p, x); }
  static Reg add(Reg a, Reg b) { return _mm256_add_pd(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm256_sub_pd(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm256_mul_pd(a, b); }
  static Reg div(Reg a, Reg b) { return _mm256_div_pd(a, b); }
  static Reg max(Reg a, Reg b) { return _mm256_max_pd(a, b); }
  static Reg abs(Reg a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_pd(a, b, c); }
  static Reg fnma(Reg a, Reg b, Reg c) { return _mm256_fnmadd_pd(a, b, c); }
  static Reg greater(Reg a, Reg b) {
    return _mm256_and_pd(_mm256_cmp_pd(a, b, _CMP_GT_OQ), _mm256_set1_pd(1.0));
  }
  static bool any_nonzero(Reg a) {
    return _mm256_movemask_pd(_mm256_cmp_pd(a, _mm256_setzero_pd(), _CMP_NEQ_UQ)) != 0;
  }
  static T sum(Reg a) {
    const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
  }
  template <int kCount>
  static void add_sums(Reg a, Reg b, Reg c, Reg d, T scale, T* to) {
    T out[4];
    out[0] = sum(a), out[1] = sum(b), out[2] = sum(c), out[3] = sum(d);
    for (int r = 0; r < kCount; ++r) to[r] += scale * out[r];
  }
};

}  // namespace
}  // namespace cofactor::cpu
