#pragma once

// What the tests share: seeded random data, rounding bounds, and kernels at a forced level.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "backend/cpu/dispatch.h"
#include "core/aligned_buffer.h"
#include "core/simd_level.h"

namespace cofactor::testing {

/// References are summed in this type, so that their own rounding is far below float64's.
using Wide = long double;

/// Unit roundoff of T.
template <class T>
constexpr Wide kUnit = Wide{std::numeric_limits<T>::epsilon()} / 2;

/// gamma_n = n u / (1 - n u): n roundings in a row change a sum by at most gamma_n times the sum of
/// the magnitudes of its terms, in whatever order they are added (Higham, Accuracy and Stability of
/// Numerical Algorithms, section 3.1). A fused multiply-add rounds once, so it is covered too.
template <class T>
Wide gamma(std::int64_t n) {
  const Wide nu = static_cast<Wide>(n) * kUnit<T>;
  return nu / (1 - nu);
}

/// New data every run; COFACTOR_TEST_SEED repeats one.
inline std::uint64_t test_seed() {
  static const std::uint64_t seed = [] {
    const char* text = std::getenv("COFACTOR_TEST_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device{}();
  }();
  return seed;
}

class Random {
 public:
  double uniform(double low, double high);
  std::int64_t integer(std::int64_t low, std::int64_t high);
  bool chance(double probability);
  template <class T>
  const T& pick(const std::vector<T>& values) {
    return values[static_cast<std::size_t>(
        integer(0, static_cast<std::int64_t>(values.size()) - 1))];
  }
  std::mt19937_64& engine() { return engine_; }

 private:
  std::mt19937_64 engine_{test_seed()};
};

/// A test on random data, which says how to repeat itself when it fails.
class RandomTest : public ::testing::Test {
 protected:
  void TearDown() override {
    if (HasFailure()) std::printf("repeat with COFACTOR_TEST_SEED=%llu\n", seed());
  }
  static unsigned long long seed() { return test_seed(); }
  Random random;
};

/// A kernel table to test: one instruction-set level and one compute type.
struct Target {
  Level level;
  bool float64;
};

inline std::vector<Target> targets() {
  std::vector<Target> result;
  for (const Level level : supported_levels()) {
    result.push_back({level, false});
    result.push_back({level, true});
  }
  return result;
}

inline std::string name_of_target(const ::testing::TestParamInfo<Target>& info) {
  return std::string(name_of(info.param.level)) + (info.param.float64 ? "_float64" : "_float32");
}

inline std::string name_of_type(const ::testing::TestParamInfo<bool>& info) {
  return info.param ? "float64" : "float32";
}

/// Numbers of T in a vector of a level.
template <class T>
int lanes_of(Level level) {
  if (level == Level::kScalar) return 1;
  const int bytes = level == Level::kNeon ? 16 : level == Level::kAvx2 ? 32 : 64;
  return bytes / static_cast<int>(sizeof(T));
}

/// To the nearest of the numbers with 8 significant bits, ties to even. Not for numbers below
/// bfloat16's normal ones.
inline float rounded_to_bf16(float x) {
  int exponent = 0;
  const float fraction = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8);
}

/// Base of the tests of one kernel; `each(body)` calls body(T{}) with the target's compute type.
class KernelTest : public RandomTest, public ::testing::WithParamInterface<Target> {
 protected:
  template <class Body>
  static void typed(const Body& body) {
    if (GetParam().float64) {
      body(double{});
    } else {
      body(float{});
    }
  }
  template <class T>
  static const cpu::Kernels<T>& table() {
    return cpu::kernels<T>(GetParam().level);
  }
  template <class T>
  static int lanes() {
    return lanes_of<T>(GetParam().level);
  }
};

#define COFACTOR_INSTANTIATE_KERNEL_TEST(suite)                                    \
  INSTANTIATE_TEST_SUITE_P(Levels, suite, ::testing::ValuesIn(testing::targets()), \
                           testing::name_of_target)

/// Sizes around every vector length and tile size.
inline const std::vector<int> kRanks{1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 20, 31, 33, 64};
inline const std::vector<std::int64_t> kColumns{1,  3,  7,  8,  9,  15,  16,  17,
                                                31, 33, 63, 64, 65, 255, 256, 257};

/// Collects comparisons and keeps the first that breaks its bound: one line and not thousands.
class Comparison {
 public:
  template <class... Where>
  void check(Wide actual, Wide expected, Wide bound, const Where&... where) {
    // Written so that NaN fails.
    if (std::abs(actual - expected) <= bound || actual == expected || !first_.empty()) return;
    std::ostringstream text;
    text.precision(17);
    text << actual << " instead of " << expected << ", off by " << std::abs(actual - expected)
         << " where " << bound << " is allowed, at";
    ((text << ' ' << where), ...);
    first_ = text.str();
  }
  [[nodiscard]] ::testing::AssertionResult result() const {
    if (first_.empty()) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << first_;
  }

 private:
  std::string first_;
};

template <class T>
bool same_bits(const T& a, const T& b) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

template <class A, class B>
bool same_bits_of(const A& a, const B& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return same_bits(x, y); });
}

/// Sets or clears (nullptr) an environment variable for one scope.
class ScopedEnvironment {
 public:
  ScopedEnvironment(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    set(value);
  }
  ~ScopedEnvironment() { set(old_ ? old_->c_str() : nullptr); }
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

 private:
  void set(const char* value) const {
    if (value != nullptr) {
      ::setenv(name_, value, 1);
    } else {
      ::unsetenv(name_);
    }
  }
  const char* name_;
  std::optional<std::string> old_;
};

}  // namespace cofactor::testing
