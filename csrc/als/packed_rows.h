#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/dtype.h"

namespace cofactor {

/// Rows that lie in memory in a form that kernels do not read, given row-major on demand. Somebody
/// else owns the memory.
class PackedRows {
 public:
  virtual ~PackedRows() = default;
  [[nodiscard]] virtual std::int64_t rows() const = 0;
  [[nodiscard]] virtual std::int64_t columns() const = 0;
  /// Of what pack() writes.
  [[nodiscard]] virtual DType dtype() const = 0;
  /// Writes rows [first, first + count), columns() numbers each. Threads may call it at once.
  virtual void pack(std::int64_t first, std::int64_t count, std::byte* out) const = 0;
};

/// How the numbers of an array are stored: bits to be copied, or integers to be converted.
enum class Stored : std::uint8_t {
  kBits8,
  kBits16,
  kBits32,
  kBits64,
  kInt8,
  kInt16,
  kUInt16,
  kInt32,
  kUInt32,
  kInt64,
  kUInt64,
};

/// An array of any strides, alignment and byte order.
class StridedRows final : public PackedRows {
 public:
  struct Layout {
    const std::byte* data = nullptr;
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    std::int64_t row_stride = 0;     ///< bytes, of any sign
    std::int64_t column_stride = 0;  ///< bytes, of any sign
    Stored stored = Stored::kBits32;
    bool swapped = false;  ///< bytes of a number are in the other order
  };
  /// Bits are those of `dtype`; integers of at most 16 bits become float32, wider ones float64.
  StridedRows(const Layout& layout, DType dtype);

  [[nodiscard]] std::int64_t rows() const override { return layout_.rows; }
  [[nodiscard]] std::int64_t columns() const override { return layout_.columns; }
  [[nodiscard]] DType dtype() const override { return dtype_; }
  void pack(std::int64_t first, std::int64_t count, std::byte* out) const override;

 private:
  Layout layout_;
  DType dtype_;
};

/// Compressed sparse rows of float32 or float64. Entries that name a column twice are added up.
class SparseRows final : public PackedRows {
 public:
  struct Layout {
    const void* row_starts = nullptr;  ///< rows + 1 indices
    const void* column_indices = nullptr;
    const void* values = nullptr;
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    std::int64_t entries = 0;   ///< of column_indices and of values
    bool wide_indices = false;  ///< both kinds of indices have 64 bits, and not 32
  };
  /// Throws Error if the row starts do not ascend from 0 to `entries` at most.
  SparseRows(const Layout& layout, DType dtype);

  [[nodiscard]] std::int64_t rows() const override { return layout_.rows; }
  [[nodiscard]] std::int64_t columns() const override { return layout_.columns; }
  [[nodiscard]] DType dtype() const override { return dtype_; }
  /// Throws Error for an index of no column.
  void pack(std::int64_t first, std::int64_t count, std::byte* out) const override;

 private:
  Layout layout_;
  DType dtype_;
};

/// The rows of several others, one after the other.
class StackedRows final : public PackedRows {
 public:
  /// Not empty. Throws Error unless all have the same columns.
  explicit StackedRows(std::vector<std::unique_ptr<PackedRows>> pieces);

  [[nodiscard]] std::int64_t rows() const override { return rows_; }
  [[nodiscard]] std::int64_t columns() const override { return pieces_.front()->columns(); }
  [[nodiscard]] DType dtype() const override { return pieces_.front()->dtype(); }
  void pack(std::int64_t first, std::int64_t count, std::byte* out) const override;

 private:
  std::vector<std::unique_ptr<PackedRows>> pieces_;
  std::int64_t rows_ = 0;
};

}  // namespace cofactor
