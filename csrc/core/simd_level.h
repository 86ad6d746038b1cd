#pragma once

#include <string_view>
#include <vector>

#include "core/level.h"

namespace cofactor {

[[nodiscard]] std::string_view name_of(Level level);

/// The levels that this build holds and this machine can run, ascending.
[[nodiscard]] std::vector<Level> supported_levels();

/// The widest supported level, or the one that COFACTOR_SIMD names; throws Error where that is
/// unknown or unsupported.
[[nodiscard]] Level active_level();

/// Whether kernels of the active level multiply bfloat16 faster than float32: whether there is a
/// unit for it, and as wide as the one for float32. It follows from the kind of processor and not
/// from a measurement, so that all machines of one kind decide the same.
[[nodiscard]] bool bfloat16_is_faster();

}  // namespace cofactor
