#include <string>

#include "backend/cpu/peak/peak.h"
#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace cofactor::bindings {
namespace {

cpu::MachinePeak measure_peak(int threads) {
  if (threads < 0) {
    throw Error(ErrorKind::kValue,
                "threads must be at least 1, or 0 for all, got " + std::to_string(threads));
  }
  const py::gil_scoped_release unlocked;
  return cpu::measure_peak(threads);
}

}  // namespace

void register_bench(py::module_& module) {
  py::class_<cpu::MachinePeak>(module, "MachinePeak",
                               "What the machine can do at most, per second.")
      .def_readonly("float32", &cpu::MachinePeak::float32,
                    "Operations of multiply-adds in float32 at the active level.")
      .def_readonly("bfloat16", &cpu::MachinePeak::bfloat16,
                    "Operations of dot products of bfloat16; 0 where there is no unit for them.")
      .def_readonly("bandwidth", &cpu::MachinePeak::bandwidth, "Bytes read from memory in order.");
  module.def("measure_peak", &measure_peak, py::arg("threads") = 0,
             "Measures the machine with so many threads at once (0: all), in about 0.3 s.");
}

}  // namespace cofactor::bindings
