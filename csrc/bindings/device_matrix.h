#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>

#include "core/matrix_view.h"

namespace cofactor::bindings {

/// Rows in the memory of a CUDA device that a library of Python owns, which stays alive with them.
class DeviceMatrix {
 public:
  using RowNumbers =
      pybind11::array_t<std::int64_t, pybind11::array::c_style | pybind11::array::forcecast>;
  /// Takes what `__dlpack__` gave. Throws Error unless it is a matrix that kernels can read where
  /// it lies: on a CUDA device, of one of the stored dtypes (bool as uint8), rows contiguous.
  static DeviceMatrix from_dlpack(const pybind11::capsule& capsule);
  /// Of `rows` x `columns` numbers from an address of a CUDA device on; rows begin every
  /// `row_stride` numbers. Throws Error for another layout than that of above.
  static DeviceMatrix at(std::uintptr_t address, std::int64_t rows, std::int64_t columns,
                         std::int64_t row_stride, const std::string& dtype, int device,
                         bool writable, pybind11::object owner);

  [[nodiscard]] const MatrixView& view() const { return view_; }
  [[nodiscard]] int device() const { return device_; }
  [[nodiscard]] bool writable() const { return writable_; }

  /// Some rows and columns, where they lie. Both slices ascend, and columns are consecutive.
  [[nodiscard]] DeviceMatrix part(const pybind11::slice& rows,
                                  const pybind11::slice& columns) const;
  /// A copy of some rows in the CPU's memory; bfloat16 as its 16 bits.
  [[nodiscard]] pybind11::array rows_on_host(const RowNumbers& rows) const;

 private:
  DeviceMatrix(const MatrixView& view, int device, bool writable, std::shared_ptr<void> owner);

  MatrixView view_;
  int device_;
  bool writable_;
  std::shared_ptr<void> owner_;
};

}  // namespace cofactor::bindings
