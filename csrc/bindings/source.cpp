#include "bindings/source.h"

#include <pybind11/stl.h>

#include <cstdint>
#include <utility>

#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace cofactor::bindings {
namespace {

std::vector<DType> parse_all(const std::vector<std::string>& names) {
  std::vector<DType> dtypes;
  for (const std::string& name : names) dtypes.push_back(parse_dtype(name));
  return dtypes;
}

MatrixView view_of(const py::array& array, DType dtype, std::size_t number) {
  const std::string name = "view number " + std::to_string(number);
  if (array.ndim() != 2) {
    throw Error(ErrorKind::kValue, name + " has " + std::to_string(array.ndim()) +
                                       " dimensions; expected rows x columns");
  }
  const auto size = static_cast<py::ssize_t>(size_of(dtype));
  if (array.itemsize() != size) {
    throw Error(ErrorKind::kType, name + " has numbers of " + std::to_string(array.itemsize()) +
                                      " bytes; its dtype has " + std::to_string(size));
  }
  const bool contiguous = array.shape(1) <= 1 || array.strides(1) == size;
  if (!contiguous || array.strides(0) % size != 0 || array.strides(0) < 0) {
    throw Error(ErrorKind::kValue, name + " is not row-major; pass numpy.ascontiguousarray of it");
  }
  if (reinterpret_cast<std::uintptr_t>(array.data()) % size_of(dtype) != 0) {
    throw Error(ErrorKind::kValue, name + " is not aligned to its dtype; pass a copy of it");
  }
  return {array.data(), dtype, array.shape(0), array.shape(1), array.strides(0) / size};
}

std::vector<std::vector<MatrixView>> views_of(const std::vector<std::vector<py::array>>& views,
                                              const std::vector<DType>& dtypes) {
  if (views.empty()) throw Error(ErrorKind::kValue, "a source needs at least one view");
  if (views.size() != dtypes.size()) {
    throw Error(ErrorKind::kValue, "a source needs one dtype a view");
  }
  std::vector<std::vector<MatrixView>> result(views.size());
  for (std::size_t v = 0; v < views.size(); ++v) {
    if (views[v].empty()) throw Error(ErrorKind::kValue, "a view needs at least one array");
    for (const py::array& array : views[v]) {
      result[v].push_back(view_of(array, dtypes[v], v));
      if (result[v].back().columns != result[v].front().columns) {
        throw Error(ErrorKind::kValue, "the arrays of view number " + std::to_string(v) +
                                           " differ in their number of columns");
      }
    }
  }
  return result;
}

}  // namespace

PySource::PySource(const std::vector<std::vector<py::array>>& views,
                   const std::vector<std::string>& dtypes, std::vector<double> scales,
                   std::int64_t block_rows)
    : owners_(views),
      dtypes_(parse_all(dtypes)),
      scales_(std::move(scales)),
      source_(views_of(views, dtypes_), block_rows) {
  if (scales_.size() != views.size()) {
    throw Error(ErrorKind::kValue, "a source needs one scale a view");
  }
  for (const std::vector<py::array>& view : views) columns_.push_back(view.front().shape(1));
}

void register_source(py::module_& module) {
  py::class_<PySource>(module, "Source",
                       "Views as lists of row-major arrays, consecutive pieces of their rows. "
                       "Keeps the arrays alive and copies nothing.")
      .def(py::init<const std::vector<std::vector<py::array>>&, const std::vector<std::string>&,
                    std::vector<double>, std::int64_t>(),
           py::arg("views"), py::arg("dtypes"), py::arg("scales"), py::kw_only(),
           py::arg("block_rows") = 0)
      .def_property_readonly("n_rows", &PySource::rows);
}

}  // namespace cofactor::bindings
