#pragma once

// One number at a time, in plain arithmetic: the ends of rows, and the scalar level.

#include <cstdint>

namespace cofactor::cpu {
namespace {

inline float float_from_bits(std::uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

inline float float_from_bf16(std::uint16_t bits) {
  return float_from_bits(static_cast<std::uint32_t>(bits) << 16);
}

/// To the nearest number of bfloat16, ties to even. NaN stays: the sum would carry into its sign.
inline float round_to_bf16(float x) {
  if (x != x) return x;
  std::uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  bits += 0x7fffU + ((bits >> 16) & 1U);
  return float_from_bits(bits & 0xffff0000U);
}

inline float float_from_f16(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t magnitude = half & 0x7fffU;
  if (magnitude >= 0x7c00U)
    return float_from_bits(sign | 0x7f800000U | ((magnitude & 0x3ffU) << 13));
  if (magnitude >= 0x0400U) return float_from_bits(sign | ((magnitude << 13) + 0x38000000U));
  // Subnormal: the integer times 2^-24 is exact in float.
  const float value = static_cast<float>(magnitude) * 0x1p-24F;
  return sign != 0 ? -value : value;
}

}  // namespace
}  // namespace cofactor::cpu
