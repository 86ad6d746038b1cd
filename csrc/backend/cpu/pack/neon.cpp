#include "backend/cpu/simd/neon.h"
#include "backend/cpu/levels.h"
#include "backend/cpu/pack/tile.h"

namespace cofactor::cpu {

template <>
void fill_pack<Level::kNeon>(Kernels<float>& table) {
  fill_table<SimdF32>(table);
}

template <>
void fill_pack<Level::kNeon>(Kernels<double>& table) {
  fill_table<SimdF64>(table);
}

}  // namespace cofactor::cpu
