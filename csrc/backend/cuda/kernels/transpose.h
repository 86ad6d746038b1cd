#pragma once

#include <cstdint>

#include "backend/cuda/group.h"

namespace cofactor::cuda {

/// to[j][i] = from[i][j], converted, for rows i and columns j. The grid is divide_up(columns,
/// kTile) by divide_up(rows, kTile).
template <class From, class To>
struct Transpose {
  static constexpr int kThreads = 256;
  static constexpr int kTile = kWarpSize;
  static constexpr int kSharedBytes = kTile * (kTile + 1) * static_cast<int>(sizeof(To));

  std::int64_t rows = 0;
  std::int64_t columns = 0;
  const From* from = nullptr;
  std::int64_t ld_from = 0;
  To* to = nullptr;
  std::int64_t ld_to = 0;

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    // One more than a row has, so that a column lies in different banks.
    const auto tile = block.template shared<To>(kTile * (kTile + 1));
    const std::int64_t j0 = std::int64_t{block.index()} * kTile;
    const std::int64_t i0 = std::int64_t{block.index_y()} * kTile;
    const int high = static_cast<int>(smaller(rows - i0, std::int64_t{kTile}));
    const int wide = static_cast<int>(smaller(columns - j0, std::int64_t{kTile}));
    block.each([&](int thread) {
      const int j = thread % kTile;
      for (int i = thread / kTile; i < high; i += kThreads / kTile) {
        if (j < wide)
          tile[i * (kTile + 1) + j] = static_cast<To>(from[(i0 + i) * ld_from + j0 + j]);
      }
    });
    block.sync();
    block.each([&](int thread) {
      const int i = thread % kTile;
      for (int j = thread / kTile; j < wide; j += kThreads / kTile) {
        if (i < high) to[(j0 + j) * ld_to + i0 + i] = tile[i * (kTile + 1) + j];
      }
    });
  }
};

}  // namespace cofactor::cuda
