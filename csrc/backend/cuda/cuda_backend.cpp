// The backend on a GPU.

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "backend/backend.h"
#include "backend/cuda/cuda_runtime.h"
#include "backend/cuda/device_backend.h"
#include "backend/cuda/upload_source.h"
#include "core/error.h"

namespace cofactor {
namespace {

/// COFACTOR_CUDA_GRAPHS=0 gives a GPU its work kernel by kernel, for whoever looks at kernels.
bool graphs_by_environment() {
  const char* const text = std::getenv("COFACTOR_CUDA_GRAPHS");
  const std::string_view wanted = text == nullptr ? "1" : text;
  if (wanted != "0" && wanted != "1") {
    throw Error(ErrorKind::kValue,
                "COFACTOR_CUDA_GRAPHS=" + std::string(wanted) + " must be 0 or 1");
  }
  return wanted == "1";
}

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const Problem& problem, const BackendOptions& options) {
  using cuda::CudaRuntime;
  CudaRuntime& runtime = CudaRuntime::of(options.device);
  BackendOptions own = options;
  own.graphs = options.graphs && graphs_by_environment();
  if (options.float64) {
    return std::make_unique<cuda::DeviceBackend<CudaRuntime, double>>(runtime, problem, own);
  }
  return std::make_unique<cuda::DeviceBackend<CudaRuntime, float>>(runtime, problem, own);
}

std::unique_ptr<BlockSource> make_cuda_source(BlockSource& source, const BackendOptions& options) {
  using cuda::CudaRuntime;
  CudaRuntime& runtime = CudaRuntime::of(options.device);
  cuda::UploadOptions upload;
  upload.threads = options.threads;
  return std::make_unique<cuda::UploadSource<CudaRuntime>>(runtime, source, upload);
}

}  // namespace cofactor
