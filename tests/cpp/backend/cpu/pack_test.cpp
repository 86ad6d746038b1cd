// Packing is exact: every stored number has one value in the compute type, rounded once for float64
// to float32.

#include "testing.h"

namespace cofactor {
namespace {

/// Value of a float16 pattern, from the definition of the format.
double value_of_f16(std::uint32_t bits) {
  const int exponent = static_cast<int>((bits >> 10) & 31);
  const double fraction = bits & 1023U;
  const double sign = (bits & 0x8000U) != 0 ? -1 : 1;
  if (exponent == 31) {
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

/// Value of a bfloat16 pattern, from the definition of the format.
double value_of_bf16(std::uint32_t bits) {
  const int exponent = static_cast<int>((bits >> 7) & 255);
  const double fraction = bits & 127U;
  const double sign = (bits & 0x8000U) != 0 ? -1 : 1;
  if (exponent == 255) {
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, -133);
  return sign * std::ldexp(128 + fraction, exponent - 134);
}

template <class T>
bool equal_or_both_nan(T actual, T expected) {
  if (std::isnan(expected)) return std::isnan(actual);
  return testing::same_bits(actual, expected);
}

class PackTest : public testing::KernelTest {
 protected:
  /// Packs `stored` in one call and compares with `expected` of every entry.
  template <class T, class Stored, class Expected>
  static void check_all(DType dtype, const std::vector<Stored>& stored, const Expected& expected) {
    const auto n = static_cast<std::int64_t>(stored.size());
    AlignedBuffer<T> packed(stored.size());
    table<T>().pack[static_cast<int>(dtype)](stored.data(), n, packed.data(), n);
    for (std::size_t i = 0; i < stored.size(); ++i) {
      const T wanted = static_cast<T>(expected(stored[i]));
      ASSERT_TRUE(equal_or_both_nan(packed[i], wanted))
          << "entry " << i << ": " << packed[i] << " instead of " << wanted;
    }
  }

  /// Every length and misalignment, with a source that ends where its last number does.
  template <class T, class Stored, class Draw>
  static void check_lengths(DType dtype, const Draw& draw) {
    for (std::int64_t n = 0; n <= 70; ++n) {
      for (const std::int64_t extra : {0, 1, 16, 33}) {
        for (const std::int64_t offset : {0, 1, 3}) {
          std::vector<Stored> stored(static_cast<std::size_t>(offset + n));
          for (Stored& value : stored) value = draw();
          const std::int64_t padded = n + extra;
          constexpr T kUntouched = -77;
          AlignedBuffer<T> packed(static_cast<std::size_t>(padded + 16));
          std::fill_n(packed.data(), packed.size(), kUntouched);
          table<T>().pack[static_cast<int>(dtype)](stored.data() + offset, n, packed.data(),
                                                   padded);
          for (std::int64_t j = 0; j < padded + 16; ++j) {
            T wanted = kUntouched;
            if (j < n) {
              wanted = static_cast<T>(stored[static_cast<std::size_t>(offset + j)]);
            } else if (j < padded) {
              wanted = 0;
            }
            ASSERT_TRUE(testing::same_bits(packed.data()[j], wanted)) << j << " of " << n;
          }
        }
      }
    }
  }
};

std::vector<std::uint16_t> all_patterns() {
  std::vector<std::uint16_t> patterns(65536);
  for (std::size_t i = 0; i < patterns.size(); ++i) patterns[i] = static_cast<std::uint16_t>(i);
  return patterns;
}

TEST_P(PackTest, EveryFloat16) {
  typed(
      [](auto zero) { check_all<decltype(zero)>(DType::kFloat16, all_patterns(), value_of_f16); });
}

TEST_P(PackTest, EveryBFloat16) {
  typed([](auto zero) {
    check_all<decltype(zero)>(DType::kBFloat16, all_patterns(), value_of_bf16);
  });
}

TEST_P(PackTest, EveryFloat16AndBFloat16AsTheEndOfARow) {
  // Ends of rows are converted one number at a time.
  typed([](auto zero) {
    using T = decltype(zero);
    for (const std::uint16_t pattern : all_patterns()) {
      T packed = 1;
      table<T>().pack[static_cast<int>(DType::kFloat16)](&pattern, 1, &packed, 1);
      ASSERT_TRUE(equal_or_both_nan(packed, static_cast<T>(value_of_f16(pattern)))) << pattern;
      table<T>().pack[static_cast<int>(DType::kBFloat16)](&pattern, 1, &packed, 1);
      ASSERT_TRUE(equal_or_both_nan(packed, static_cast<T>(value_of_bf16(pattern)))) << pattern;
    }
  });
}

TEST_P(PackTest, EveryUInt8) {
  typed([](auto zero) {
    std::vector<std::uint8_t> stored(256);
    for (std::size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<std::uint8_t>(i);
    check_all<decltype(zero)>(DType::kUInt8, stored, [](std::uint8_t q) { return q; });
  });
}

TEST_P(PackTest, FloatsOfEverySize) {
  typed([&](auto zero) {
    using T = decltype(zero);
    std::vector<float> singles;
    std::vector<double> doubles;
    for (int i = 0; i < 5000; ++i) {
      singles.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random.engine()())));
      doubles.push_back(std::bit_cast<double>(static_cast<std::uint64_t>(random.engine()())));
      // float64 patterns are mostly outside the range of float32.
      doubles.push_back(random.uniform(-1, 1) * std::ldexp(1.0, int(random.integer(-150, 129))));
    }
    check_all<T>(DType::kFloat32, singles, [](float x) { return x; });
    check_all<T>(DType::kFloat64, doubles, [](double x) { return static_cast<T>(x); });
  });
}

TEST_P(PackTest, LengthsMisalignmentAndZeroFill) {
  typed([&](auto zero) {
    using T = decltype(zero);
    check_lengths<T, std::uint8_t>(DType::kUInt8, [&] { return std::uint8_t(random.engine()()); });
    check_lengths<T, float>(DType::kFloat32, [&] { return float(random.uniform(-9, 9)); });
    check_lengths<T, double>(DType::kFloat64, [&] { return random.uniform(-9, 9); });
  });
}

TEST_P(PackTest, SixteenBitLengthsAndMisalignment) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
      for (std::int64_t n = 0; n <= 70; ++n) {
        const std::int64_t offset = random.integer(0, 5);
        std::vector<std::uint16_t> stored(static_cast<std::size_t>(offset + n));
        for (std::uint16_t& bits : stored) bits = static_cast<std::uint16_t>(random.engine()());
        const std::int64_t padded = (n + 15) / 16 * 16;
        AlignedBuffer<T> packed(static_cast<std::size_t>(padded));
        std::fill_n(packed.data(), padded, T{5});
        table<T>().pack[static_cast<int>(dtype)](stored.data() + offset, n, packed.data(), padded);
        for (std::int64_t j = 0; j < padded; ++j) {
          double wanted = 0;
          if (j < n) {
            const std::uint16_t bits = stored[static_cast<std::size_t>(offset + j)];
            wanted = dtype == DType::kFloat16 ? value_of_f16(bits) : value_of_bf16(bits);
          }
          ASSERT_TRUE(equal_or_both_nan(packed.data()[j], static_cast<T>(wanted))) << j;
        }
      }
    }
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(PackTest);

}  // namespace
}  // namespace cofactor
