#include "backend/cuda/instances/nnls.h"

namespace cofactor::cuda {

COFACTOR_INSTANTIATE_NNLS(float);

}  // namespace cofactor::cuda
