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
  for (const Level level : {Level::kAvx2, Level::kAvx512}) {
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
    const auto check = [&](const auto& table, int lanes) {
      EXPECT_EQ(table.lanes, lanes) << name_of(level);
      EXPECT_EQ(cpu::kColumnAlign % table.lanes, 0);
      for (const auto pack : table.pack) EXPECT_NE(pack, nullptr);
      EXPECT_NE(table.project, nullptr);
      EXPECT_NE(table.project_sum, nullptr);
      EXPECT_NE(table.accumulate, nullptr);
      EXPECT_NE(table.residual, nullptr);
      EXPECT_NE(table.nnls, nullptr);
      EXPECT_NE(table.stats, nullptr);
    };
    const int lanes = level == Level::kScalar ? 1 : level == Level::kAvx2 ? 8 : 16;
    check(cpu::kernels<float>(level), lanes);
    check(cpu::kernels<double>(level), level == Level::kScalar ? 1 : lanes / 2);
  }
}

}  // namespace
}  // namespace cofactor
