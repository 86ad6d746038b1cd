#include <immintrin.h>

#include <cstdint>

#include "backend/cpu/peak/peak.h"

namespace cofactor::cpu {
namespace {

constexpr int kChains = 24;
/// Of one instruction: in each of 16 lanes, two products are added to a sum.
constexpr std::int64_t kOperations = 64;

float dot(std::int64_t rounds) {
  __m512 chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = _mm512_set1_ps(static_cast<float>(i));
  const auto a = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3f00));  // 0.5
  const auto b = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3a80));  // 2^-10
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 64
    for (__m512& sum : chain) sum = _mm512_dpbf16_ps(sum, a, b);
  }
  __m512 total = _mm512_setzero_ps();
  for (const __m512& sum : chain) total = _mm512_add_ps(total, sum);
  return _mm512_reduce_add_ps(total);
}

}  // namespace

ArithmeticLoop bfloat16_dot_loop() { return {dot, kChains * kOperations}; }

}  // namespace cofactor::cpu
