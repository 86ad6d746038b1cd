#pragma once

// Copies a tile of stored numbers into shared memory as it is, in chunks of 16 bytes, without
// waiting where the view's alignment allows that.

#include <type_traits>

#include "backend/cuda/group.h"

namespace cofactor::cuda {

inline constexpr int kChunkBytes = 16;

/// Lines of memory: rows of a view, or components of a factor.
struct Lines {
  const char* data = nullptr;
  std::int64_t stride = 0;  ///< bytes from line to line
  /// What divides every address of `data` and `stride`: 16, 8, 4, or the size of a number.
  int alignment = 1;

  [[nodiscard]] COFACTOR_DEVICE const char* at(std::int64_t line, std::int64_t byte) const {
    return data + line * stride + byte;
  }
};

[[nodiscard]] inline Lines make_lines(const void* data, std::int64_t stride_bytes, int item_bytes) {
  const auto bits =
      reinterpret_cast<std::uintptr_t>(data) | static_cast<std::uintptr_t>(stride_bytes);
  int alignment = kChunkBytes;
  while (alignment > item_bytes && bits % static_cast<std::uintptr_t>(alignment) != 0)
    alignment /= 2;
  // Numbers of 8 bytes on odd addresses have no business here, so that this ends at their size.
  return {static_cast<const char*>(data), stride_bytes, alignment};
}

/// One chunk, of which n bytes are there and the others become zeros. `from` is aligned as said.
template <int kItemBytes, class Block, class Shared>
COFACTOR_KERNEL void copy_chunk(Block& block, const Shared& to, const char* from, int n,
                                int alignment) {
  if (alignment == kChunkBytes) {
    block.template copy_async<kChunkBytes>(to, from, n);
  } else if (alignment == 8) {
    COFACTOR_UNROLL
    for (int at = 0; at < kChunkBytes; at += 8) {
      const int left = smaller(larger(n - at, 0), 8);
      block.template copy_async<8>(to + at, from + (left > 0 ? at : 0), left);
    }
  } else if (alignment == 4) {
    COFACTOR_UNROLL
    for (int at = 0; at < kChunkBytes; at += 4) {
      const int left = smaller(larger(n - at, 0), 4);
      block.template copy_async<4>(to + at, from + (left > 0 ? at : 0), left);
    }
  } else {
    Words4 words = {};
    if constexpr (kItemBytes <= 2) {
      using Item = std::conditional_t<kItemBytes == 2, std::uint16_t, std::uint8_t>;
      COFACTOR_UNROLL
      for (int at = 0; at < kChunkBytes; at += kItemBytes) {
        if (at < n) {
          const std::uint32_t item = *reinterpret_cast<const Item*>(from + at);
          words.x[at / 4] |= item << (8 * (at % 4));
        }
      }
    }
    store_vector(to, words);
  }
}

/// kLines x kChunks chunks from byte `first` of the lines on, with kChunks chunks a line in shared
/// memory. Lines from `count` on, those that `present` lacks, and bytes from `end` on are zeros.
/// Chunk c of line i lies at place `c ^ swizzle(i)`, against conflicts of banks.
template <int kThreads, int kItemBytes, int kLines, int kChunks, class Block, class Shared,
          class Swizzle>
COFACTOR_KERNEL void copy_tile(Block& block, int thread, const Shared& to, const Lines& lines,
                               std::int64_t first, std::int64_t end, std::int64_t count,
                               const std::uint8_t* present, const Swizzle& swizzle) {
  constexpr int kStep = kThreads / kChunks;
  const bool whole = lines.alignment == kChunkBytes && present == nullptr && count >= kLines &&
                     first + std::int64_t{kChunks} * kChunkBytes <= end;
  if (whole && kThreads % kChunks == 0) {
    // Almost all tiles of a large view. A thread's chunks lie below each other.
    const int line_0 = thread / kChunks, chunk = thread % kChunks;
    const char* from = lines.at(line_0, first + std::int64_t{chunk} * kChunkBytes);
    COFACTOR_UNROLL
    for (int at = 0; at < divide_up(kLines, kStep); ++at) {
      const int line = line_0 + at * kStep;
      if (kLines % kStep == 0 || line < kLines) {
        block.template copy_async<kChunkBytes>(
            to + (line * kChunks + (chunk ^ swizzle(line))) * kChunkBytes, from, kChunkBytes);
      }
      from += kStep * lines.stride;
    }
    return;
  }
  for (int at = thread; at < kLines * kChunks; at += kThreads) {
    const int line = at / kChunks, chunk = at % kChunks;
    const std::int64_t byte = first + std::int64_t{chunk} * kChunkBytes;
    int n = 0;
    const char* from = lines.data;
    if (line < count && byte < end && (present == nullptr || present[line] != 0)) {
      n = static_cast<int>(smaller<std::int64_t>(end - byte, kChunkBytes));
      from = lines.at(line, byte);
    }
    copy_chunk<kItemBytes>(block, to + (line * kChunks + (chunk ^ swizzle(line))) * kChunkBytes,
                           from, n, lines.alignment);
  }
}

}  // namespace cofactor::cuda
