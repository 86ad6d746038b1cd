#include "core/aligned_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <new>
#include <utility>

namespace cofactor {
namespace {

TEST(AlignedBufferTest, IsAlignedAndZeroFilled) {
  for (std::size_t size = 1; size < 100; ++size) {
    const AlignedBuffer<double> buffer(size);
    EXPECT_EQ(buffer.size(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
    EXPECT_TRUE(std::all_of(buffer.data(), buffer.data() + size, [](double x) { return x == 0; }));
  }
}

TEST(AlignedBufferTest, MayBeEmpty) {
  const AlignedBuffer<float> none;
  const AlignedBuffer<float> zero(0);
  EXPECT_EQ(none.size(), 0U);
  EXPECT_EQ(zero.size(), 0U);
  EXPECT_EQ(zero.data(), nullptr);
}

TEST(AlignedBufferTest, MovesItsMemory) {
  AlignedBuffer<int> from(3);
  from[2] = 7;
  const int* const memory = from.data();
  const AlignedBuffer<int> to = std::move(from);
  EXPECT_EQ(to.data(), memory);
  EXPECT_EQ(to[2], 7);
}

TEST(AlignedBufferTest, RefusesASizeWhoseBytesOverflow) {
  // Rounded up or multiplied, each of these wraps round to a few bytes.
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  for (const std::size_t size : {kMost, kMost / 8 + 2, kMost / 8}) {
    EXPECT_THROW(AlignedBuffer<double>{size}, std::bad_alloc) << size;
  }
}

}  // namespace
}  // namespace cofactor
