// Stands in for backend/cuda where the build has no CUDA.

#include "backend/backend.h"
#include "core/error.h"

namespace cofactor {

std::unique_ptr<Backend> make_cuda_backend(const Problem& /*problem*/,
                                           const BackendOptions& /*options*/) {
  throw Error(ErrorKind::kUnavailable,
              "device='cuda' was asked for, but this build of cofactor has no CUDA backend; use "
              "device='cpu' or device='auto'");
}

bool cuda_available() { return false; }

}  // namespace cofactor
