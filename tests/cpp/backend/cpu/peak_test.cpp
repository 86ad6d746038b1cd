#include "backend/cpu/peak/peak.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "core/aligned_buffer.h"
#include "testing.h"

namespace cofactor::cpu {
namespace {

/// The loops of every level that this machine runs, with the level's lanes.
std::vector<std::pair<PeakLoops, std::int64_t>> all_loops() {
  std::vector<std::pair<PeakLoops, std::int64_t>> result;
  for (const Level level : supported_levels()) {
    if (level == Level::kScalar) result.emplace_back(peak_loops<Level::kScalar>(), 1);
#ifdef COFACTOR_X86
    if (level == Level::kAvx2) result.emplace_back(peak_loops<Level::kAvx2>(), 8);
    if (level == Level::kAvx512) result.emplace_back(peak_loops<Level::kAvx512>(), 16);
#endif
#ifdef COFACTOR_ARM64
    if (level == Level::kNeon) result.emplace_back(peak_loops<Level::kNeon>(), 4);
#endif
  }
  return result;
}

TEST(PeakTest, EveryChainMultipliesAndAdds) {
  for (const auto& [loops, lanes] : all_loops()) {
    const std::int64_t chains = loops.multiply_add.operations / (2 * lanes);
    ASSERT_GT(chains, 8);
    // Chain i starts from i in every lane, and x / 2 + 1/4 has its fixed point at 1/2.
    const std::int64_t start = lanes * chains * (chains - 1) / 2;
    EXPECT_EQ(loops.multiply_add.run(0), static_cast<float>(start));
    EXPECT_EQ(loops.multiply_add.run(1),
              static_cast<float>(start) / 2 + static_cast<float>(lanes * chains) / 4);
    EXPECT_NEAR(loops.multiply_add.run(1000), static_cast<float>(lanes * chains) / 2, 1e-3);
  }
}

TEST(PeakTest, EveryNumberIsRead) {
  AlignedBuffer<float> data(static_cast<std::size_t>(3 * kReadStep));
  for (std::size_t j = 0; j < data.size(); ++j) data[j] = static_cast<float>(j % 7);
  for (const auto& [loops, lanes] : all_loops()) {
    float sum = 0.0F;
    for (std::int64_t n = 0; n <= 3 * kReadStep; n += kReadStep) {
      EXPECT_EQ(loops.read(data.data(), n), sum);
      for (std::int64_t j = n; j < n + kReadStep && n < 3 * kReadStep; ++j) sum += data.data()[j];
    }
  }
}

#ifdef COFACTOR_X86
TEST(PeakTest, DotProductsOfBfloat16AddUp) {
  if (!__builtin_cpu_supports("avx512bf16")) GTEST_SKIP() << "no AVX-512 BF16 here";
  const ArithmeticLoop loop = bfloat16_dot_loop();
  const std::int64_t sums = loop.operations / 4;
  // A round adds 2 x 0.5 x 2^-10 to every sum.
  EXPECT_EQ(loop.run(1024) - loop.run(0), static_cast<float>(sums));
}
#endif

TEST(PeakTest, TheMachineIsMeasured) {
  const MachinePeak peak = measure_peak(1);
  EXPECT_GT(peak.float32, 1e6);
  EXPECT_GE(peak.bfloat16, 0.0);
  EXPECT_GT(peak.bandwidth, 1e6);
}

TEST(PeakTest, ALevelWithoutTheUnitHasNoPeakOfBfloat16) {
  const testing::ScopedEnvironment variable("COFACTOR_SIMD", "scalar");
  EXPECT_EQ(measure_peak(2).bfloat16, 0.0);
}

}  // namespace
}  // namespace cofactor::cpu
