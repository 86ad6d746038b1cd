#include "backend/cpu/simd/avx2.h"
#include "backend/cpu/levels.h"
#include "backend/cpu/project/tile.h"

namespace cofactor::cpu {

template <>
void fill_project<Level::kAvx2>(Kernels<float>& table) {
  table.project = project<SimdF32>;
  table.project_sum = project_sum<SimdF32>;
}

template <>
void fill_project<Level::kAvx2>(Kernels<double>& table) {
  table.project = project<SimdF64>;
  table.project_sum = project_sum<SimdF64>;
}

}  // namespace cofactor::cpu
