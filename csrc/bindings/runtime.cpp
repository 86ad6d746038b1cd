#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "als/loss.h"
#include "backend/backend.h"
#include "bindings/bindings.h"
#include "core/simd_level.h"
#include "core/thread_pool.h"

// By name in the module's file, for threadpoolctl.
extern "C" {
[[gnu::visibility("default")]] int cofactor_get_num_threads() {
  return cofactor::default_threads();
}
[[gnu::visibility("default")]] void cofactor_set_num_threads(int threads) {
  cofactor::set_default_threads(threads);
}
}

namespace cofactor::bindings {

void register_runtime(pybind11::module_& module) {
  module.def(
      "simd_level", [] { return std::string(name_of(active_level())); },
      "Instruction-set level of the CPU kernels; COFACTOR_SIMD forces one.");
  module.def(
      "simd_levels",
      [] {
        std::vector<std::string> names;
        for (const Level level : supported_levels()) names.emplace_back(name_of(level));
        return names;
      },
      "Levels that this build holds and this machine runs, from plain to wide.");
  module.def("bfloat16_is_faster", &bfloat16_is_faster,
             "Whether the CPU kernels multiply bfloat16 faster than float32 on this kind of "
             "processor.");
  module.def("default_threads", &default_threads,
             "Threads used where none are named: the limit of threadpoolctl, COFACTOR_NUM_THREADS, "
             "OMP_NUM_THREADS, then the CPUs left by affinity and cgroup quota.");
  pybind11::class_<CudaDevice>(module, "CudaDevice", "A GPU.")
      .def_readonly("name", &CudaDevice::name)
      .def_readonly("capability", &CudaDevice::capability, "Compute capability, such as 9.0.")
      .def_readonly("bytes", &CudaDevice::bytes, "Of its memory.");
  pybind11::class_<CudaInfo>(module, "CudaInfo", "What of CUDA there is.")
      .def_readonly("built", &CudaInfo::built, "Whether this build has the CUDA backend.")
      .def_readonly("runtime", &CudaInfo::runtime, "Version of CUDA that it was built with.")
      .def_readonly("driver", &CudaInfo::driver, "The latest version that the driver supports.")
      .def_readonly("devices", &CudaInfo::devices)
      .def_readonly("missing", &CudaInfo::missing,
                    "Why there is no device to use; empty where there is one.");
  module.def("cuda_info", &cuda_info, "What of CUDA there is in this build and on this machine.");
  module.def("cuda_available", &cuda_available, "Whether device='cuda' can work here.");
  module.def(
      "identity_limit", [](bool float64) { return identity_limit(float64 ? 8 : 4); },
      pybind11::arg("float64"),
      "Relative losses below this are lost to cancellation in the Gram identity.");
  module.attr("PANEL_ROWS") = kPanelRows;
}

}  // namespace cofactor::bindings
