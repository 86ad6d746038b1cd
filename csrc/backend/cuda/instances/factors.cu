#include "backend/cuda/kernels/factors.h"

#include "backend/cuda/kernels/gram.h"
#include "backend/cuda/kernels/parts.h"
#include "backend/cuda/kernels/transpose.h"
#include "backend/cuda/kernels/unit_rows.h"
#include "backend/cuda/launch.h"

namespace cofactor::cuda {

COFACTOR_INSTANTIATE(RoundFactor);
COFACTOR_INSTANTIATE(AdvanceFactor<float>);
COFACTOR_INSTANTIATE(AdvanceFactor<double>);
COFACTOR_INSTANTIATE(Transpose<double, float>);
COFACTOR_INSTANTIATE(Transpose<float, float>);
COFACTOR_INSTANTIATE(Transpose<double, double>);
COFACTOR_INSTANTIATE(ComponentSums<float>);
COFACTOR_INSTANTIATE(ComponentSums<double>);
COFACTOR_INSTANTIATE(FindUnitRow<float>);
COFACTOR_INSTANTIATE(FindUnitRow<double>);
COFACTOR_INSTANTIATE(MoveUnitRow<float>);
COFACTOR_INSTANTIATE(MoveUnitRow<double>);
COFACTOR_INSTANTIATE(EndUnitSweep<float>);
COFACTOR_INSTANTIATE(EndUnitSweep<double>);
COFACTOR_INSTANTIATE(GramParts<float>);
COFACTOR_INSTANTIATE(GramParts<double>);
COFACTOR_INSTANTIATE(AddParts<float>);
COFACTOR_INSTANTIATE(AddParts<double>);

}  // namespace cofactor::cuda
