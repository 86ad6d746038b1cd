#pragma once

// Loops that do one thing as fast as the machine can.

#include <cstdint>

#include "backend/cpu/peak/peak.h"

namespace cofactor::cpu {
namespace {

/// Independent chains, so that no multiply-add waits for the one before it: latency times units,
/// and then some, but no more than there are registers.
template <class V, int kChains>
float multiply_add(std::int64_t rounds) {
  using Reg = typename V::Reg;
  Reg chain[kChains];
  // Starts differ, or the compiler would compute one chain for all.
  for (int i = 0; i < kChains; ++i) chain[i] = V::broadcast(static_cast<float>(i));
  const Reg factor = V::broadcast(0.5F);
  const Reg term = V::broadcast(0.25F);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 64
    for (int i = 0; i < kChains; ++i) chain[i] = V::fma(chain[i], factor, term);
  }
  Reg sum = V::zero();
  for (int i = 0; i < kChains; ++i) sum = V::add(sum, chain[i]);
  return V::sum(sum);
}

template <class V>
float read(const float* data, std::int64_t n) {
  using Reg = typename V::Reg;
  constexpr int kVectors = 8;
  static_assert(kReadStep % (kVectors * V::kLanes) == 0);
  Reg sums[kVectors];
  for (Reg& sum : sums) sum = V::zero();
  for (std::int64_t j = 0; j < n; j += kVectors * V::kLanes) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      sums[i] = V::add(sums[i], V::load(data + j + i * V::kLanes));
    }
  }
  Reg total = V::zero();
  for (const Reg& sum : sums) total = V::add(total, sum);
  return V::sum(total);
}

template <class V, int kChains>
PeakLoops loops() {
  return {{multiply_add<V, kChains>, std::int64_t{2} * kChains * V::kLanes}, read<V>};
}

}  // namespace
}  // namespace cofactor::cpu
