// Conversions of stored numbers.

#include "backend/cuda/group.h"

#include "testing.h"

namespace cofactor::cuda {
namespace {

class ConversionTest : public testing::RandomTest {};

TEST_F(ConversionTest, EveryFloat16SurvivesTheWayThereAndBack) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const Float16 half{static_cast<std::uint16_t>(bits)};
    const float value = to_float(half);
    if ((bits & 0x7fffU) > 0x7c00U) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_TRUE(std::isnan(to_float(from_float<Float16>(value)))) << bits;
      continue;
    }
    // The definition of the format.
    const int exponent = static_cast<int>((bits >> 10) & 31U);
    const auto fraction = static_cast<double>(bits & 0x3ffU);
    double expected = exponent == 0    ? std::ldexp(fraction, -24)
                      : exponent == 31 ? std::numeric_limits<double>::infinity()
                                       : std::ldexp(fraction + 1024, exponent - 25);
    if ((bits & 0x8000U) != 0) expected = -expected;
    ASSERT_EQ(static_cast<double>(value), expected) << bits;
    ASSERT_EQ(from_float<Float16>(value).bits, half.bits) << bits;
  }
}

TEST_F(ConversionTest, RoundsToTheNearestNumberAndTiesToEven) {
  // Neighbours of float16 and bfloat16: whatever lies between goes to the nearer one.
  const auto check = [this](auto zero, std::uint32_t infinity) {
    using E = decltype(zero);
    for (int repeat = 0; repeat < 20000; ++repeat) {
      const auto below = static_cast<std::uint16_t>(random.integer(0, infinity - 2));
      const auto above = static_cast<std::uint16_t>(below + 1);
      const float low = to_float(E{below}), high = to_float(E{above});
      const float middle = low + (high - low) / 2;
      ASSERT_EQ(from_float<E>(middle).bits, below % 2 == 0 ? below : above);
      ASSERT_EQ(from_float<E>(std::nextafter(middle, low)).bits, below);
      ASSERT_EQ(from_float<E>(std::nextafter(middle, high)).bits, above);
      ASSERT_EQ(from_float<E>(-low).bits, below | 0x8000U);
    }
  };
  check(Float16{}, 0x7c00U);
  check(BFloat16{}, 0x7f80U);
}

TEST_F(ConversionTest, WhatIsTooLargeBecomesInfinityAndNaNStays) {
  EXPECT_EQ(from_float<Float16>(65519.0F).bits, 0x7bffU);
  EXPECT_EQ(from_float<Float16>(65520.0F).bits, 0x7c00U);
  EXPECT_EQ(from_float<Float16>(-std::numeric_limits<float>::infinity()).bits, 0xfc00U);
  EXPECT_EQ(from_float<BFloat16>(std::numeric_limits<float>::max()).bits, 0x7f80U);
  for (const std::uint32_t bits : {0x7f800001U, 0x7fffffffU, 0xffffffffU, 0xff800001U}) {
    EXPECT_TRUE(std::isnan(to_float(from_float<Float16>(bits_as<float>(bits)))));
    EXPECT_TRUE(std::isnan(to_float(from_float<BFloat16>(bits_as<float>(bits)))));
  }
}

TEST_F(ConversionTest, BytesBecomeFloat16Exactly) {
  for (std::uint32_t low = 0; low < 256; ++low) {
    const std::uint32_t high = 255 - low;
    const std::uint32_t pair = float16_pair_of_bytes(low | (high << 16) | 0xab00cd00U);
    EXPECT_EQ(to_float(Float16{static_cast<std::uint16_t>(pair & 0xffffU)}), float(low));
    EXPECT_EQ(to_float(Float16{static_cast<std::uint16_t>(pair >> 16)}), float(high));
  }
}

}  // namespace
}  // namespace cofactor::cuda
