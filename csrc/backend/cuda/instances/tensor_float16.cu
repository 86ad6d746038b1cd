#include "backend/cuda/instances/tensor.h"

namespace cofactor::cuda {

COFACTOR_INSTANTIATE_TENSOR(Float16);

}  // namespace cofactor::cuda
