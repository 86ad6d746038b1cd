#include "bindings/bindings.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "Compiled core of cofactor. Private: use the classes of the package.";
  cofactor::bindings::register_errors(module);
  cofactor::bindings::register_runtime(module);
  cofactor::bindings::register_device_matrix(module);
  cofactor::bindings::register_source(module);
  cofactor::bindings::register_row_terms(module);
  cofactor::bindings::register_engine(module);
  cofactor::bindings::register_product_side(module);
  cofactor::bindings::register_bench(module);
}
