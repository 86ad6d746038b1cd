#pragma once

// How the two products read their operands. `Exact` multiplies numbers of the compute type;
// `Rounded` does so after rounding the stored numbers to bfloat16, where no unit for that is at
// hand (avx512bf16.h has one). Factors come rounded already.

#include <cstdint>

#include "backend/cpu/simd/stored.h"

namespace cofactor::cpu {
namespace {

template <class Vector>
struct Exact {
  using V = Vector;
  using T = typename V::T;
  using Operand = typename V::Reg;
  /// A number of a packed tile, and of the packed factor.
  using Packed = T;
  /// A number of W as the second product wants it.
  using Weight = T;
  /// Columns of one operand of the first product, and rows of one of the second.
  static constexpr int kColumns = V::kLanes, kRows = 1;
  /// Whether operands can be read from stored numbers as they are needed.
  template <class Stored>
  static constexpr bool kConverts = sizeof(T) == 4 && sizeof(Stored) <= 4;

  static Operand load(const Packed* p) { return V::load(p); }
  static void store(Packed* p, Operand x) { V::store(p, x); }
  static Operand broadcast(Weight w) { return V::broadcast(w); }
  static typename V::Reg multiply_add(Operand a, Operand b, typename V::Reg c) {
    return V::fma(a, b, c);
  }

  /// kColumns stored numbers of one row.
  template <class Stored>
  static Operand columns(const Stored* p) {
    return convert<V>(p);
  }
  /// kLanes stored numbers of each of kRows rows, the second of which is `stride` bytes on.
  template <class Stored>
  static Operand rows(const Stored* p, [[maybe_unused]] std::int64_t stride) {
    return convert<V>(p);
  }

  template <class Stored>
  static void pack_columns(const Stored* from, std::int64_t n, Packed* to, std::int64_t padded) {
    pack_vectors<V>(from, n, to, padded);
  }
  /// `second`, if not null, is the row that goes into one operand with the first.
  template <class Stored>
  static void pack_rows(const Stored* first, [[maybe_unused]] const Stored* second, std::int64_t n,
                        Packed* to, std::int64_t padded) {
    pack_vectors<V>(first, n, to, padded);
  }
  static void pack_factor(const T* from, std::int64_t n, Packed* to) {
    for (std::int64_t j = 0; j < n; ++j) to[j] = from[j];
  }
  /// Weights of `rows` rows of k components, at stride `ldw`; writes to `space` what it needs.
  static const Weight* weights(const T* w, [[maybe_unused]] std::int64_t ldw,
                               [[maybe_unused]] int rows, [[maybe_unused]] int k,
                               [[maybe_unused]] T* space) {
    return w;
  }
  static std::int64_t weight_stride(std::int64_t ldw) { return ldw; }
};

template <class Vector>
struct Rounded : Exact<Vector> {
  using typename Exact<Vector>::V;
  using typename Exact<Vector>::Operand;
  using typename Exact<Vector>::Packed;

  template <class Stored>
  static Operand columns(const Stored* p) {
    return V::round_to_bf16(convert<V>(p));
  }
  template <class Stored>
  static Operand rows(const Stored* p, [[maybe_unused]] std::int64_t stride) {
    return columns(p);
  }
  template <class Stored>
  static void pack_columns(const Stored* from, std::int64_t n, Packed* to, std::int64_t padded) {
    for (std::int64_t j = 0; j < n; ++j)
      to[j] = round_to_bf16(static_cast<float>(value_of(from[j])));
    for (std::int64_t j = n; j < padded; ++j) to[j] = 0;
  }
  template <class Stored>
  static void pack_rows(const Stored* first, [[maybe_unused]] const Stored* second, std::int64_t n,
                        Packed* to, std::int64_t padded) {
    pack_columns(first, n, to, padded);
  }
};

/// Tag of an operand that is read from a packed tile, in place of a type of stored numbers.
struct FromPacked {};

}  // namespace
}  // namespace cofactor::cpu
