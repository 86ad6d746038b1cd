#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cofactor {

/// How the values of a view are stored. bfloat16 travels as its 16 bits.
enum class DType : std::uint8_t { kUInt8, kFloat16, kBFloat16, kFloat32, kFloat64 };

inline constexpr int kNumDTypes = 5;

[[nodiscard]] constexpr std::size_t size_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::kUInt8:
      return 1;
    case DType::kFloat16:
    case DType::kBFloat16:
      return 2;
    case DType::kFloat32:
      return 4;
    case DType::kFloat64:
      return 8;
  }
  return 0;
}

/// Parses "uint8", "float16", "bfloat16", "float32" or "float64"; throws Error on anything else.
[[nodiscard]] DType parse_dtype(std::string_view name);

}  // namespace cofactor
