#include "backend/device.h"

namespace cofactor::testing {

std::unique_ptr<Backend> make_backend(const Problem& problem, const BackendOptions& options) {
  return make_cpu_backend(problem, options);
}

bool on_cpu() { return true; }

}  // namespace cofactor::testing
