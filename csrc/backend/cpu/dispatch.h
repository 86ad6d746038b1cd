#pragma once

#include "backend/cpu/kernels.h"
#include "core/simd_level.h"

namespace cofactor::cpu {

/// The kernels of a level, for compute type float or double. Called once a fit, never in a loop.
template <class T>
[[nodiscard]] const Kernels<T>& kernels(Level level);

}  // namespace cofactor::cpu
