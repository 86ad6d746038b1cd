// The first product, and how factors are rounded and packed for it.

#include "backend/cpu/products.h"
#include "backend/cpu/tiling.h"

namespace cofactor {
namespace {

using testing::FactorNumbers;
using testing::ProductSize;
using testing::StoredNumbers;
using testing::Wide;

/// Zero-filled components of `ld` numbers each, packed; what lies beyond is NaN.
template <class T>
AlignedBuffer<std::byte> packed(const cpu::Products<T>& products, const FactorNumbers<T>& h, int k,
                                std::int64_t columns) {
  const std::int64_t n = cpu::round_up(columns, cpu::kColumnAlign);
  const std::int64_t component_bytes = cpu::kProjectColumns * products.factor_size;
  auto result = testing::buffer_of_nan<std::byte>(static_cast<std::size_t>(k * component_bytes));
  AlignedBuffer<T> component(static_cast<std::size_t>(n));
  for (int r = 0; r < k; ++r) {
    std::copy_n(h.from(r), columns, component.data());
    products.pack_factor(component.data(), n, result.data() + r * component_bytes);
  }
  return result;
}

/// Quiet and signalling, and those whose bits would carry into the sign.
constexpr std::uint32_t kNanPatterns[] = {0x7fc00000, 0xffc00000, 0x7fffffff, 0xffffffff,
                                          0x7f800001, 0xff800001, 0x7fff8000};

class ProjectTest : public testing::ProductTest {
 protected:
  /// Every lane takes a product per `lanes` columns, rounded apart from its sum at the scalar level
  /// alone, then the lanes are added pairwise, scaled, and added to b.
  template <class T>
  static Wide bound(std::int64_t columns) {
    const int lanes = ProjectTest::lanes<T>();
    int levels = 0;
    while ((1 << levels) < lanes) ++levels;
    // Columns are zero-filled to two vectors at most.
    return testing::gamma<T>(cpu::round_up(columns, 2 * lanes) / lanes + levels + 1 + 2);
  }
};

TEST_P(ProjectTest, AddsTheScaledDotProducts) {
  each([&](auto zero, const auto& products, bool rounded, DType dtype) {
    using T = decltype(zero);
    for (const ProductSize& size : testing::product_sizes(random)) {
      const auto [rows, k, columns] = size;
      const StoredNumbers stored(random, dtype, rows, columns);
      const FactorNumbers<T> h(random, k, columns, 0, rounded);
      const FactorNumbers<T> start(random, static_cast<int>(rows), k, random.integer(0, 5), false);
      FactorNumbers<T> b = start;
      const T scale = static_cast<T>(random.uniform(0.01, 3));
      products.project[static_cast<int>(dtype)](stored.from(0), static_cast<int>(rows),
                                                packed(products, h, k, columns).data(), k, columns,
                                                scale, b.values.data(), b.ld, scratch(k).data());

      const testing::Matrix x = stored.operands<T>(rounded);
      const Wide gamma = bound<T>(columns);
      testing::Comparison comparison;
      for (std::int64_t i = 0; i < rows; ++i) {
        for (int r = 0; r < k; ++r) {
          testing::Precise<T> sum = 0, magnitude = 0;
          for (std::int64_t j = 0; j < columns; ++j) {
            const auto term = testing::Precise<T>{x(i, j)} * h(r, j);
            sum += term;
            magnitude += std::abs(term);
          }
          comparison.check(b(i, r), start(i, r) + scale * sum,
                           gamma * (std::abs(start(i, r)) + scale * magnitude), "row", i,
                           "component", r);
        }
        for (std::int64_t r = k; r < b.ld && i + 1 < rows; ++r) {
          EXPECT_TRUE(std::isnan(b(i, r))) << "written beyond the components";
        }
      }
      ASSERT_TRUE(comparison.result()) << size;
    }
  });
}

TEST_P(ProjectTest, WholeNumbersAreExactForEveryNumberOfRows) {
  each([&](auto zero, const auto& products, bool rounded, DType dtype) {
    using T = decltype(zero);
    for (int rows = 1; rows <= 33; ++rows) {
      const int k = static_cast<int>(random.integer(1, 33));
      const std::int64_t columns = random.integer(1, 48);
      testing::Matrix x(rows, columns);
      for (double& value : x.values) value = static_cast<double>(random.integer(0, 9));
      const testing::StoredView stored(x, dtype, 1.0);
      FactorNumbers<T> h(random, k, columns, 0, rounded);
      for (T& value : h.values) value = static_cast<T>(random.integer(0, 9));
      std::vector<T> b(static_cast<std::size_t>(rows * k));
      const auto size = static_cast<std::int64_t>(size_of(dtype));
      products.project[static_cast<int>(dtype)](
          {static_cast<const char*>(stored.view().data), columns * size}, rows,
          packed(products, h, k, columns).data(), k, columns, T{1}, b.data(), k, scratch(k).data());
      for (int i = 0; i < rows; ++i) {
        for (int r = 0; r < k; ++r) {
          double sum = 0;
          for (std::int64_t j = 0; j < columns; ++j) sum += x(i, j) * double{h(r, j)};
          ASSERT_EQ(b[static_cast<std::size_t>(i * k + r)], sum) << i << ' ' << r;
        }
      }
    }
  });
}

TEST_P(ProjectTest, BitsDependNeitherOnOtherRowsNorOnOtherComponents) {
  each([&](auto zero, const auto& products, bool rounded, DType dtype) {
    using T = decltype(zero);
    const auto project = products.project[static_cast<int>(dtype)];
    for (int repeat = 0; repeat < 4; ++repeat) {
      const int rows = static_cast<int>(random.integer(1, 20));
      const int k = static_cast<int>(random.integer(1, 20));
      const std::int64_t columns = random.integer(1, cpu::kProjectColumns);
      const StoredNumbers stored(random, dtype, rows, columns);
      const FactorNumbers<T> h(random, k, columns, 0, rounded);
      const AlignedBuffer<std::byte> factor = packed(products, h, k, columns);
      const T scale = static_cast<T>(random.uniform(0.1, 2));
      std::vector<T> together(static_cast<std::size_t>(rows * k)), alone(together.size());
      project(stored.from(0), rows, factor.data(), k, columns, scale, together.data(), k,
              scratch(k).data());
      for (int i = 0; i < rows; ++i) {
        for (int r = 0; r < k; ++r) {
          project(stored.from(i), 1,
                  factor.data() + r * cpu::kProjectColumns * products.factor_size, 1, columns,
                  scale, alone.data() + i * k + r, k, scratch(1).data());
        }
      }
      ASSERT_TRUE(testing::same_bits_of(together, alone)) << ProductSize{rows, k, columns};
    }
  });
}

TEST_P(ProjectTest, NanOfAnyPatternReachesItsRowAndNoOther) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const bool rounded : {false, true}) {
      if (rounded && sizeof(T) == 8) continue;
      const cpu::Products<T>& products = rounded ? table<T>().rounded : table<T>().exact;
      for (const std::uint32_t pattern : kNanPatterns) {
        const int rows = static_cast<int>(random.integer(1, 13)), k = 3;
        const std::int64_t columns = random.integer(1, 70);
        std::vector<float> x(static_cast<std::size_t>(rows * columns), 1.0F);
        const std::int64_t bad = random.integer(0, rows - 1);
        x[static_cast<std::size_t>(bad * columns + random.integer(0, columns - 1))] =
            std::bit_cast<float>(pattern);
        const FactorNumbers<T> h(random, k, columns, 0, rounded);
        std::vector<T> b(static_cast<std::size_t>(rows * k));
        products.project[static_cast<int>(DType::kFloat32)](
            {reinterpret_cast<const char*>(x.data()), columns * 4}, rows,
            packed(products, h, k, columns).data(), k, columns, T{1}, b.data(), k,
            scratch(k).data());
        for (int i = 0; i < rows; ++i) {
          for (int r = 0; r < k; ++r) {
            ASSERT_EQ(std::isnan(b[static_cast<std::size_t>(i * k + r)]), i == bad)
                << std::hex << pattern;
          }
        }
      }
    }
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(ProjectTest);

class RoundTest : public testing::KernelTest {
 protected:
  /// Random normal numbers of every size, ties, and their neighbours.
  std::vector<float> numbers() {
    std::vector<float> result{0.0F, -0.0F, 1.0F, std::numeric_limits<float>::infinity()};
    for (int i = 0; i < 2000; ++i) {
      const double size = std::ldexp(1.0, static_cast<int>(random.integer(-120, 126)));
      result.push_back(static_cast<float>(random.uniform(0.5, 1) * size));
      const auto even_or_odd = static_cast<std::uint32_t>(random.integer(0x0080, 0x7f7e));
      const float tie = std::bit_cast<float>((even_or_odd << 16) | 0x8000U);
      for (const float number : {tie, std::nextafter(tie, 0.0F),
                                 std::nextafter(tie, std::numeric_limits<float>::infinity())}) {
        result.push_back(random.chance(0.5) ? number : -number);
      }
    }
    return result;
  }
};

TEST_P(RoundTest, RoundsToTheNearestAndTiesToEven) {
  if (GetParam().float64) return;
  std::vector<float> rounded = numbers();
  const std::vector<float> from = rounded;
  table<float>().rounded.round(rounded.data(), static_cast<std::int64_t>(rounded.size()));
  for (std::size_t i = 0; i < from.size(); ++i) {
    ASSERT_TRUE(testing::same_bits(rounded[i], testing::rounded_to_bf16(from[i])))
        << from[i] << " became " << rounded[i];
  }
}

TEST_P(RoundTest, NanStaysNan) {
  if (GetParam().float64) return;
  for (const std::uint32_t pattern : kNanPatterns) {
    float x = std::bit_cast<float>(pattern);
    table<float>().rounded.round(&x, 1);
    EXPECT_TRUE(std::isnan(x)) << std::hex << pattern << " became " << x;
  }
}

TEST_P(RoundTest, PackingKeepsRoundedNumbers) {
  if (GetParam().float64) return;
  const cpu::Products<float>& products = table<float>().rounded;
  std::vector<float> all = numbers();
  products.round(all.data(), static_cast<std::int64_t>(all.size()));
  for (const std::int64_t n : {16, 32, 48, 512}) {
    AlignedBuffer<float> from(static_cast<std::size_t>(n));
    for (std::int64_t j = 0; j < n; ++j) from.data()[j] = random.pick(all);
    AlignedBuffer<std::byte> to(static_cast<std::size_t>(n + 16) * sizeof(float));
    products.pack_factor(from.data(), n, to.data());
    for (std::int64_t j = 0; j < n; ++j) {
      float number = 0;
      if (products.factor_size == 2) {
        std::uint16_t bits = 0;
        std::memcpy(&bits, to.data() + j * 2, sizeof(bits));
        number = std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
      } else {
        std::memcpy(&number, to.data() + j * 4, sizeof(number));
      }
      ASSERT_TRUE(testing::same_bits(number, from.data()[j])) << j << " of " << n;
    }
  }
}

COFACTOR_INSTANTIATE_KERNEL_TEST(RoundTest);

}  // namespace
}  // namespace cofactor
