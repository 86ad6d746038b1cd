#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/dtype.h"

namespace cofactor {

/// Where numbers lie: what the CPU reads, or the memory of an accelerator.
enum class Memory : std::uint8_t { kHost, kDevice };

/// Row-major rows that somebody else owns: columns are contiguous, rows are `row_stride` elements
/// apart.
struct MatrixView {
  const void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_stride = 0;
  Memory memory = Memory::kHost;

  [[nodiscard]] const void* row(std::int64_t i) const noexcept {
    return static_cast<const std::byte*>(data) +
           static_cast<std::size_t>(i * row_stride) * size_of(dtype);
  }
  [[nodiscard]] MatrixView slice(std::int64_t first, std::int64_t count) const noexcept {
    return {row(first), dtype, count, columns, row_stride, memory};
  }
};

/// Rows [first_row, first_row + rows) of every view, in memory at once.
struct Block {
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  std::vector<MatrixView> views;
};

}  // namespace cofactor
