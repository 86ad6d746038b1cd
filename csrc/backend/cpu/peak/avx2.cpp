#include "backend/cpu/simd/avx2.h"
#include "backend/cpu/peak/tile.h"

namespace cofactor::cpu {

template <>
PeakLoops peak_loops<Level::kAvx2>() {
  return loops<SimdF32, 12>();
}

}  // namespace cofactor::cpu
