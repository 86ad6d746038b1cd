#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cpu/kernels.h"
#include "core/cache_sizes.h"
#include "core/problem.h"

namespace cofactor::cpu {

// Sizes of what stays in cache while a kernel runs. They steer the traversal and never the order
// of a sum.

/// Columns of H that are solved together.
inline constexpr std::int64_t kSolveColumns = 128;

[[nodiscard]] constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}
[[nodiscard]] constexpr std::int64_t divide_up(std::int64_t n, std::int64_t by) {
  return (n + by - 1) / by;
}

/// How a pass divides its rows.
struct RowTiling {
  std::int64_t tile_rows;   ///< rows of one task of the first product
  std::int64_t group_rows;  ///< rows whose second products follow together
};

/// Below rank 64 groups are small enough that the second product finds its rows in the last-level
/// cache, where up to three of them are under way beside the factors. A tile for every other thread
/// is enough: while those solve the next group's rows, the others sum this one's columns, which
/// takes as long.
[[nodiscard]] inline RowTiling row_tiling(std::int64_t rows, std::int64_t row_bytes, int rank,
                                          int threads, const CacheSizes& cache) {
  const std::int64_t cached = cache.last / 8 / std::max<std::int64_t>(row_bytes, 1);
  const std::int64_t solving = (threads + 1) / 2;
  // Multiples of every level's tile; as tall as the rest allows, since every tile reads all of H
  // and the solver works best on many rows. From some rank on that is worth more than the cache.
  const bool high_rank = rank >= 64;
  std::int64_t tile = high_rank ? 192 : 96;
  if (!high_rank && tile * solving > cached) tile = 48;
  while (tile > 12 && rows < tile * threads * 4) tile /= 2;
  // A group reads and writes the sums of all columns once. At a high rank these are so many more
  // bytes than its rows that it is better to read the rows from memory twice.
  const std::int64_t tiles = std::clamp<std::int64_t>(cached / tile, high_rank ? 8 : 1, 16);
  return {tile, tile * std::max(tiles, solving)};
}

/// Components that the first product takes at a time, so that their part of the packed factor
/// stays in the second-level cache.
[[nodiscard]] inline int rank_block(std::int64_t number_bytes, const CacheSizes& cache) {
  const std::int64_t fit = cache.l2 / 2 / (kProjectColumns * number_bytes);
  return static_cast<int>(std::clamp<std::int64_t>(fit / 12 * 12, 24, 12288));
}

}  // namespace cofactor::cpu
