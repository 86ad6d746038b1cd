#pragma once

#include <pybind11/pybind11.h>

namespace cofactor::bindings {

void register_errors(pybind11::module_& module);
void register_device_matrix(pybind11::module_& module);
void register_row_terms(pybind11::module_& module);
void register_source(pybind11::module_& module);
void register_engine(pybind11::module_& module);
void register_product_side(pybind11::module_& module);
void register_runtime(pybind11::module_& module);
void register_bench(pybind11::module_& module);

}  // namespace cofactor::bindings
