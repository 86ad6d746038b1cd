#include "core/simd_level.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "testing.h"

namespace cofactor {
namespace {

using testing::ScopedEnvironment;

TEST(SimdLevelTest, ScalarIsAlwaysThereAndLevelsAscend) {
  const auto levels = supported_levels();
  ASSERT_FALSE(levels.empty());
  EXPECT_EQ(levels.front(), Level::kScalar);
  EXPECT_TRUE(std::is_sorted(levels.begin(), levels.end()));
  EXPECT_EQ(std::adjacent_find(levels.begin(), levels.end()), levels.end());
}

TEST(SimdLevelTest, EveryLevelHasItsName) {
  EXPECT_EQ(name_of(Level::kScalar), "scalar");
  EXPECT_EQ(name_of(Level::kAvx2), "avx2");
  EXPECT_EQ(name_of(Level::kAvx512), "avx512");
  EXPECT_EQ(name_of(Level::kAvx512BF16), "avx512bf16");
  EXPECT_EQ(name_of(Level::kNeon), "neon");
}

TEST(SimdLevelTest, BFloat16IsFasterWithAUnitForItAlone) {
  for (const Level level : supported_levels()) {
    const ScopedEnvironment forced("COFACTOR_SIMD", std::string(name_of(level)).c_str());
    EXPECT_TRUE(level == Level::kAvx512BF16 || !bfloat16_is_faster()) << name_of(level);
  }
}

TEST(SimdLevelTest, ALevelComesWithTheNarrowerOnes) {
  const auto levels = supported_levels();
#ifdef COFACTOR_ARM64
  // Part of the architecture, and the only one beside scalar.
  EXPECT_EQ(levels, (std::vector<Level>{Level::kScalar, Level::kNeon}));
#else
  for (std::size_t i = 0; i < levels.size(); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(levels[i]), i);
  }
#endif
}

TEST(SimdLevelTest, TheWidestIsTheDefault) {
  for (const char* value : {static_cast<const char*>(nullptr), ""}) {
    const ScopedEnvironment variable("COFACTOR_SIMD", value);
    EXPECT_EQ(active_level(), supported_levels().back());
  }
}

TEST(SimdLevelTest, TheVariableForcesEverySupportedLevel) {
  for (const Level level : supported_levels()) {
    const std::string name(name_of(level));
    const ScopedEnvironment variable("COFACTOR_SIMD", name.c_str());
    EXPECT_EQ(active_level(), level);
  }
}

TEST(SimdLevelTest, TheVariableRefusesWhatIsUnknownOrUnsupported) {
  const auto levels = supported_levels();
  std::vector<std::string> names{"sse9", "AVX2", "avx2,avx512", " scalar"};
  for (const Level level : {Level::kAvx2, Level::kAvx512, Level::kAvx512BF16, Level::kNeon}) {
    if (std::find(levels.begin(), levels.end(), level) == levels.end()) {
      names.emplace_back(name_of(level));
    }
  }
  for (const std::string& name : names) {
    const ScopedEnvironment variable("COFACTOR_SIMD", name.c_str());
    try {
      static_cast<void>(active_level());
      FAIL() << "accepted " << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kValue);
      const std::string text = error.what();
      EXPECT_NE(text.find("COFACTOR_SIMD=" + name), std::string::npos) << text;
      for (const Level level : levels) {
        EXPECT_NE(text.find(name_of(level)), std::string::npos) << text;
      }
    }
  }
}

TEST(SimdLevelTest, EveryTableIsFull) {
  for (const Level level : supported_levels()) {
    SCOPED_TRACE(name_of(level));
    const auto check_products = [&](const auto& products) {
      EXPECT_GT(products.factor_size, 0);
      EXPECT_NE(products.pack_factor, nullptr);
      for (const auto project : products.project) EXPECT_NE(project, nullptr);
      for (const auto accumulate : products.accumulate) EXPECT_NE(accumulate, nullptr);
    };
    const auto check = [&](const auto& table) {
      for (const auto pack : table.pack) EXPECT_NE(pack, nullptr);
      check_products(table.exact);
      EXPECT_EQ(table.exact.round, nullptr);
      EXPECT_NE(table.residual, nullptr);
      EXPECT_NE(table.nnls, nullptr);
      EXPECT_NE(table.stats, nullptr);
    };
    check(cpu::kernels<float>(level));
    check(cpu::kernels<double>(level));
    check_products(cpu::kernels<float>(level).rounded);
    EXPECT_NE(cpu::kernels<float>(level).rounded.round, nullptr);
    // Only float32 problems have them.
    EXPECT_EQ(cpu::kernels<double>(level).rounded.factor_size, 0);
  }
}

}  // namespace
}  // namespace cofactor
