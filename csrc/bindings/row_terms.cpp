#include "core/row_terms.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace cofactor::bindings {
namespace {

template <class Number>
using Column = py::array_t<Number, py::array::c_style | py::array::forcecast>;

template <class Number>
std::vector<Number> values_of(const std::optional<Column<Number>>& column) {
  if (!column) return {};
  if (column->ndim() != 1) throw Error(ErrorKind::kValue, "row terms need one number a row");
  return {column->data(), column->data() + column->size()};
}

void check_range(const std::vector<std::int32_t>& indices, std::int64_t count) {
  for (const std::int32_t index : indices) {
    if (index < 0 || index >= count) {
      throw Error(ErrorKind::kValue, "row terms hold the index " + std::to_string(index) + " of " +
                                         std::to_string(count));
    }
  }
}

RowTerms make(const std::optional<Column<double>>& weight,
              const std::optional<Column<std::int32_t>>& pattern,
              std::vector<std::vector<bool>> patterns,
              const std::optional<Column<std::int32_t>>& group, std::int64_t num_groups) {
  RowTerms terms;
  terms.weight = values_of(weight);
  terms.pattern = values_of(pattern);
  terms.patterns = std::move(patterns);
  terms.group = values_of(group);
  terms.num_groups = num_groups;
  for (const double value : terms.weight) {
    if (!std::isfinite(value) || value < 0) {
      throw Error(ErrorKind::kValue, "weights of rows must be finite and at least 0");
    }
  }
  if (terms.pattern.empty() != terms.patterns.empty()) {
    throw Error(ErrorKind::kValue, "patterns and a pattern for every row come together");
  }
  check_range(terms.pattern, static_cast<std::int64_t>(terms.patterns.size()));
  check_range(terms.group, num_groups);
  return terms;
}

}  // namespace

void register_row_terms(py::module_& module) {
  py::class_<RowTerms>(module, "RowTerms",
                       "What a problem knows of single rows: weights, which views they have (an "
                       "index into patterns of one flag a view) and their groups.")
      .def(py::init(&make), py::kw_only(), py::arg("weight") = py::none(),
           py::arg("pattern") = py::none(), py::arg("patterns") = std::vector<std::vector<bool>>{},
           py::arg("group") = py::none(), py::arg("n_groups") = 0);
}

}  // namespace cofactor::bindings
