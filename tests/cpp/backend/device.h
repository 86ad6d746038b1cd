#pragma once

#include <memory>

#include "backend/backend.h"

namespace cofactor::testing {

/// The backend that an executable of tests is about: that of the CPU, or that of CUDA on an
/// emulated device. The same tests are linked with the one and with the other.
[[nodiscard]] std::unique_ptr<Backend> make_backend(const Problem& problem,
                                                    const BackendOptions& options);

/// Whether it is that of the CPU.
[[nodiscard]] bool on_cpu();

}  // namespace cofactor::testing
