#include "backend/cpu/simd/neon.h"
#include "backend/cpu/levels.h"
#include "backend/cpu/residual/tile.h"

namespace cofactor::cpu {

template <>
void fill_residual<Level::kNeon>(Kernels<float>& table) {
  table.residual = residual<SimdF32>;
}

template <>
void fill_residual<Level::kNeon>(Kernels<double>& table) {
  table.residual = residual<SimdF64>;
}

}  // namespace cofactor::cpu
