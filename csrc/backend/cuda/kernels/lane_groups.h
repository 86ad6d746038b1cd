#pragma once

// Groups of consecutive lanes of a warp, each of which works on a problem of its own.

#include "backend/cuda/group.h"

namespace cofactor::cuda {

/// Combines what the lanes of each group hold, and leaves the result in all of them. `combine` must
/// not care for the order of its two arguments: then all lanes get the same bits.
template <int kLanes, class Warp, class Numbers, class Combine>
COFACTOR_KERNEL void combine_in_groups(Warp& warp, Numbers& x, const Combine& combine) {
  static_assert(kLanes >= 1 && kLanes <= kWarpSize && (kLanes & (kLanes - 1)) == 0);
  COFACTOR_UNROLL
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    const auto other = warp.shuffle(x, [&](int lane) { return lane ^ distance; });
    warp.each([&](int lane) { x[lane] = combine(x[lane], other[lane]); });
  }
}

template <int kLanes, class Warp, class Numbers>
COFACTOR_KERNEL void sum_in_groups(Warp& warp, Numbers& x) {
  combine_in_groups<kLanes>(warp, x, [](auto a, auto b) { return a + b; });
}
template <int kLanes, class Warp, class Numbers>
COFACTOR_KERNEL void max_in_groups(Warp& warp, Numbers& x) {
  combine_in_groups<kLanes>(warp, x, [](auto a, auto b) { return larger(a, b); });
}
template <int kLanes, class Warp, class Numbers>
COFACTOR_KERNEL void min_in_groups(Warp& warp, Numbers& x) {
  combine_in_groups<kLanes>(warp, x, [](auto a, auto b) { return smaller(a, b); });
}

}  // namespace cofactor::cuda
