#pragma once

// Numbers as they are stored, one by one and by whole vectors.

#include <cstdint>

#include "backend/cpu/simd/convert.h"

namespace cofactor::cpu {
namespace {

struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

inline float value_of(float x) { return x; }
inline double value_of(double x) { return x; }
inline float value_of(std::uint8_t x) { return static_cast<float>(x); }
inline float value_of(Float16 x) { return float_from_f16(x.bits); }
inline float value_of(BFloat16 x) { return float_from_bf16(x.bits); }

template <class V>
typename V::Reg convert(const float* p) {
  return V::convert(p);
}
template <class V>
typename V::Reg convert(const Float16* p) {
  return V::convert_f16(&p->bits);
}
template <class V>
typename V::Reg convert(const BFloat16* p) {
  return V::convert_bf16(&p->bits);
}
template <class V>
typename V::Reg convert(const std::uint8_t* p) {
  return V::convert_u8(p);
}

/// One number at a time: float64, for which no speed is promised, and the ends of rows.
template <class T, class Stored>
void pack_plain(const Stored* from, std::int64_t n, T* to, std::int64_t padded) {
  for (std::int64_t j = 0; j < n; ++j) to[j] = static_cast<T>(value_of(from[j]));
  for (std::int64_t j = n; j < padded; ++j) to[j] = 0;
}

/// Converts n numbers and zero-fills up to `padded`, a multiple of the vector length.
template <class V, class Stored>
void pack_vectors(const Stored* from, std::int64_t n, typename V::T* to, std::int64_t padded) {
  if constexpr (sizeof(typename V::T) == 8 || sizeof(Stored) == 8) {
    pack_plain(from, n, to, padded);
  } else {
    std::int64_t j = 0;
    for (; j + V::kLanes <= n; j += V::kLanes) V::store(to + j, convert<V>(from + j));
    pack_plain(from + j, n - j, to + j, padded - j);
  }
}

}  // namespace
}  // namespace cofactor::cpu
