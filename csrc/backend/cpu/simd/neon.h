#pragma once

// Vectors of NEON, which every AArch64 machine has. Internal linkage, as at the other levels.

#include <arm_neon.h>

#include <cstdint>

namespace cofactor::cpu {
namespace {

struct SimdF32 {
  using T = float;
  using Reg = float32x4_t;
  static constexpr int kLanes = 4;
  // 24 accumulators of the 32 registers, and room for the operands beside them.
  static constexpr int kProjectRows = 6, kProjectComponents = 4;
  static constexpr int kAccumulateComponents = 6, kAccumulateVectors = 4;
  static constexpr int kCholeskyBlock = 4;

  static Reg zero() { return vdupq_n_f32(0.0F); }
  static Reg broadcast(T x) { return vdupq_n_f32(x); }
  static Reg load(const T* p) { return vld1q_f32(p); }
  static Reg loadu(const T* p) { return vld1q_f32(p); }
  static void store(T* p, Reg x) { vst1q_f32(p, x); }
  static void storeu(T* p, Reg x) { vst1q_f32(p, x); }
  static Reg add(Reg a, Reg b) { return vaddq_f32(a, b); }
  static Reg sub(Reg a, Reg b) { return vsubq_f32(a, b); }
  static Reg mul(Reg a, Reg b) { return vmulq_f32(a, b); }
  static Reg div(Reg a, Reg b) { return vdivq_f32(a, b); }
  /// b where either is NaN, as at the other levels: neither vmaxq nor vmaxnmq does that.
  static Reg max(Reg a, Reg b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static Reg abs(Reg a) { return vabsq_f32(a); }
  static Reg fma(Reg a, Reg b, Reg c) { return vfmaq_f32(c, a, b); }
  /// c - a * b
  static Reg fnma(Reg a, Reg b, Reg c) { return vfmsq_f32(c, a, b); }
  /// 1 where a > b, else 0
  static Reg greater(Reg a, Reg b) {
    const uint32x4_t one = vreinterpretq_u32_f32(vdupq_n_f32(1.0F));
    return vreinterpretq_f32_u32(vandq_u32(vcgtq_f32(a, b), one));
  }
  static bool any_nonzero(Reg a) { return vminvq_u32(vceqzq_f32(a)) == 0; }
  static T sum(Reg a) { return vaddvq_f32(a); }
  /// to[r] += scale * sum of the r-th vector, for the first kCount of four.
  template <int kCount>
  static void add_sums(Reg a, Reg b, Reg c, Reg d, T scale, T* to) {
    T out[4];
    vst1q_f32(out, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)));
    for (int r = 0; r < kCount; ++r) to[r] += scale * out[r];
  }

  static Reg convert(const float* p) { return vld1q_f32(p); }
  static Reg convert_f16(const std::uint16_t* p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
  }
  static Reg convert_bf16(const std::uint16_t* p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
  }
  static Reg round_to_bf16(Reg x) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const Reg rounded = vreinterpretq_f32_u32(vandq_u32(up, vdupq_n_u32(0xffff0000U)));
    return vbslq_f32(vceqq_f32(x, x), rounded, x);
  }
  static Reg convert_u8(const std::uint8_t* p) {
    // Four bytes and no more: a load of eight could pass the end of the data.
    std::uint32_t bytes;
    __builtin_memcpy(&bytes, p, sizeof(bytes));
    const uint16x8_t wide = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes)));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)));
  }
};

struct SimdF64 {
  using T = double;
  using Reg = float64x2_t;
  static constexpr int kLanes = 2;
  static constexpr int kProjectRows = 6, kProjectComponents = 4;
  static constexpr int kAccumulateComponents = 6, kAccumulateVectors = 4;
  static constexpr int kCholeskyBlock = 4;

  static Reg zero() { return vdupq_n_f64(0.0); }
  static Reg broadcast(T x) { return vdupq_n_f64(x); }
  static Reg load(const T* p) { return vld1q_f64(p); }
  static Reg loadu(const T* p) { return vld1q_f64(p); }
  static void store(T* p, Reg x) { vst1q_f64(p, x); }
  static void storeu(T* p, Reg x) { vst1q_f64(p, x); }
  static Reg add(Reg a, Reg b) { return vaddq_f64(a, b); }
  static Reg sub(Reg a, Reg b) { return vsubq_f64(a, b); }
  static Reg mul(Reg a, Reg b) { return vmulq_f64(a, b); }
  static Reg div(Reg a, Reg b) { return vdivq_f64(a, b); }
  static Reg max(Reg a, Reg b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
  static Reg abs(Reg a) { return vabsq_f64(a); }
  static Reg fma(Reg a, Reg b, Reg c) { return vfmaq_f64(c, a, b); }
  static Reg fnma(Reg a, Reg b, Reg c) { return vfmsq_f64(c, a, b); }
  static Reg greater(Reg a, Reg b) {
    const uint64x2_t one = vreinterpretq_u64_f64(vdupq_n_f64(1.0));
    return vreinterpretq_f64_u64(vandq_u64(vcgtq_f64(a, b), one));
  }
  static bool any_nonzero(Reg a) { return vminvq_u32(vreinterpretq_u32_u64(vceqzq_f64(a))) == 0; }
  static T sum(Reg a) { return vaddvq_f64(a); }
  template <int kCount>
  static void add_sums(Reg a, Reg b, Reg c, Reg d, T scale, T* to) {
    T out[4];
    vst1q_f64(out, vpaddq_f64(a, b));
    vst1q_f64(out + 2, vpaddq_f64(c, d));
    for (int r = 0; r < kCount; ++r) to[r] += scale * out[r];
  }
};

}  // namespace
}  // namespace cofactor::cpu
