#pragma once

// Loops over registers. The compiler keeps an array in registers only if every index is a constant
// before it looks at loops.

namespace cofactor::cpu {
namespace {

template <int kValue>
struct Constant {
  // It stands for its value.
  // NOLINTNEXTLINE(misc-explicit-constructor)
  constexpr operator int() const { return kValue; }
};

/// Calls body(Constant<i>{}) for i from 0 to kCount - 1.
template <int kCount, int kFirst = 0, class Body>
[[gnu::always_inline]] inline void unroll(const Body& body) {
  if constexpr (kFirst < kCount) {
    body(Constant<kFirst>{});
    unroll<kCount, kFirst + 1>(body);
  }
}

}  // namespace
}  // namespace cofactor::cpu
