#include "als/file_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "temporary_file.h"
#include "testing.h"

namespace cofactor {
namespace {

using Lengths = std::vector<std::int64_t>;
using testing::TemporaryFile;

/// A view in files, its rows numbered from 0 with the row number in every column.
struct NumberedFiles {
  NumberedFiles(std::int64_t columns, const Lengths& lengths, std::size_t lead = 64) {
    view.columns = columns;
    float row = 0;
    for (const std::int64_t rows : lengths) {
      std::vector<float> values;
      for (std::int64_t i = 0; i < rows; ++i, ++row) {
        values.insert(values.end(), static_cast<std::size_t>(columns), row);
      }
      files.emplace_back(values, lead);
      view.files.push_back({files.back().path(), static_cast<std::int64_t>(lead), rows});
    }
  }
  FileView view;
  std::vector<TemporaryFile> files;
};

/// Reads everything from a row on, checks it against all rows that are expected, and returns the
/// lengths of the blocks.
Lengths read(BlockSource& source, std::size_t views, const Lengths& expected,
             std::int64_t row = 0) {
  Lengths lengths;
  Block block;
  while (source.next(block)) {
    EXPECT_EQ(block.first_row, row);
    EXPECT_GT(block.rows, 0);
    EXPECT_EQ(block.views.size(), views);
    for (const MatrixView& view : block.views) {
      EXPECT_EQ(view.rows, block.rows);
      for (std::int64_t i = 0; i < view.rows; ++i) {
        for (std::int64_t j = 0; j < view.columns; ++j) {
          EXPECT_EQ(static_cast<const float*>(view.row(i))[j],
                    static_cast<float>(expected.at(static_cast<std::size_t>(row + i))));
        }
      }
    }
    lengths.push_back(block.rows);
    row += block.rows;
  }
  EXPECT_EQ(row, source.rows());
  return lengths;
}

Lengths upto(std::int64_t rows) {
  Lengths all(static_cast<std::size_t>(rows));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

TEST(FileSourceTest, ReadsTheSameEveryPassWhateverIsKept) {
  const NumberedFiles a(3, {8, 8, 4}), b(700, {20}), c(1, {0, 16, 4});
  for (const std::int64_t kept : {0, 3000, 20000, 1 << 30}) {
    FileSource source({a.view, b.view, c.view}, {.block_rows = 5, .kept_bytes = kept});
    EXPECT_EQ(source.rows(), 20);
    for (int pass = 0; pass < 3; ++pass) {
      source.rewind(0);
      EXPECT_EQ(read(source, 3, upto(20)), (Lengths{5, 3, 5, 3, 4}));
    }
    FileSource whole({a.view, b.view, c.view}, {.kept_bytes = kept});
    EXPECT_EQ(read(whole, 3, upto(20)), (Lengths{8, 8, 4}));
  }
}

TEST(FileSourceTest, APassMayBeLeftAnywhere) {
  const NumberedFiles a(9, {64, 64});
  FileSource source({a.view}, {.block_rows = 8, .kept_bytes = 8 * 9 * 4 * 5});
  for (int blocks = 0; blocks < 16; ++blocks) {
    source.rewind(0);
    Block block;
    for (int i = 0; i < blocks; ++i) EXPECT_TRUE(source.next(block));
  }
  source.rewind(0);
  EXPECT_EQ(read(source, 1, upto(128)), Lengths(16, 8));
}

TEST(FileSourceTest, StartsAtAnyRowAndKeepsItsFirstBlocksAlone) {
  const NumberedFiles a(3, {8, 8, 4}), b(2, {20});
  for (const std::int64_t kept : {0, 120, 1 << 20}) {
    FileSource source({a.view, b.view}, {.block_rows = 5, .kept_bytes = kept});
    for (int pass = 0; pass < 2; ++pass) {
      source.rewind(6);
      EXPECT_EQ(read(source, 2, upto(20), 6), (Lengths{2, 5, 3, 4}));
      source.rewind(13);
      EXPECT_EQ(read(source, 2, upto(20), 13), (Lengths{3, 4}));
      source.rewind(20);
      EXPECT_TRUE(read(source, 2, upto(20), 20).empty());
      source.rewind(0);
      EXPECT_EQ(read(source, 2, upto(20)), (Lengths{5, 3, 5, 3, 4}));
    }
  }
  const Lengths rows{19, 3, 4, 5, 6, 7};
  FileSource selected({a.view}, {.block_rows = 4, .selection = rows});
  selected.rewind(3);
  EXPECT_EQ(read(selected, 1, rows, 3), (Lengths{1, 2}));
}

TEST(FileSourceTest, ReadsInPlaceUnlessRowsLieAcrossTheirBoundary) {
  const NumberedFiles aligned(5, {40, 40}), odd(5, {40, 40}, 61);
  FileSource source({aligned.view, odd.view}, {.block_rows = 16});
  EXPECT_EQ(read(source, 2, upto(80)), (Lengths{16, 16, 8, 16, 16, 8}));
}

TEST(FileSourceTest, SelectedRowsComeInTheirOrder) {
  const NumberedFiles a(3, {8, 8, 4}), b(2, {5, 15});
  const Lengths rows{19, 3, 4, 5, 6, 7, 8, 0, 0, 12, 13};
  for (const std::int64_t kept : {0, 1 << 20}) {
    FileSource source({a.view, b.view}, {.block_rows = 4, .kept_bytes = kept, .selection = rows});
    for (int pass = 0; pass < 2; ++pass) {
      source.rewind(0);
      EXPECT_EQ(read(source, 2, rows), (Lengths{4, 4, 3}));
    }
  }
}

TEST(FileSourceTest, RefusesWhatDoesNotFit) {
  const NumberedFiles a(3, {8}), b(3, {7});
  EXPECT_THROW(FileSource({a.view, b.view}, {}), Error);
  EXPECT_THROW(FileSource({a.view}, {.selection = Lengths{8}}), Error);
  EXPECT_THROW(FileSource({a.view}, {.selection = Lengths{-1}}), Error);
}

TEST(FileSourceTest, NoRowsGiveNoBlocks) {
  const NumberedFiles a(2, {0});
  FileSource source({a.view}, {});
  EXPECT_TRUE(read(source, 1, {}).empty());
  FileSource none({NumberedFiles(2, {3}).view}, {.selection = Lengths{}});
  EXPECT_TRUE(read(none, 1, {}).empty());
}

/// What a pass sees of a file that is cut when `blocks` of its blocks have been given.
void expect_cut_is_seen(int blocks, std::int64_t kept) {
  const NumberedFiles a(1024, {64});
  FileSource source({a.view}, {.block_rows = 8, .kept_bytes = kept});
  Block block;
  const auto pass = [&](int cut_at) {
    source.rewind(0);
    double sum = 0;
    for (int i = 0;; ++i) {
      if (i == cut_at) a.files.front().cut(64 + 4 * 1024 * 4);
      if (!source.next(block)) break;
      if (i + 1 == cut_at) a.files.front().cut(64 + 4 * 1024 * 4);
      for (std::int64_t r = 0; r < block.rows; ++r) {
        sum += static_cast<const float*>(block.views[0].row(r))[0];
      }
    }
    return sum;
  };
  EXPECT_EQ(pass(-1), 1024.0 * 0 + 63 * 64 / 2.0);
  try {
    static_cast<void>(pass(blocks));
    FAIL() << "the cut after " << blocks << " blocks was not seen";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFile);
    EXPECT_NE(std::string(error.what()).find(a.files.front().path()), std::string::npos);
  }
}

TEST(FileSourceTest, AFileCutDuringAPassIsAnErrorAndNoSignal) {
  for (const std::int64_t kept : {0, 4 * 8 * 4096, 1 << 30}) {
    for (int blocks = 0; blocks < 8; ++blocks) expect_cut_is_seen(blocks, kept);
  }
}

TEST(FileSourceTest, AFileThatIsGoneIsNamed) {
  FileView view{DType::kFloat32, 2, {{"/nowhere/00000.npy", 0, 4}}};
  FileSource source({view}, {});
  source.rewind(0);
  Block block;
  try {
    source.next(block);
    FAIL() << "read";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("/nowhere/00000.npy"), std::string::npos);
  }
}

class FileSourceRandomTest : public testing::RandomTest {};

TEST_F(FileSourceRandomTest, AnyFilesAndLimits) {
  for (int repeat = 0; repeat < 40; ++repeat) {
    const std::int64_t rows = random.integer(1, 60);
    const auto cut = [&] {
      Lengths lengths;
      for (std::int64_t left = rows; left > 0; left -= lengths.back()) {
        lengths.push_back(random.integer(0, left));
      }
      return lengths;
    };
    const NumberedFiles a(random.integer(1, 2000), cut()), b(3, cut(), 63);
    FileSourceOptions options;
    options.block_rows = random.integer(0, 12);
    options.kept_bytes = random.integer(0, 1 << 18);
    Lengths expected = upto(rows);
    if (random.chance(0.5)) {
      std::shuffle(expected.begin(), expected.end(), random.engine());
      expected.resize(static_cast<std::size_t>(random.integer(1, rows)));
      options.selection = expected;
    }
    FileSource source({a.view, b.view}, options);
    for (int pass = 0; pass < 2; ++pass) {
      source.rewind(0);
      read(source, 2, expected);
    }
  }
}

}  // namespace
}  // namespace cofactor
