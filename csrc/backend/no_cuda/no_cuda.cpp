// Stands in for backend/cuda where the build has no CUDA.

#include "backend/backend.h"
#include "backend/device_memory.h"
#include "core/error.h"

namespace cofactor {
namespace {

[[noreturn]] void throw_no_memory() {
  throw Error(
      ErrorKind::kUnavailable,
      "an array on a CUDA device was given, but this build of cofactor has no CUDA backend; "
      "use device='cpu'");
}

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const Problem& /*problem*/,
                                           const BackendOptions& /*options*/) {
  throw Error(ErrorKind::kUnavailable,
              "device='cuda' was asked for, but this build of cofactor has no CUDA backend; use "
              "device='cpu' or device='auto'");
}

bool cuda_available() { return false; }

int cuda_device_of(const void* /*data*/) { throw_no_memory(); }

void wait_for_cuda_stream(int /*device*/, std::uint64_t /*stream*/) { throw_no_memory(); }

void wait_for_cuda_backend(int /*device*/) { throw_no_memory(); }

void copy_rows_from_cuda(int /*device*/, const MatrixView& /*matrix*/,
                         std::span<const std::int64_t> /*rows*/, void* /*to*/) {
  throw_no_memory();
}

}  // namespace cofactor
