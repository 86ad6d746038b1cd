#include "backend/cpu/simd/avx512bf16.h"
#include "backend/cpu/levels.h"
#include "backend/cpu/project/tile.h"

namespace cofactor::cpu {

template <>
void fill_project<Level::kAvx512BF16>(Kernels<float>& table) {
  fill_project_table<DotBF16>(table.rounded);
}

}  // namespace cofactor::cpu
