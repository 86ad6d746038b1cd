#include "backend/cuda/instances/plain.h"
#include "backend/cuda/kernels/fold_panels.h"

namespace cofactor::cuda {

COFACTOR_INSTANTIATE(FoldPanels<double>);
COFACTOR_INSTANTIATE_PLAIN(double, std::uint8_t);
COFACTOR_INSTANTIATE_PLAIN(double, Float16);
COFACTOR_INSTANTIATE_PLAIN(double, BFloat16);
COFACTOR_INSTANTIATE_PLAIN(double, float);
COFACTOR_INSTANTIATE_PLAIN(double, double);

}  // namespace cofactor::cuda
