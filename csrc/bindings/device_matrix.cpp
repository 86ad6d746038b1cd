#include "bindings/device_matrix.h"

#include <pybind11/stl.h>

#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/device_memory.h"
#include "bindings/bindings.h"
#include "bindings/dlpack.h"
#include "core/error.h"

namespace py = pybind11;

namespace cofactor::bindings {
namespace {

/// The tensor in a capsule, and what calls its deleter; the capsule counts as used then.
struct Taken {
  const dlpack::Tensor* tensor;
  bool writable;
  std::shared_ptr<void> owner;
};

template <class Managed>
Taken take(const py::capsule& capsule, const char* name, const char* used) {
  auto* const managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), name));
  if (managed == nullptr) throw py::error_already_set();
  bool writable = true;
  if constexpr (std::is_same_v<Managed, dlpack::VersionedTensor>) {
    if (managed->major != dlpack::kMajorVersion) {
      throw Error(ErrorKind::kType, "DLPack of version " + std::to_string(managed->major) +
                                        " was given; expected version 1");
    }
    writable = (managed->flags & dlpack::kReadOnly) == 0;
  }
  if (PyCapsule_SetName(capsule.ptr(), used) != 0) throw py::error_already_set();
  // Whoever lets go of the last part of the matrix may do so without the GIL, which deleters of
  // Python's libraries need.
  std::shared_ptr<void> owner(managed, [](void* pointer) {
    const py::gil_scoped_acquire gil;
    auto* const owned = static_cast<Managed*>(pointer);
    if (owned->deleter != nullptr) owned->deleter(owned);
  });
  return {&managed->tensor, writable, std::move(owner)};
}

Taken take(const py::capsule& capsule) {
  const std::string_view name = capsule.name() == nullptr ? "" : capsule.name();
  if (name == dlpack::kName) {
    return take<dlpack::ManagedTensor>(capsule, dlpack::kName, dlpack::kUsedName);
  }
  if (name == dlpack::kVersionedName) {
    return take<dlpack::VersionedTensor>(capsule, dlpack::kVersionedName,
                                         dlpack::kUsedVersionedName);
  }
  throw Error(ErrorKind::kType, "a capsule named '" + std::string(name) +
                                    "' was given; expected one of DLPack that nobody has taken");
}

DType dtype_of(const dlpack::Type& type) {
  if (type.lanes == 1) {
    const int bits = type.bits;
    if (type.code == dlpack::kFloat && bits == 16) return DType::kFloat16;
    if (type.code == dlpack::kFloat && bits == 32) return DType::kFloat32;
    if (type.code == dlpack::kFloat && bits == 64) return DType::kFloat64;
    if (type.code == dlpack::kBFloat && bits == 16) return DType::kBFloat16;
    if ((type.code == dlpack::kUInt || type.code == dlpack::kBool) && bits == 8) {
      return DType::kUInt8;
    }
  }
  throw Error(ErrorKind::kType, "numbers of " + std::to_string(type.bits) +
                                    " bits and DLPack's type code " + std::to_string(type.code) +
                                    " were given; expected uint8, float16, bfloat16, float32 or "
                                    "float64");
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kUInt8:
      return "uint8";
    case DType::kFloat16:
      return "float16";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kFloat32:
      return "float32";
    case DType::kFloat64:
      break;
  }
  return "float64";
}

void check_layout(const MatrixView& view, std::int64_t column_stride) {
  const std::size_t size = size_of(view.dtype);
  const bool contiguous = view.columns <= 1 || column_stride == 1;
  const bool apart = view.rows <= 1 || view.row_stride >= view.columns;
  const bool aligned = reinterpret_cast<std::uintptr_t>(view.data) % size == 0;
  if (contiguous && apart && aligned) return;
  throw Error(ErrorKind::kValue,
              "strides of " + std::to_string(view.row_stride) + " and " +
                  std::to_string(column_stride) +
                  " numbers were given; expected rows that are contiguous and do not overlap");
}

}  // namespace

DeviceMatrix::DeviceMatrix(const MatrixView& view, int device, bool writable,
                           std::shared_ptr<void> owner)
    : view_(view), device_(device), writable_(writable), owner_(std::move(owner)) {
  view_.memory = Memory::kDevice;
  // Of one row the stride has no meaning, and libraries give any.
  if (view_.rows <= 1) view_.row_stride = view_.columns;
}

DeviceMatrix DeviceMatrix::from_dlpack(const py::capsule& capsule) {
  Taken taken = take(capsule);
  const dlpack::Tensor& tensor = *taken.tensor;
  if (tensor.device.type != dlpack::kCuda && tensor.device.type != dlpack::kCudaManaged) {
    throw Error(ErrorKind::kType, "memory of DLPack's device type " +
                                      std::to_string(tensor.device.type) +
                                      " was given; expected that of a CUDA device");
  }
  if (tensor.ndim != 2) {
    throw Error(ErrorKind::kValue,
                std::to_string(tensor.ndim) + " dimensions were given; expected rows x columns");
  }
  MatrixView view;
  view.data = static_cast<const std::byte*>(tensor.data) + tensor.byte_offset;
  view.dtype = dtype_of(tensor.dtype);
  view.rows = tensor.shape[0];
  view.columns = tensor.shape[1];
  view.row_stride = tensor.strides == nullptr ? view.columns : tensor.strides[0];
  check_layout(view, tensor.strides == nullptr ? 1 : tensor.strides[1]);
  return {view, tensor.device.id, taken.writable, std::move(taken.owner)};
}

DeviceMatrix DeviceMatrix::at(std::uintptr_t address, std::int64_t rows, std::int64_t columns,
                              std::int64_t row_stride, const std::string& dtype, int device,
                              bool writable, py::object owner) {
  // An address is what the interface gives.
  const void* const data = reinterpret_cast<const void*>(address);  // NOLINT
  const MatrixView view{data, parse_dtype(dtype), rows, columns, row_stride};
  if (rows < 0 || columns < 0) throw Error(ErrorKind::kValue, "a matrix has no negative shape");
  check_layout(view, 1);
  std::shared_ptr<void> kept(owner.release().ptr(), [](void* object) {
    const py::gil_scoped_acquire gil;
    Py_DECREF(static_cast<PyObject*>(object));
  });
  return {view, device, writable, std::move(kept)};
}

DeviceMatrix DeviceMatrix::part(const py::slice& rows, const py::slice& columns) const {
  py::ssize_t first_row = 0;
  py::ssize_t first_column = 0;
  py::ssize_t row_step = 0;
  py::ssize_t column_step = 0;
  py::ssize_t stop = 0;
  py::ssize_t num_rows = 0;
  py::ssize_t num_columns = 0;
  if (!rows.compute(view_.rows, &first_row, &stop, &row_step, &num_rows) ||
      !columns.compute(view_.columns, &first_column, &stop, &column_step, &num_columns)) {
    throw py::error_already_set();
  }
  if (row_step < 1 || column_step != 1) {
    throw Error(ErrorKind::kValue, "a part of a matrix needs ascending rows and columns in a run");
  }
  MatrixView view = view_;
  view.data = static_cast<const std::byte*>(view_.row(first_row)) +
              static_cast<std::size_t>(first_column) * size_of(view_.dtype);
  view.rows = num_rows;
  view.columns = num_columns;
  view.row_stride = view_.row_stride * row_step;
  return {view, device_, writable_, owner_};
}

py::array DeviceMatrix::rows_on_host(const RowNumbers& rows) const {
  const std::span<const std::int64_t> wanted(rows.data(), static_cast<std::size_t>(rows.size()));
  for (const std::int64_t row : wanted) {
    if (row < 0 || row >= view_.rows) {
      throw Error(ErrorKind::kValue,
                  "there is no row " + std::to_string(row) + " of " + std::to_string(view_.rows));
    }
  }
  const bool bits = view_.dtype == DType::kBFloat16;
  py::array result(py::dtype(bits ? "uint16" : name_of(view_.dtype)),
                   std::vector<py::ssize_t>{rows.size(), view_.columns});
  void* const to = result.mutable_data();
  {
    const py::gil_scoped_release unlocked;
    copy_rows_from_cuda(device_, view_, wanted, to);
  }
  return result;
}

void register_device_matrix(py::module_& module) {
  py::class_<DeviceMatrix>(module, "DeviceMatrix",
                           "Rows in the memory of a CUDA device, whose owner they keep alive.")
      .def_static("from_dlpack", &DeviceMatrix::from_dlpack, py::arg("capsule"),
                  "Of what __dlpack__ gave: a matrix on a CUDA device with contiguous rows of "
                  "bool or of a dtype that the core reads.")
      .def_static("at", &DeviceMatrix::at, py::arg("address"), py::kw_only(), py::arg("rows"),
                  py::arg("columns"), py::arg("row_stride"), py::arg("dtype"), py::arg("device"),
                  py::arg("writable"), py::arg("owner"),
                  "Of an address on a CUDA device; rows begin every row_stride numbers.")
      .def_property_readonly("shape",
                             [](const DeviceMatrix& matrix) {
                               return py::typing::Tuple<py::int_, py::int_>(
                                   py::make_tuple(matrix.view().rows, matrix.view().columns));
                             })
      .def_property_readonly(
          "dtype", [](const DeviceMatrix& matrix) { return name_of(matrix.view().dtype); })
      .def_property_readonly("address",
                             [](const DeviceMatrix& matrix) {
                               return reinterpret_cast<std::uintptr_t>(matrix.view().data);
                             })
      .def_property_readonly("row_stride",
                             [](const DeviceMatrix& matrix) { return matrix.view().row_stride; })
      .def_property_readonly("device", &DeviceMatrix::device, "Number of the CUDA device.")
      .def_property_readonly("writable", &DeviceMatrix::writable)
      .def(
          "__getitem__",
          [](const DeviceMatrix& matrix, const py::typing::Tuple<py::slice, py::slice>& parts) {
            return matrix.part(parts[0].cast<py::slice>(), parts[1].cast<py::slice>());
          },
          py::arg("parts"), "Some rows and columns, where they lie.")
      .def("__getitem__", &DeviceMatrix::rows_on_host, py::arg("rows"),
           "A copy of the rows of these numbers in the CPU's memory; bfloat16 as its 16 bits.");
  module.def(
      "cuda_device_of",
      [](std::uintptr_t address) {
        return cuda_device_of(reinterpret_cast<const void*>(address));  // NOLINT
      },
      py::arg("address"), "Number of the CUDA device that an address lies on.");
  module.def("wait_for_cuda_stream", &wait_for_cuda_stream, py::arg("device"), py::arg("stream"),
             py::call_guard<py::gil_scoped_release>(),
             "Waits until a stream of a CUDA device has done what it was given: 1 is its legacy "
             "default stream, 2 this thread's, and more is a handle.");
}

}  // namespace cofactor::bindings
