#pragma once

// Statistics of stored rows, a warp a row, in float64.

#include "backend/cuda/kernels/copy_tile.h"

namespace cofactor::cuda {

/// Of one row, in units of the stored numbers.
struct RowStatistics {
  double sum_of_squares;
  double minimum;  ///< of all that are not NaN; infinity for none
  std::int64_t nonfinite;
};

/// Grid: groups of kRows rows.
template <class Stored>
struct ScanRows {
  static constexpr int kThreads = 256;
  static constexpr int kRows = kThreads / kWarpSize;
  static constexpr int kItemBytes = static_cast<int>(sizeof(Stored));
  static constexpr int kNumbers = kChunkBytes / kItemBytes;

  Lines x;
  std::int64_t rows = 0, columns = 0;
  RowStatistics* statistics = nullptr;  ///< by row

  static constexpr int shared_bytes() { return 0; }

  struct Numbers {
    Stored x[kNumbers];
  };

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    block.each_warp([&](typename Block::Warp& warp) {
      using Warp = typename Block::Warp;
      const std::int64_t row = std::int64_t{block.index()} * kRows + warp.index();
      if (row >= rows) return;
      typename Warp::template PerLane<double> squares, negated_minimum;
      typename Warp::template PerLane<int> nonfinite;
      warp.each([&](int lane) {
        double sum = 0, largest = bits_as<double>(std::uint64_t{0xfff0000000000000U});
        int bad = 0;
        constexpr std::int64_t kStep = std::int64_t{kWarpSize} * kNumbers;
        for (std::int64_t j = std::int64_t{lane} * kNumbers; j < columns; j += kStep) {
          const char* const from = x.at(row, j * kItemBytes);
          const int n = static_cast<int>(smaller<std::int64_t>(columns - j, kNumbers));
          Numbers numbers = {};
          if (n == kNumbers && x.alignment == kChunkBytes) {
            numbers = bits_as<Numbers>(load_vector<Words4>(from));
          } else {
            COFACTOR_UNROLL
            for (int e = 0; e < kNumbers; ++e) {
              if (e < n) numbers.x[e] = reinterpret_cast<const Stored*>(from)[e];
            }
          }
          COFACTOR_UNROLL
          for (int e = 0; e < kNumbers; ++e) {
            if (e >= n) continue;
            const auto value = to_compute<double>(numbers.x[e]);
            sum += value * value;
            // False for NaN, so that one does not hide a negative number.
            if (-value > largest) largest = -value;
            // Infinities and NaN have the largest exponent.
            constexpr std::uint64_t kExponent = 0x7ff0000000000000U;
            bad += (bits_as<std::uint64_t>(value) & kExponent) == kExponent ? 1 : 0;
          }
        }
        squares[lane] = sum;
        negated_minimum[lane] = largest;
        nonfinite[lane] = bad;
      });
      const RowStatistics result{warp.sum(squares), -warp.max(negated_minimum),
                                 warp.sum(nonfinite)};
      warp.each([&](int lane) {
        if (lane == 0) statistics[row] = result;
      });
    });
  }
};

}  // namespace cofactor::cuda
