#pragma once

// Conversion of stored numbers into a tile of the compute type, and statistics of such a tile.

#include <cstdint>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/stored.h"

namespace cofactor::cpu {
namespace {

template <class V, class Stored>
void pack(const void* src, std::int64_t n, typename V::T* dst, std::int64_t padded) {
  pack_vectors<V>(static_cast<const Stored*>(src), n, dst, padded);
}

/// The same for any numbers, however large: in float64, one by one.
template <class T>
RowStats stats_plain(const T* x, std::int64_t n) {
  RowStats result;
  double minimum = __builtin_inf();
  for (std::int64_t j = 0; j < n; ++j) {
    const auto value = static_cast<double>(x[j]);
    result.sum_of_squares += value * value;
    minimum = value < minimum ? value : minimum;
    result.nonfinite += __builtin_isfinite(value) ? 0 : 1;
  }
  result.minimum = minimum;
  return result;
}

/// Reads whole vectors, so x is zero-filled up to a multiple of kColumnAlign.
template <class V>
RowStats stats(const typename V::T* x, std::int64_t n) {
  using Reg = typename V::Reg;
  const std::int64_t whole = n / V::kLanes * V::kLanes;
  Reg squares = V::zero();
  Reg negated_minimum = V::broadcast(-__builtin_inff());
  Reg largest = V::zero();
  for (std::int64_t j = 0; j < whole; j += V::kLanes) {
    const Reg v = V::load(x + j);
    squares = V::fma(v, v, squares);
    // The second operand wins over NaN, so that one bad value does not hide a negative one.
    negated_minimum = V::max(V::sub(V::zero(), v), negated_minimum);
    largest = V::max(V::abs(v), largest);
  }
  RowStats result = stats_plain(x + whole, n - whole);
  // Squares that leave the range of the compute type, infinities and NaN all end here: count them
  // properly. So do rows of zeros, which cost nothing worth a test.
  const auto sum = static_cast<double>(V::sum(squares));
  const bool in_range = sum > 1e-20 && __builtin_isfinite(sum);
  if (!in_range && (V::any_nonzero(largest) || !__builtin_isfinite(sum))) return stats_plain(x, n);
  result.sum_of_squares += sum;
  typename V::T lanes[V::kLanes];
  V::storeu(lanes, negated_minimum);
  for (const typename V::T lane : lanes) {
    if (whole > 0 && static_cast<double>(-lane) < result.minimum) {
      result.minimum = static_cast<double>(-lane);
    }
  }
  return result;
}

/// The table's part that reads stored numbers.
template <class V>
void fill_table(Kernels<typename V::T>& table) {
  table.lanes = V::kLanes;
  table.pack[static_cast<int>(DType::kUInt8)] = pack<V, std::uint8_t>;
  table.pack[static_cast<int>(DType::kFloat16)] = pack<V, Float16>;
  table.pack[static_cast<int>(DType::kBFloat16)] = pack<V, BFloat16>;
  table.pack[static_cast<int>(DType::kFloat32)] = pack<V, float>;
  table.pack[static_cast<int>(DType::kFloat64)] = pack<V, double>;
  table.stats = stats<V>;
}

}  // namespace
}  // namespace cofactor::cpu
