#include "backend/cpu/simd/neon.h"
#include "backend/cpu/levels.h"
#include "backend/cpu/project/tile.h"

namespace cofactor::cpu {

template <>
void fill_project<Level::kNeon>(Kernels<float>& table) {
  fill_project_table<Exact<SimdF32>>(table.exact);
  fill_project_table<Rounded<SimdF32>>(table.rounded);
  table.rounded.round = round_factor;
}

template <>
void fill_project<Level::kNeon>(Kernels<double>& table) {
  fill_project_table<Exact<SimdF64>>(table.exact);
}

}  // namespace cofactor::cpu
