#include "backend/cpu/simd/neon.h"
#include "backend/cpu/accumulate/tile.h"
#include "backend/cpu/levels.h"

namespace cofactor::cpu {

template <>
void fill_accumulate<Level::kNeon>(Kernels<float>& table) {
  fill_accumulate_table<Exact<SimdF32>>(table.exact);
  fill_accumulate_table<Rounded<SimdF32>>(table.rounded);
}

template <>
void fill_accumulate<Level::kNeon>(Kernels<double>& table) {
  fill_accumulate_table<Exact<SimdF64>>(table.exact);
}

}  // namespace cofactor::cpu
