#include "als/prefetcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <vector>

namespace cofactor {
namespace {

using Item = std::unique_ptr<std::int64_t>;

Item make(std::int64_t i) { return std::make_unique<std::int64_t>(i); }

TEST(PrefetcherTest, GivesEveryItemInOrder) {
  for (const int ahead : {1, 3}) {
    Prefetcher<Item> prefetcher(500, ahead, make);
    for (std::int64_t i = 0; i < 500; ++i) ASSERT_EQ(*prefetcher.take(), i);
  }
}

TEST(PrefetcherTest, StaysAFewItemsAhead) {
  std::atomic<std::int64_t> loaded{0};
  Prefetcher<Item> prefetcher(100, 2, [&](std::int64_t i) {
    ++loaded;
    return make(i);
  });
  for (std::int64_t taken = 0; taken < 98; ++taken) {
    static_cast<void>(prefetcher.take());
    // It will get that far, and it may have begun with one more by then, and with no other.
    while (loaded.load() < taken + 3) std::this_thread::yield();
    EXPECT_LE(loaded.load(), taken + 4);
  }
}

TEST(PrefetcherTest, MayBeLeftAtAnyTime) {
  for (std::int64_t taken = 0; taken < 20; ++taken) {
    Prefetcher<Item> prefetcher(20, 2, make);
    for (std::int64_t i = 0; i < taken; ++i) static_cast<void>(prefetcher.take());
  }
  const Prefetcher<Item> empty(0, 2, make);
}

TEST(PrefetcherTest, AFailureComesAfterTheItemsBefore) {
  Prefetcher<Item> prefetcher(10, 3, [](std::int64_t i) {
    if (i == 4) throw std::runtime_error("the disk is gone");
    return make(i);
  });
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(*prefetcher.take(), i);
  EXPECT_THROW(static_cast<void>(prefetcher.take()), std::runtime_error);
  EXPECT_THROW(static_cast<void>(prefetcher.take()), std::runtime_error);
}

}  // namespace
}  // namespace cofactor
