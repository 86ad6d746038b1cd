#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "als/block_source.h"
#include "core/matrix_view.h"

namespace cofactor::bindings {

/// Arrays of Python as a block source; keeps them alive.
class PySource {
 public:
  PySource(const std::vector<std::vector<pybind11::array>>& views,
           const std::vector<std::string>& dtypes, std::vector<double> scales,
           std::int64_t block_rows);

  MatrixSource& source() { return source_; }
  [[nodiscard]] const std::vector<std::int64_t>& columns() const { return columns_; }
  [[nodiscard]] const std::vector<DType>& dtypes() const { return dtypes_; }
  [[nodiscard]] const std::vector<double>& scales() const { return scales_; }
  [[nodiscard]] std::int64_t rows() const { return source_.rows(); }

 private:
  std::vector<std::vector<pybind11::array>> owners_;
  std::vector<DType> dtypes_;
  std::vector<double> scales_;
  std::vector<std::int64_t> columns_;
  MatrixSource source_;
};

}  // namespace cofactor::bindings
