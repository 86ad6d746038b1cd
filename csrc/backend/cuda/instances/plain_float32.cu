#include "backend/cuda/instances/plain.h"
#include "backend/cuda/kernels/fold_panels.h"

namespace cofactor::cuda {

COFACTOR_INSTANTIATE(PackFactor<Float16>);
COFACTOR_INSTANTIATE(PackFactor<BFloat16>);
COFACTOR_INSTANTIATE(FoldPanels<float>);
COFACTOR_INSTANTIATE_PLAIN(float, float);
COFACTOR_INSTANTIATE_PLAIN(float, double);

}  // namespace cofactor::cuda
