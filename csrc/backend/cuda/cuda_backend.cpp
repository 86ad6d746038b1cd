// The backend on a GPU.

#include <memory>

#include "backend/backend.h"
#include "backend/cuda/cuda_runtime.h"
#include "backend/cuda/device_backend.h"
#include "backend/cuda/upload_source.h"

namespace cofactor {

std::unique_ptr<Backend> make_cuda_backend(const Problem& problem, const BackendOptions& options) {
  using cuda::CudaRuntime;
  CudaRuntime& runtime = CudaRuntime::of(options.device);
  if (options.float64) {
    return std::make_unique<cuda::DeviceBackend<CudaRuntime, double>>(runtime, problem, options);
  }
  return std::make_unique<cuda::DeviceBackend<CudaRuntime, float>>(runtime, problem, options);
}

std::unique_ptr<BlockSource> make_cuda_source(BlockSource& source, const BackendOptions& options) {
  using cuda::CudaRuntime;
  CudaRuntime& runtime = CudaRuntime::of(options.device);
  cuda::UploadOptions upload;
  upload.threads = options.threads;
  return std::make_unique<cuda::UploadSource<CudaRuntime>>(runtime, source, upload);
}

}  // namespace cofactor
