#pragma once

namespace cofactor {

/// Instruction sets that the CPU kernels are written for; those of one architecture ascend from the
/// plainest to the widest.
enum class Level { kScalar, kAvx2, kAvx512, kAvx512BF16, kNeon };

}  // namespace cofactor
