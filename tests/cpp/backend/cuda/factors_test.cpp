#include "backend/cuda/kernels/factors.h"

#include "backend/cuda/emulation/host_group.h"
#include "testing.h"

namespace cofactor::cuda {
namespace {

using emulation::run_grid;
using testing::Wide;

const std::vector<std::int64_t> kCounts{1, 255, 256, 257, 700};

class FactorKernelTest : public testing::RandomTest {
 protected:
  template <class T>
  std::vector<T> numbers(std::int64_t count, double low) {
    std::vector<T> result;
    for (std::int64_t i = 0; i < count; ++i) {
      result.push_back(static_cast<T>(random.uniform(low, 1)));
    }
    return result;
  }
};

TEST_F(FactorKernelTest, RoundsEveryNumberToBFloat16) {
  for (const std::int64_t count : kCounts) {
    std::vector<float> x = numbers<float>(count + 1, -1), expected = x;
    for (std::int64_t i = 0; i < count; ++i) {
      float& value = expected[static_cast<std::size_t>(i)];
      value = testing::rounded_to_bf16(value);
    }
    run_grid(RoundFactor{x.data(), count}, divide_up(count, std::int64_t{RoundFactor::kThreads}), 1,
             0);
    EXPECT_TRUE(testing::same_bits_of(x, expected));
  }
}

TEST_F(FactorKernelTest, AdvancesAndStaysNonNegative) {
  for (const std::int64_t count : kCounts) {
    const auto n = static_cast<std::size_t>(count);
    std::vector<double> input(n + 1, 7), previous = numbers<double>(count + 1, 0);
    const std::vector<double> solved = numbers<double>(count, 0), before = previous;
    const AdvanceFactor<double> kernel{input.data(), previous.data(), solved.data(), 0.7, count};
    run_grid(kernel, divide_up(count, std::int64_t{kernel.kThreads}), 1, 0);
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_EQ(input[i], std::max(0.0, solved[i] + 0.7 * (solved[i] - before[i])));
      EXPECT_EQ(previous[i], solved[i]);
    }
    EXPECT_EQ(input[n], 7);
    EXPECT_EQ(previous[n], before[n]);
  }
}

TEST_F(FactorKernelTest, SumsComponentsInFloat64) {
  for (const std::int64_t columns : kCounts) {
    constexpr std::int64_t kComponents = 3;
    const std::int64_t stride = columns + 5;
    const auto h = numbers<float>(kComponents * stride, 0);
    const auto s = numbers<double>(kComponents * columns, 0);
    std::vector<double> sums(2 * kComponents + 1, -1);
    const ComponentSums<float> kernel{h.data(), stride, s.data(), columns, sums.data()};
    run_grid(kernel, kComponents, 1, static_cast<std::size_t>(kernel.shared_bytes()));
    for (std::int64_t r = 0; r < kComponents; ++r) {
      Wide cross = 0, l1 = 0;
      for (std::int64_t j = 0; j < columns; ++j) {
        const Wide value = h[static_cast<std::size_t>(r * stride + j)];
        cross += value * s[static_cast<std::size_t>(r * columns + j)];
        l1 += value;
      }
      // No term is negative: the sum is the size of its terms.
      const Wide gamma = testing::gamma<double>(columns + 2);
      testing::Comparison comparison;
      comparison.check(sums[static_cast<std::size_t>(2 * r)], cross, gamma * cross, columns, r);
      comparison.check(sums[static_cast<std::size_t>(2 * r + 1)], l1, gamma * l1, columns, r);
      EXPECT_TRUE(comparison.result());
    }
    EXPECT_EQ(sums.back(), -1);
  }
}

}  // namespace
}  // namespace cofactor::cuda
