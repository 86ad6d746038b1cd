#include "backend/cpu/tiling.h"

#include "testing.h"

namespace cofactor {
namespace {

class TilingTest : public testing::RandomTest {
 protected:
  CacheSizes random_cache() {
    CacheSizes cache;
    cache.l2 = std::int64_t{1} << random.integer(15, 24);
    cache.last = cache.l2 << random.integer(0, 6);
    return cache;
  }
};

TEST_F(TilingTest, DivisionsRoundUp) {
  EXPECT_EQ(cpu::round_up(0, 16), 0);
  EXPECT_EQ(cpu::round_up(1, 16), 16);
  EXPECT_EQ(cpu::round_up(16, 16), 16);
  EXPECT_EQ(cpu::round_up(17, 16), 32);
  EXPECT_EQ(cpu::divide_up(0, 7), 0);
  EXPECT_EQ(cpu::divide_up(7, 7), 1);
  EXPECT_EQ(cpu::divide_up(8, 7), 2);
}

TEST_F(TilingTest, TilesOfRowsSuitTheKernelsTheThreadsAndTheCache) {
  for (int repeat = 0; repeat < 5000; ++repeat) {
    const std::int64_t rows = random.integer(0, std::int64_t{1} << random.integer(0, 40));
    const std::int64_t row_bytes = random.integer(0, std::int64_t{1} << random.integer(0, 30));
    const int threads = static_cast<int>(random.integer(1, 128));
    const int rank = static_cast<int>(random.integer(1, 512));
    const CacheSizes cache = random_cache();
    const auto [tile, group] = cpu::row_tiling(rows, row_bytes, rank, threads, cache);
    const int solving = (threads + 1) / 2;
    // Whole tiles of the first product, which are 4 or 6 rows.
    ASSERT_EQ(tile % 12, 0);
    ASSERT_GE(tile, 12);
    const std::int64_t tallest = rank < 64 ? 96 : 192;
    ASSERT_LE(tile, tallest);
    // Small ones only where there would be too few for the threads, or too much for the cache.
    ASSERT_TRUE(tile == 12 || rows >= 4 * threads * tile);
    const bool too_few = rows < 4 * threads * 2 * tile;
    const bool too_much = rank < 64 && tile == 48 &&
                          96 * solving * std::max<std::int64_t>(row_bytes, 1) > cache.last / 8;
    ASSERT_TRUE(tile == tallest || too_few || too_much);
    ASSERT_EQ(group % tile, 0);
    ASSERT_GE(group, solving * tile);
    ASSERT_LE(group, std::max(16, solving) * tile);
    const std::int64_t least = std::max(rank < 64 ? 1 : 8, solving) * tile;
    ASSERT_TRUE(group == least || group * row_bytes <= cache.last / 8);
  }
}

TEST_F(TilingTest, BlocksOfComponentsFitTheCacheInWholeTiles) {
  for (int repeat = 0; repeat < 1000; ++repeat) {
    const std::int64_t number_bytes = random.pick(std::vector<std::int64_t>{2, 4, 8});
    const CacheSizes cache = random_cache();
    const int block = cpu::rank_block(number_bytes, cache);
    // The tiles of the first product are 2, 3 or 4 components.
    ASSERT_EQ(block % 12, 0);
    ASSERT_GE(block, 24);
    ASSERT_TRUE(block == 24 || block * cpu::kProjectColumns * number_bytes <= cache.l2 / 2);
  }
}

}  // namespace
}  // namespace cofactor
