#include "backend/cuda/chunk_choice.h"

#include <gtest/gtest.h>

#include <map>

namespace cofactor::cuda {
namespace {

/// One pass over so many panels, each size at its own speed.
void pass(ChunkChoice& choice, std::int64_t panels, const std::map<std::int64_t, double>& speed) {
  while (panels > 0) {
    const std::int64_t size = choice.next(panels);
    if (size > panels) break;
    choice.add(size, static_cast<double>(size) * speed.at(size));
    panels -= size;
  }
  choice.decide();
}

TEST(ChunkChoiceTest, ALongPassTakesTheFastestSize) {
  for (const std::int64_t best : {2, 4, 8}) {
    std::map<std::int64_t, double> speed{{2, 2.0}, {4, 2.0}, {8, 2.0}};
    speed[best] = 1.0;
    ChunkChoice choice(2, 16, 1000);
    EXPECT_EQ(choice.largest(), 8);
    EXPECT_TRUE(choice.measures());
    pass(choice, 1000, speed);
    EXPECT_FALSE(choice.measures());
    EXPECT_EQ(choice.next(1000), best);
  }
}

TEST(ChunkChoiceTest, WhatAPassLacksTheNextOneMeasures) {
  ChunkChoice choice(1, 16, 1000);
  pass(choice, 10, {{1, 3.0}, {2, 2.0}, {4, 1.0}});
  EXPECT_TRUE(choice.measures());
  pass(choice, 100, {{1, 3.0}, {2, 2.0}, {4, 1.0}});
  EXPECT_EQ(choice.next(1000), 4);
}

TEST(ChunkChoiceTest, ShortPassesMeasureTogether) {
  // As many panels as 10,000 examples have.
  ChunkChoice choice(0, 16, 20);
  int passes = 0;
  while (choice.measures()) {
    pass(choice, 20, {{1, 3.0}, {2, 1.0}, {4, 2.0}});
    ++passes;
  }
  EXPECT_LE(passes, 6);
  EXPECT_EQ(choice.next(1000), 2);
}

TEST(ChunkChoiceTest, EveryPassEndsTheMeasurementInTime) {
  for (std::int64_t cached = 0; cached <= 16; ++cached) {
    for (std::int64_t panels = 1; panels <= 64; ++panels) {
      ChunkChoice choice(cached, 16, panels);
      std::map<std::int64_t, double> speed;
      for (std::int64_t size = 1; size <= 64; ++size) speed[size] = 1.0;
      int passes = 0;
      for (; choice.measures() && passes < 20; ++passes) pass(choice, panels, speed);
      EXPECT_LE(passes, 15) << cached << " of " << panels;
      EXPECT_LE(choice.next(panels), panels);
    }
  }
}

TEST(ChunkChoiceTest, NoChunkIsLongerThanThePass) {
  EXPECT_EQ(ChunkChoice(1, 16, 3).largest(), 2);
  EXPECT_EQ(ChunkChoice(8, 16, 3).next(3), 3);
  EXPECT_FALSE(ChunkChoice(8, 16, 3).measures());
  EXPECT_EQ(ChunkChoice(8, 16, 0).largest(), 16);
}

TEST(ChunkChoiceTest, MemoryIsALimitAndOnePanelTheLeast) {
  EXPECT_EQ(ChunkChoice(8, 4, 10000).largest(), 4);
  EXPECT_EQ(ChunkChoice(0, 1, 10).largest(), 1);
  EXPECT_EQ(ChunkChoice(2, 6, 10000).largest(), 4);
}

}  // namespace
}  // namespace cofactor::cuda
