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

}  // namespace cofactor
