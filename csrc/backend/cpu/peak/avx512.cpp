#include "backend/cpu/simd/avx512.h"
#include "backend/cpu/peak/tile.h"

namespace cofactor::cpu {

template <>
PeakLoops peak_loops<Level::kAvx512>() {
  return loops<SimdF32, 24>();
}

}  // namespace cofactor::cpu
