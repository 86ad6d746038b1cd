#include "bindings/array_source.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <utility>

#include "als/packed_rows.h"
#include "als/packing_source.h"
#include "backend/device_memory.h"
#include "bindings/device_matrix.h"
#include "core/error.h"

namespace py = pybind11;

namespace cofactor::bindings {
namespace {

std::string name_of(std::size_t number) { return "view number " + std::to_string(number); }

void check_dimensions(const py::array& array, std::size_t number) {
  if (array.ndim() == 2) return;
  throw Error(ErrorKind::kValue, name_of(number) + " has " + std::to_string(array.ndim()) +
                                     " dimensions; expected rows x columns");
}

bool is_swapped(const py::array& array) {
  const char order = array.dtype().byteorder();
  constexpr char kOther = std::endian::native == std::endian::little ? '>' : '<';
  return order == kOther;
}

/// How the numbers of an array that is to be read as `dtype` lie in memory.
Stored stored_as(const py::array& array, DType dtype, std::size_t number) {
  const char kind = array.dtype().kind();
  const auto size = static_cast<std::size_t>(array.itemsize());
  const bool integers = kind == 'i' || kind == 'u';
  const bool bytes = dtype == DType::kUInt8 && (kind == 'u' || kind == 'b');
  const bool bits = dtype == DType::kBFloat16 && kind == 'u';
  const bool floats = dtype != DType::kUInt8 && dtype != DType::kBFloat16 && kind == 'f';
  if (size == size_of(dtype) && (bytes || bits || floats)) {
    constexpr std::array kBits{Stored::kBits8, Stored::kBits16, Stored::kBits32, Stored::kBits64};
    return kBits[static_cast<std::size_t>(std::countr_zero(size))];
  }
  if (integers && size == 1 && kind == 'i') return Stored::kInt8;
  if (integers && size == 2) return kind == 'i' ? Stored::kInt16 : Stored::kUInt16;
  if (integers && size == 4) return kind == 'i' ? Stored::kInt32 : Stored::kUInt32;
  if (integers && size == 8) return kind == 'i' ? Stored::kInt64 : Stored::kUInt64;
  throw Error(ErrorKind::kType, name_of(number) + " has numbers of " + std::to_string(size) +
                                    " bytes and kind '" + std::string(1, kind) +
                                    "', which its dtype has not");
}

/// Whether kernels can read an array where it lies.
bool is_readable(const py::array& array, Stored stored) {
  const py::ssize_t size = array.itemsize();
  const bool contiguous = array.shape(1) <= 1 || array.strides(1) == size;
  const bool regular = array.strides(0) >= 0 && array.strides(0) % size == 0;
  const bool aligned =
      reinterpret_cast<std::uintptr_t>(array.data()) % static_cast<std::uintptr_t>(size) == 0;
  return stored <= Stored::kBits64 && contiguous && regular && aligned && !is_swapped(array);
}

MatrixView view_of(const py::array& array, DType dtype) {
  return {array.data(), dtype, array.shape(0), array.shape(1), array.strides(0) / array.itemsize()};
}

std::unique_ptr<PackedRows> strided_rows(const py::array& array, Stored stored, DType dtype) {
  StridedRows::Layout layout;
  layout.data = static_cast<const std::byte*>(array.data());
  layout.rows = array.shape(0);
  layout.columns = array.shape(1);
  layout.row_stride = array.strides(0);
  layout.column_stride = array.strides(1);
  layout.stored = stored;
  layout.swapped = is_swapped(array);
  return std::make_unique<StridedRows>(layout, dtype);
}

/// A sparse matrix of SciPy in rows: attributes indptr, indices, data and shape.
std::unique_ptr<PackedRows> sparse_rows(const py::object& matrix, DType dtype, std::size_t number,
                                        std::vector<py::object>& owners) {
  std::array<py::array, 3> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    constexpr std::array kNames{"indptr", "indices", "data"};
    parts[i] = py::array::ensure(matrix.attr(kNames[i]), py::array::c_style);
    if (!parts[i] || parts[i].ndim() != 1 || is_swapped(parts[i])) {
      throw Error(ErrorKind::kType, name_of(number) + " is sparse, but its " + kNames[i] +
                                        " is no row of numbers in native byte order");
    }
  }
  const auto& [starts, indices, values] = parts;
  const auto shape = matrix.attr("shape").cast<std::pair<std::int64_t, std::int64_t>>();
  const bool wide = starts.itemsize() == 8;
  const bool fits = starts.dtype().kind() == 'i' && indices.dtype().kind() == 'i' &&
                    (wide || starts.itemsize() == 4) && indices.itemsize() == starts.itemsize() &&
                    starts.shape(0) == shape.first + 1 && values.dtype().kind() == 'f' &&
                    static_cast<std::size_t>(values.itemsize()) == size_of(dtype) &&
                    indices.shape(0) == values.shape(0) && shape.second >= 0;
  if (!fits) {
    throw Error(ErrorKind::kType,
                name_of(number) + " is sparse, but its parts do not make compressed sparse rows");
  }
  SparseRows::Layout layout;
  layout.row_starts = starts.data();
  layout.column_indices = indices.data();
  layout.values = values.data();
  layout.rows = shape.first;
  layout.columns = shape.second;
  layout.entries = values.shape(0);
  layout.wide_indices = wide;
  owners.insert(owners.end(), parts.begin(), parts.end());
  return std::make_unique<SparseRows>(layout, dtype);
}

[[noreturn]] void throw_mixed(std::size_t number) {
  throw Error(ErrorKind::kType, name_of(number) +
                                    " is in other memory than the first; expected all arrays in "
                                    "the CPU's memory or all on a CUDA device");
}

void check_not_empty(const ArraySource::Views& views) {
  for (const auto& pieces : views) {
    if (pieces.empty()) throw Error(ErrorKind::kValue, "a view needs at least one array");
  }
}

void check_equal_columns(std::int64_t columns, std::int64_t expected, std::size_t number) {
  if (columns == expected) return;
  throw Error(ErrorKind::kValue,
              "the arrays of " + name_of(number) + " differ in their number of columns");
}

}  // namespace

ArraySource::ArraySource(const Views& views, const std::vector<DType>& dtypes,
                         std::int64_t block_rows, int threads) {
  check_not_empty(views);
  if (!views.empty() && py::isinstance<DeviceMatrix>(views.front().front())) {
    take_device_matrices(views, dtypes, block_rows);
    return;
  }
  std::vector<std::vector<MatrixView>> in_place;
  std::vector<PackingSource::View> packed;
  std::int64_t row_bytes = 0;
  for (std::size_t v = 0; v < views.size(); ++v) {
    std::vector<MatrixView> pieces;
    std::vector<std::unique_ptr<PackedRows>> as_packed;
    bool readable = true;
    for (const py::object& piece : views[v]) {
      if (py::isinstance<DeviceMatrix>(piece)) throw_mixed(v);
      if (!py::isinstance<py::array>(piece)) {
        as_packed.push_back(sparse_rows(piece, dtypes[v], v, owners_));
        readable = false;
        continue;
      }
      const auto array = piece.cast<py::array>();
      check_dimensions(array, v);
      const Stored stored = stored_as(array, dtypes[v], v);
      owners_.push_back(array);
      as_packed.push_back(strided_rows(array, stored, dtypes[v]));
      readable = readable && is_readable(array, stored);
      if (readable) pieces.push_back(view_of(array, dtypes[v]));
    }
    for (const auto& piece : as_packed) {
      check_equal_columns(piece->columns(), as_packed.front()->columns(), v);
    }
    std::unique_ptr<PackedRows> rows;
    if (!readable) rows = std::make_unique<StackedRows>(std::move(as_packed));
    columns_.push_back(rows != nullptr ? rows->columns() : pieces.front().columns);
    if (rows != nullptr) {
      row_bytes += rows->columns() * static_cast<std::int64_t>(size_of(rows->dtype()));
      packed.push_back({v, std::move(rows)});
    } else {
      in_place.push_back(std::move(pieces));
    }
  }
  if (packed.empty()) {
    source_ = std::make_unique<MatrixSource>(std::move(in_place), block_rows);
    return;
  }
  const std::int64_t most = packed_block_rows(row_bytes);
  block_rows = block_rows > 0 ? std::min(block_rows, most) : most;
  std::unique_ptr<BlockSource> others;
  if (!in_place.empty()) {
    others = std::make_unique<MatrixSource>(std::move(in_place), block_rows);
  }
  source_ =
      std::make_unique<PackingSource>(std::move(others), std::move(packed), block_rows, threads);
}

void ArraySource::take_device_matrices(const Views& views, const std::vector<DType>& dtypes,
                                       std::int64_t block_rows) {
  std::vector<std::vector<MatrixView>> all;
  for (std::size_t v = 0; v < views.size(); ++v) {
    std::vector<MatrixView>& pieces = all.emplace_back();
    for (const py::object& piece : views[v]) {
      if (!py::isinstance<DeviceMatrix>(piece)) throw_mixed(v);
      const auto& matrix = piece.cast<const DeviceMatrix&>();
      if (matrix.view().dtype != dtypes[v]) {
        throw Error(ErrorKind::kType, name_of(v) + " has another dtype than its source says");
      }
      if (device_.value_or(matrix.device()) != matrix.device()) {
        throw Error(ErrorKind::kValue, name_of(v) + " is on CUDA device " +
                                           std::to_string(matrix.device()) +
                                           " and another view on device " +
                                           std::to_string(*device_) + "; expected one device");
      }
      device_ = matrix.device();
      pieces.push_back(matrix.view());
      check_equal_columns(pieces.back().columns, pieces.front().columns, v);
      owners_.push_back(piece);
    }
    columns_.push_back(pieces.front().columns);
  }
  source_ = std::make_unique<MatrixSource>(std::move(all), block_rows);
}

ArraySource::~ArraySource() {
  if (!device_) return;
  try {
    const py::gil_scoped_release unlocked;
    wait_for_cuda_backend(*device_);
  } catch (const Error&) {
    // An error of the device was thrown where work was given to it, or will be at the next call.
    return;
  }
}

}  // namespace cofactor::bindings
