#include <exception>

#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace cofactor::bindings {

void register_errors(py::module_& /*module*/) {
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      PyObject* type = PyExc_RuntimeError;
      if (error.kind() == ErrorKind::kValue) type = PyExc_ValueError;
      if (error.kind() == ErrorKind::kType) type = PyExc_TypeError;
      if (error.kind() == ErrorKind::kMemory) type = PyExc_MemoryError;
      if (error.kind() == ErrorKind::kFile) type = PyExc_OSError;
      py::set_error(type, error.what());
    }
  });
}

}  // namespace cofactor::bindings
