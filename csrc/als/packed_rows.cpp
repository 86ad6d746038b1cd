#include "als/packed_rows.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <type_traits>

#include <utility>

#include "core/error.h"

namespace cofactor {
namespace {

template <class T>
T load(const std::byte* from, bool swapped) {
  std::byte bytes[sizeof(T)];
  std::memcpy(bytes, from, sizeof(T));
  if (swapped) std::reverse(bytes, bytes + sizeof(T));
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

/// In tiles that keep the lines of both sides in the first cache, whichever way the array lies.
template <class From, class To, bool kSwapped>
void pack_tiles(const StridedRows::Layout& layout, std::int64_t first, std::int64_t count,
                std::byte* out) {
  constexpr std::int64_t kTile = 16;
  for (std::int64_t j0 = 0; j0 < layout.columns; j0 += kTile) {
    const std::int64_t j1 = std::min(layout.columns, j0 + kTile);
    for (std::int64_t i0 = 0; i0 < count; i0 += kTile) {
      const std::int64_t i1 = std::min(count, i0 + kTile);
      for (std::int64_t i = i0; i < i1; ++i) {
        const std::byte* const row = layout.data + (first + i) * layout.row_stride;
        std::byte* const to = out + static_cast<std::size_t>(i * layout.columns) * sizeof(To);
        for (std::int64_t j = j0; j < j1; ++j) {
          const To value = static_cast<To>(load<From>(row + j * layout.column_stride, kSwapped));
          std::memcpy(to + static_cast<std::size_t>(j) * sizeof(To), &value, sizeof(To));
        }
      }
    }
  }
}

template <class From, class To>
void pack_numbers(const StridedRows::Layout& layout, std::int64_t first, std::int64_t count,
                  std::byte* out) {
  if (layout.swapped) {
    pack_tiles<From, To, true>(layout, first, count, out);
  } else {
    pack_tiles<From, To, false>(layout, first, count, out);
  }
}

DType converted(Stored stored, DType dtype) {
  switch (stored) {
    case Stored::kBits8:
    case Stored::kBits16:
    case Stored::kBits32:
    case Stored::kBits64:
      return dtype;
    case Stored::kInt8:
    case Stored::kInt16:
    case Stored::kUInt16:
      return DType::kFloat32;
    default:
      return DType::kFloat64;
  }
}

std::size_t bits_size(Stored stored) {
  switch (stored) {
    case Stored::kBits8:
      return 1;
    case Stored::kBits16:
      return 2;
    case Stored::kBits32:
      return 4;
    default:
      return 8;
  }
}

template <class Index>
Index index_at(const void* indices, std::int64_t i) {
  return load<Index>(
      static_cast<const std::byte*>(indices) + static_cast<std::size_t>(i) * sizeof(Index), false);
}

template <class Index>
void check_row_starts(const SparseRows::Layout& layout) {
  auto last = index_at<Index>(layout.row_starts, 0);
  bool good = last == 0;
  for (std::int64_t i = 1; i <= layout.rows && good; ++i) {
    const auto start = index_at<Index>(layout.row_starts, i);
    good = start >= last;
    last = start;
  }
  if (good && last <= layout.entries) return;
  throw Error(ErrorKind::kValue, "the row pointers of a sparse view do not ascend from 0 to its " +
                                     std::to_string(layout.entries) + " entries");
}

template <class Index, class T>
void expand(const SparseRows::Layout& layout, std::int64_t first, std::int64_t count,
            std::byte* out) {
  const auto row_size = static_cast<std::size_t>(layout.columns) * sizeof(T);
  const auto* const values = static_cast<const std::byte*>(layout.values);
  for (std::int64_t i = 0; i < count; ++i) {
    std::byte* const row = out + static_cast<std::size_t>(i) * row_size;
    std::memset(row, 0, row_size);
    const auto end = index_at<Index>(layout.row_starts, first + i + 1);
    for (auto e = index_at<Index>(layout.row_starts, first + i); e < end; ++e) {
      const auto column = index_at<Index>(layout.column_indices, e);
      if (column < 0 || column >= layout.columns) {
        throw Error(ErrorKind::kValue, "a sparse view of " + std::to_string(layout.columns) +
                                           " columns has an entry in column " +
                                           std::to_string(column));
      }
      std::byte* const at = row + static_cast<std::size_t>(column) * sizeof(T);
      const T sum =
          load<T>(at, false) + load<T>(values + static_cast<std::size_t>(e) * sizeof(T), false);
      std::memcpy(at, &sum, sizeof(T));
    }
  }
}

}  // namespace

StridedRows::StridedRows(const Layout& layout, DType dtype)
    : layout_(layout), dtype_(converted(layout.stored, dtype)) {
  const bool copied = layout.stored <= Stored::kBits64;
  if (dtype_ != dtype || (copied && bits_size(layout.stored) != size_of(dtype))) {
    throw Error(ErrorKind::kType, "the numbers of an array are not stored as its dtype says");
  }
}

void StridedRows::pack(std::int64_t first, std::int64_t count, std::byte* out) const {
  switch (layout_.stored) {
    case Stored::kBits8:
      pack_numbers<std::uint8_t, std::uint8_t>(layout_, first, count, out);
      return;
    case Stored::kBits16:
      pack_numbers<std::uint16_t, std::uint16_t>(layout_, first, count, out);
      return;
    case Stored::kBits32:
      pack_numbers<std::uint32_t, std::uint32_t>(layout_, first, count, out);
      return;
    case Stored::kBits64:
      pack_numbers<std::uint64_t, std::uint64_t>(layout_, first, count, out);
      return;
    case Stored::kInt8:
      pack_numbers<std::int8_t, float>(layout_, first, count, out);
      return;
    case Stored::kInt16:
      pack_numbers<std::int16_t, float>(layout_, first, count, out);
      return;
    case Stored::kUInt16:
      pack_numbers<std::uint16_t, float>(layout_, first, count, out);
      return;
    case Stored::kInt32:
      pack_numbers<std::int32_t, double>(layout_, first, count, out);
      return;
    case Stored::kUInt32:
      pack_numbers<std::uint32_t, double>(layout_, first, count, out);
      return;
    case Stored::kInt64:
      pack_numbers<std::int64_t, double>(layout_, first, count, out);
      return;
    case Stored::kUInt64:
      pack_numbers<std::uint64_t, double>(layout_, first, count, out);
      return;
  }
}

SparseRows::SparseRows(const Layout& layout, DType dtype) : layout_(layout), dtype_(dtype) {
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    throw Error(ErrorKind::kType, "a sparse view must be of float32 or float64");
  }
  if (layout.wide_indices) {
    check_row_starts<std::int64_t>(layout);
  } else {
    check_row_starts<std::int32_t>(layout);
  }
}

void SparseRows::pack(std::int64_t first, std::int64_t count, std::byte* out) const {
  const bool single = dtype_ == DType::kFloat32;
  if (layout_.wide_indices) {
    single ? expand<std::int64_t, float>(layout_, first, count, out)
           : expand<std::int64_t, double>(layout_, first, count, out);
  } else {
    single ? expand<std::int32_t, float>(layout_, first, count, out)
           : expand<std::int32_t, double>(layout_, first, count, out);
  }
}

StackedRows::StackedRows(std::vector<std::unique_ptr<PackedRows>> pieces)
    : pieces_(std::move(pieces)) {
  for (const auto& piece : pieces_) {
    if (piece->columns() != columns() || piece->dtype() != dtype()) {
      throw Error(ErrorKind::kValue, "pieces of rows differ in their columns or dtype");
    }
    rows_ += piece->rows();
  }
}

void StackedRows::pack(std::int64_t first, std::int64_t count, std::byte* out) const {
  const std::size_t row_size = static_cast<std::size_t>(columns()) * size_of(dtype());
  for (const auto& piece : pieces_) {
    if (count == 0) return;
    const std::int64_t here = std::min(count, piece->rows() - first);
    if (here <= 0) {
      first -= piece->rows();
      continue;
    }
    piece->pack(first, here, out);
    out += static_cast<std::size_t>(here) * row_size;
    count -= here;
    first = 0;
  }
}

}  // namespace cofactor
