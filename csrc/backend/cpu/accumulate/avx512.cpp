#include "backend/cpu/simd/avx512.h"
#include "backend/cpu/accumulate/tile.h"
#include "backend/cpu/levels.h"

namespace cofactor::cpu {

template <>
void fill_accumulate<Level::kAvx512>(Kernels<float>& table) {
  table.accumulate = accumulate<SimdF32>;
}

template <>
void fill_accumulate<Level::kAvx512>(Kernels<double>& table) {
  table.accumulate = accumulate<SimdF64>;
}

}  // namespace cofactor::cpu
