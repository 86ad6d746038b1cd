#include "backend/cpu/simd/avx512bf16.h"
#include "backend/cpu/accumulate/tile.h"
#include "backend/cpu/levels.h"

namespace cofactor::cpu {

template <>
void fill_accumulate<Level::kAvx512BF16>(Kernels<float>& table) {
  fill_accumulate_table<DotBF16>(table.rounded);
}

}  // namespace cofactor::cpu
