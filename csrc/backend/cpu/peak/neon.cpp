#include "backend/cpu/simd/neon.h"
#include "backend/cpu/peak/tile.h"

namespace cofactor::cpu {

template <>
PeakLoops peak_loops<Level::kNeon>() {
  return loops<SimdF32, 24>();
}

}  // namespace cofactor::cpu
