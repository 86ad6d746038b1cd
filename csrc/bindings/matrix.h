#pragma once

#include <pybind11/numpy.h>

#include <algorithm>
#include <cstdint>
#include <span>

namespace cofactor::bindings {

/// What a caller gives as numbers of float64, row-major.
using Matrix = pybind11::array_t<double, pybind11::array::c_style | pybind11::array::forcecast>;

/// A copy of `values` as rows x columns.
inline pybind11::array_t<double> matrix_of(std::span<const double> values, std::int64_t rows,
                                           std::int64_t columns) {
  pybind11::array_t<double> array({rows, columns});
  std::copy(values.begin(), values.end(), array.mutable_data());
  return array;
}

}  // namespace cofactor::bindings
