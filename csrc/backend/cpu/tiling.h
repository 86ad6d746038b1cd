#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cpu/kernels.h"
#include "core/problem.h"

namespace cofactor::cpu {

// Sizes of what stays in cache while a kernel runs. They steer the traversal and never the order
// of a sum.

/// Columns of H that are solved together.
inline constexpr std::int64_t kSolveColumns = 128;
/// Columns that a Gram matrix sums in the compute type before float64, as many as a panel has rows.
/// Part of the result.
inline constexpr std::int64_t kGramColumns = kPanelRows;

[[nodiscard]] constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}
[[nodiscard]] constexpr std::int64_t divide_up(std::int64_t n, std::int64_t by) {
  return (n + by - 1) / by;
}

/// Rows of the first product's tile: as many as keep its partial sums within a quarter megabyte.
[[nodiscard]] inline std::int64_t project_rows(int total_rank, std::int64_t sum_bytes) {
  const std::int64_t fit = std::int64_t{256} * 1024 / (std::max(total_rank, 1) * sum_bytes);
  return std::clamp<std::int64_t>(fit / 2 * 2, 4, 32);
}

}  // namespace cofactor::cpu
