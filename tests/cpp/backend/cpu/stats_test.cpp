#include "testing.h"

namespace cofactor {
namespace {

class StatsTest : public testing::KernelTest {
 protected:
  /// An aligned copy that is zero-filled to a whole number of vectors, as packed rows are.
  template <class T>
  static cpu::RowStats stats_of(const std::vector<T>& values) {
    AlignedBuffer<T> packed((values.size() + 15) / 16 * 16 + 16);
    std::copy(values.begin(), values.end(), packed.data());
    return table<T>().stats(packed.data(), static_cast<std::int64_t>(values.size()));
  }

  /// Squares add up in float64 or in one sum a lane of T: n / lanes terms, then the lanes, then the
  /// rest of the row, each square rounded once.
  template <class T>
  static testing::Wide bound(std::int64_t n, testing::Wide sum) {
    const int lanes = StatsTest::lanes<T>();
    return testing::gamma<T>(n / lanes + lanes + 2) * sum + testing::gamma<double>(n + 2) * sum;
  }

  template <class T>
  static void check(const std::vector<T>& values) {
    testing::Wide sum = 0;
    double minimum = std::numeric_limits<double>::infinity();
    std::int64_t nonfinite = 0;
    for (const T value : values) {
      sum += testing::Wide{value} * value;
      if (value < minimum) minimum = value;
      nonfinite += std::isfinite(value) ? 0 : 1;
    }
    const cpu::RowStats stats = stats_of(values);
    EXPECT_EQ(stats.nonfinite, nonfinite);
    if (nonfinite == 0) {
      EXPECT_EQ(stats.minimum, minimum);
      testing::Comparison comparison;
      comparison.check(stats.sum_of_squares, sum,
                       bound<T>(static_cast<std::int64_t>(values.size()), sum), values.size());
      EXPECT_TRUE(comparison.result());
    }
  }
};

TEST_P(StatsTest, FiniteNumbersOfEveryLength) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (std::size_t n = 0; n <= 260; ++n) {
      std::vector<T> values(n), positive(n);
      for (std::size_t i = 0; i < n; ++i) {
        values[i] = static_cast<T>(random.uniform(-3, 3));
        positive[i] = static_cast<T>(random.uniform(0.5, 3));
      }
      check(values);
      check(positive);
    }
  });
}

TEST_P(StatsTest, FindsTheMinimumAnywhere) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const std::size_t n : {1, 3, 7, 8, 9, 16, 17, 33, 64, 65}) {
      for (std::size_t at = 0; at < n; ++at) {
        std::vector<T> values(n, T{2});
        values[at] = T{-5};
        EXPECT_EQ(stats_of(values).minimum, -5) << at << " of " << n;
        values[at] = T{1};
        EXPECT_EQ(stats_of(values).minimum, 1) << at << " of " << n;
      }
    }
  });
}

TEST_P(StatsTest, CountsNanAndInfinityAnywhere) {
  typed([&](auto zero) {
    using T = decltype(zero);
    using Limits = std::numeric_limits<T>;
    for (const std::size_t n : {1, 5, 8, 9, 16, 31, 32, 33, 64, 65, 257}) {
      for (int repeat = 0; repeat < 20; ++repeat) {
        std::vector<T> values(n);
        for (T& value : values) {
          value = static_cast<T>(random.uniform(-1, 1));
          if (random.chance(0.1)) value = Limits::quiet_NaN();
          if (random.chance(0.1))
            value = random.chance(0.5) ? Limits::infinity() : -Limits::infinity();
        }
        check(values);
      }
    }
  });
}

TEST_P(StatsTest, NegativeNumbersAreSeenBesideNan) {
  // Callers refuse negative data by the minimum and bad data by the count: neither may hide the
  // other.
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const std::size_t n : {2, 9, 16, 33}) {
      for (std::size_t at = 0; at < n; ++at) {
        std::vector<T> values(n, T{1});
        values[(at + 1) % n] = T{-4};
        values[at] = std::numeric_limits<T>::quiet_NaN();
        const cpu::RowStats stats = stats_of(values);
        EXPECT_EQ(stats.nonfinite, 1);
        EXPECT_EQ(stats.minimum, -4) << "NaN at " << at << " of " << n;
      }
    }
  });
}

TEST_P(StatsTest, SquaresThatOverflowTheComputeType) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const std::size_t n : {1, 7, 16, 40}) {
      const std::vector<T> values(n, T{1e30F});
      const cpu::RowStats stats = stats_of(values);
      EXPECT_EQ(stats.nonfinite, 0);
      EXPECT_EQ(stats.minimum, static_cast<double>(T{1e30F}));
      const testing::Wide one = testing::Wide{T{1e30F}} * T{1e30F};
      testing::Comparison comparison;
      comparison.check(stats.sum_of_squares, one * static_cast<testing::Wide>(n),
                       bound<T>(static_cast<std::int64_t>(n), one * static_cast<testing::Wide>(n)));
      EXPECT_TRUE(comparison.result());
    }
  });
}

TEST_P(StatsTest, SquaresThatUnderflowTheComputeType) {
  // The sum of squares is what losses are relative to: it must not vanish where numbers do not.
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const std::size_t n : {3, 16, 40}) {
      const std::vector<T> values(n, T{1e-25F});
      const testing::Wide sum =
          testing::Wide{T{1e-25F}} * T{1e-25F} * static_cast<testing::Wide>(n);
      testing::Comparison comparison;
      comparison.check(stats_of(values).sum_of_squares, sum,
                       bound<T>(static_cast<std::int64_t>(n), sum), n);
      EXPECT_TRUE(comparison.result());
    }
  });
}

TEST_P(StatsTest, ZerosAreNotNegative) {
  typed([](auto zero) {
    using T = decltype(zero);
    for (const std::size_t n : {0, 1, 16, 17}) {
      const cpu::RowStats stats = stats_of(std::vector<T>(n));
      EXPECT_EQ(stats.sum_of_squares, 0);
      EXPECT_EQ(stats.minimum, n > 0 ? 0 : std::numeric_limits<double>::infinity());
      EXPECT_EQ(stats.nonfinite, 0);
    }
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(StatsTest);

}  // namespace
}  // namespace cofactor
