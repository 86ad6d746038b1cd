#include "core/dtype.h"

#include <gtest/gtest.h>

#include <string>

#include "core/error.h"

namespace cofactor {
namespace {

TEST(DTypeTest, ParsesEveryName) {
  EXPECT_EQ(parse_dtype("uint8"), DType::kUInt8);
  EXPECT_EQ(parse_dtype("float16"), DType::kFloat16);
  EXPECT_EQ(parse_dtype("bfloat16"), DType::kBFloat16);
  EXPECT_EQ(parse_dtype("float32"), DType::kFloat32);
  EXPECT_EQ(parse_dtype("float64"), DType::kFloat64);
}

TEST(DTypeTest, SizesAreThoseOfTheStoredNumbers) {
  EXPECT_EQ(size_of(DType::kUInt8), 1U);
  EXPECT_EQ(size_of(DType::kFloat16), 2U);
  EXPECT_EQ(size_of(DType::kBFloat16), 2U);
  EXPECT_EQ(size_of(DType::kFloat32), 4U);
  EXPECT_EQ(size_of(DType::kFloat64), 8U);
}

TEST(DTypeTest, RefusesOtherNamesAndSaysWhatIsExpected) {
  for (const std::string name : {"", "int8", "float", "Float32", "float32 ", "complex64"}) {
    try {
      static_cast<void>(parse_dtype(name));
      FAIL() << "accepted \"" << name << '"';
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kType);
      const std::string text = error.what();
      EXPECT_NE(text.find(name), std::string::npos) << text;
      EXPECT_NE(text.find("float16, bfloat16"), std::string::npos) << text;
    }
  }
}

}  // namespace
}  // namespace cofactor
