// Stands in for backend/cuda where the build has no CUDA.

#include "als/block_source.h"
#include "backend/backend.h"
#include "backend/device_memory.h"
#include "core/error.h"

namespace cofactor {
namespace {

[[noreturn]] void throw_missing() {
  throw Error(ErrorKind::kUnavailable, "device='cuda' was asked for, but " + cuda_info().missing +
                                           "; use device='cpu' or device='auto'");
}

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const Problem& /*problem*/,
                                           const BackendOptions& /*options*/) {
  throw_missing();
}

std::unique_ptr<BlockSource> make_cuda_source(BlockSource& /*source*/,
                                              const BackendOptions& /*options*/) {
  throw_missing();
}

CudaInfo cuda_info() {
  CudaInfo info;
  info.missing = "this build of cofactor has no CUDA backend";
  return info;
}

bool cuda_available() { return false; }

int cuda_device_of(const void* /*data*/) { throw_missing(); }

void wait_for_cuda_stream(int /*device*/, std::uint64_t /*stream*/) { throw_missing(); }

void wait_for_cuda_backend(int /*device*/) { throw_missing(); }

void copy_rows_from_cuda(int /*device*/, const MatrixView& /*matrix*/,
                         std::span<const std::int64_t> /*rows*/, void* /*to*/) {
  throw_missing();
}

}  // namespace cofactor
