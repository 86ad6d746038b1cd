#include "backend/cpu/simd/avx512.h"
#include "backend/cpu/levels.h"
#include "backend/cpu/nnls/nnls.h"

namespace cofactor::cpu {

template <>
void fill_nnls<Level::kAvx512>(Kernels<float>& table) {
  table.nnls = nnls<SimdF32>;
}

template <>
void fill_nnls<Level::kAvx512>(Kernels<double>& table) {
  table.nnls = nnls<SimdF64>;
}

}  // namespace cofactor::cpu
