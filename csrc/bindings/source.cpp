#include "bindings/source.h"

#include <pybind11/stl.h>

#include <cstdint>
#include <utility>

#include "bindings/array_source.h"
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

}  // namespace

PySource::PySource(const ArraySource::Views& views, const std::vector<std::string>& dtypes,
                   std::vector<double> scales, std::int64_t block_rows, int threads)
    : dtypes_(parse_all(dtypes)), scales_(std::move(scales)) {
  if (views.empty()) throw Error(ErrorKind::kValue, "a source needs at least one view");
  if (views.size() != dtypes_.size() || views.size() != scales_.size()) {
    throw Error(ErrorKind::kValue, "a source needs one dtype and one scale a view");
  }
  auto source = std::make_unique<ArraySource>(views, dtypes_, block_rows, threads);
  columns_ = source->columns();
  source_ = std::move(source);
}

void register_source(py::module_& module) {
  py::class_<PySource>(module, "Source",
                       "Views as lists of arrays, consecutive pieces of their rows. Keeps the "
                       "arrays alive. Row-major ones are read in place; one of other layout, byte "
                       "order or integers, or a sparse one in rows, is packed block by block.")
      .def(py::init<const ArraySource::Views&, const std::vector<std::string>&, std::vector<double>,
                    std::int64_t, int>(),
           py::arg("views"), py::arg("dtypes"), py::arg("scales"), py::kw_only(),
           py::arg("block_rows") = 0, py::arg("threads") = 0)
      .def_property_readonly("n_rows", &PySource::rows);
}

}  // namespace cofactor::bindings
