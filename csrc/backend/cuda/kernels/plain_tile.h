#pragma once

// What the products share that multiply in the compute type T (float or double), one fused
// multiply-add at a time: views that are stored in T, and views of any dtype where T is double.
//
// A warp owns 32 rows (first product) or columns (second) and 8 Q components; its lanes are eight
// groups of four rows or columns by four groups of 2 Q components. At 24 components (Q = 3) a lane
// reads 10 vectors of shared memory for 96 multiply-adds, which are 24 clocks of a multiprocessor's
// float32 units against 10 of its shared memory.

#include <type_traits>

#include "backend/cuda/kernels/copy_tile.h"

namespace cofactor::cuda {

/// Numbers of the compute type in one load.
template <class T>
struct alignas(kChunkBytes) Chunk {
  static constexpr int kNumbers = kChunkBytes / static_cast<int>(sizeof(T));
  T x[kNumbers];
};
template <class T>
struct alignas(2 * sizeof(T)) Pair {
  T x[2];
};

template <class T, class Stored>
inline constexpr bool kSameType = std::is_same_v<T, Stored>;

/// As copy_tile, for numbers that become T on the way.
template <class T, class Stored, int kThreads, int kLines, int kChunks, class Block, class Shared,
          class Swizzle>
COFACTOR_KERNEL void copy_numbers(Block& block, int thread, const Shared& to, const Lines& lines,
                                  std::int64_t first, std::int64_t end, std::int64_t count,
                                  const std::uint8_t* present, const Swizzle& swizzle) {
  if constexpr (kSameType<T, Stored>) {
    constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
    copy_tile<kThreads, static_cast<int>(sizeof(T)), kLines, kChunks>(
        block, thread, to, lines, first * kSize, end * kSize, count, present, swizzle);
  } else {
    for (int at = thread; at < kLines * kChunks; at += kThreads) {
      const int line = at / kChunks, chunk = at % kChunks;
      const bool here = line < count && (present == nullptr || present[line] != 0);
      Chunk<T> numbers = {};
      COFACTOR_UNROLL
      for (int e = 0; e < Chunk<T>::kNumbers; ++e) {
        const std::int64_t column = first + chunk * Chunk<T>::kNumbers + e;
        if (here && column < end) {
          numbers.x[e] = to_compute<T>(*reinterpret_cast<const Stored*>(
              lines.at(line, column * static_cast<std::int64_t>(sizeof(Stored)))));
        }
      }
      store_vector(to + (line * kChunks + (chunk ^ swizzle(line))) * kChunkBytes, numbers);
    }
  }
}

/// Tiles that the plain products come in: 8 Q components a block.
template <int kQ_>
struct PlainShape {
  static constexpr int kQ = kQ_;
  static constexpr int kThreads = 128;
  static constexpr int kM = kThreads;  ///< rows, or columns
  static constexpr int kComponents = 8 * kQ;
};

inline constexpr int kPlainStages = 3;

/// Walks `count` stages: copy(thread, stage, index) starts the copies of one, use(stage) reads it.
template <class Block, class Copy, class Use>
COFACTOR_KERNEL void walk_stages(Block& block, int count, const Copy& copy, const Use& use) {
  const auto start = [&](int index) {
    if (index < count) {
      block.each([&](int thread) { copy(thread, index % kPlainStages, index); });
    }
    // Also without a copy: batches are counted.
    block.copy_commit();
  };
  for (int index = 0; index < kPlainStages - 1; ++index) start(index);
  for (int index = 0; index < count; ++index) {
    block.template copy_wait<kPlainStages - 2>();
    // Everyone's copies are there, and nobody reads the stage any more that is filled next.
    block.sync();
    start(index + kPlainStages - 1);
    use(index % kPlainStages);
  }
  block.template copy_wait<0>();
}

}  // namespace cofactor::cuda
