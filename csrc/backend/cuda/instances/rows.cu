#include "backend/cuda/kernels/rows.h"

#include "backend/cuda/kernels/residual.h"
#include "backend/cuda/kernels/row_totals.h"
#include "backend/cuda/kernels/scan_rows.h"
#include "backend/cuda/launch.h"

namespace cofactor::cuda {

COFACTOR_INSTANTIATE(WeighRows<float>);
COFACTOR_INSTANTIATE(WeighRows<double>);
COFACTOR_INSTANTIATE(PutSquares);
COFACTOR_INSTANTIATE(SumRowValues);
COFACTOR_INSTANTIATE(AddRowLanes);
COFACTOR_INSTANTIATE(SumGroupSquares<float>);
COFACTOR_INSTANTIATE(SumGroupSquares<double>);

#define COFACTOR_INSTANTIATE_STORED(Stored)          \
  COFACTOR_INSTANTIATE(ScanRows<Stored>);            \
  COFACTOR_INSTANTIATE(Residual<float, Stored>);     \
  COFACTOR_INSTANTIATE(Residual<double, Stored>)
COFACTOR_INSTANTIATE_STORED(std::uint8_t);
COFACTOR_INSTANTIATE_STORED(Float16);
COFACTOR_INSTANTIATE_STORED(BFloat16);
COFACTOR_INSTANTIATE_STORED(float);
COFACTOR_INSTANTIATE_STORED(double);

}  // namespace cofactor::cuda
