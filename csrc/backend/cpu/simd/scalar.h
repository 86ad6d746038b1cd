#pragma once

// "Vectors" of one lane, for machines without a level of theirs and as the plain reference.

#include <cstdint>

#include "backend/cpu/simd/convert.h"

namespace cofactor::cpu {
namespace {

template <class Number>
struct SimdScalar {
  using T = Number;
  using Reg = Number;
  static constexpr int kLanes = 1;
  static constexpr int kProjectRows = 4, kProjectComponents = 2;
  static constexpr int kAccumulateComponents = 2, kAccumulateVectors = 4;
  static constexpr int kCholeskyBlock = 3;

  static Reg zero() { return 0; }
  static Reg broadcast(T x) { return x; }
  static Reg load(const T* p) { return *p; }
  static Reg loadu(const T* p) { return *p; }
  static void store(T* p, Reg x) { *p = x; }
  static void storeu(T* p, Reg x) { *p = x; }
  static Reg add(Reg a, Reg b) { return a + b; }
  static Reg sub(Reg a, Reg b) { return a - b; }
  static Reg mul(Reg a, Reg b) { return a * b; }
  static Reg div(Reg a, Reg b) { return a / b; }
  static Reg max(Reg a, Reg b) { return a > b ? a : b; }
  static Reg abs(Reg a) { return a < 0 ? -a : a; }
  static Reg fma(Reg a, Reg b, Reg c) { return a * b + c; }
  /// c - a * b
  static Reg fnma(Reg a, Reg b, Reg c) { return c - a * b; }
  /// 1 where a > b, else 0
  static Reg greater(Reg a, Reg b) { return a > b ? Reg{1} : Reg{0}; }
  static bool any_nonzero(Reg a) { return a != 0; }
  static T sum(Reg a) { return a; }
  template <int kCount>
  static void add_sums(Reg a, Reg b, Reg c, Reg d, T scale, T* to) {
    T out[4];
    out[0] = a, out[1] = b, out[2] = c, out[3] = d;
    for (int r = 0; r < kCount; ++r) to[r] += scale * out[r];
  }

  static Reg convert(const float* p) { return *p; }
  static Reg convert_f16(const std::uint16_t* p) { return float_from_f16(*p); }
  static Reg convert_bf16(const std::uint16_t* p) { return float_from_bf16(*p); }
  static Reg round_to_bf16(Reg x) { return cpu::round_to_bf16(x); }
  static Reg convert_u8(const std::uint8_t* p) { return static_cast<Reg>(*p); }
};

using SimdF32 = SimdScalar<float>;
using SimdF64 = SimdScalar<double>;

}  // namespace
}  // namespace cofactor::cpu
