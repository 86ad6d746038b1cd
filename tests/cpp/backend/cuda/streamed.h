#pragma once

#include <memory>

#include "als/block_source.h"
#include "backend/backend.h"
#include "backend/cuda/emulation/host_runtime.h"
#include "backend/cuda/upload_source.h"

namespace cofactor::testing {

/// The CUDA backend on an emulated device and, on the same device, a source's rows.
class Streamed {
 public:
  virtual ~Streamed() = default;
  [[nodiscard]] virtual Backend& backend() = 0;
  [[nodiscard]] virtual BlockSource& source() = 0;
  [[nodiscard]] virtual cuda::emulation::HostRuntime& runtime() = 0;
};

[[nodiscard]] std::unique_ptr<Streamed> make_streamed(const Problem& problem,
                                                      const BackendOptions& options,
                                                      BlockSource& source,
                                                      const cuda::UploadOptions& upload,
                                                      unsigned seed);

}  // namespace cofactor::testing
