#include "backend/cuda/instances/tensor.h"

namespace cofactor::cuda {

COFACTOR_INSTANTIATE_TENSOR(std::uint8_t);

}  // namespace cofactor::cuda
