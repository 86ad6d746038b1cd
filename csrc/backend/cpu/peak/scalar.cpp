#include "backend/cpu/simd/scalar.h"
#include "backend/cpu/peak/tile.h"

namespace cofactor::cpu {

// The compiler may join chains into vectors of the baseline, as it may in the kernels: hence many.
template <>
PeakLoops peak_loops<Level::kScalar>() {
  return loops<SimdF32, 48>();
}

}  // namespace cofactor::cpu
