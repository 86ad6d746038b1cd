#include "als/row_sink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "core/error.h"
#include "core/file.h"
#include "temporary_file.h"

namespace cofactor {
namespace {

/// Writes rows 0 .. rows - 1 of two numbers, in blocks of `step`.
void write(RowSink& sink, std::int32_t rows, std::int32_t step) {
  for (std::int32_t first = 0; first < rows; first += step) {
    const std::int32_t count = std::min(step, rows - first);
    auto* const out = static_cast<std::int32_t*>(sink.begin(first, count));
    for (std::int32_t i = 0; i < count; ++i) {
      out[2 * i] = first + i;
      out[2 * i + 1] = -(first + i);
    }
    sink.end();
  }
}

TEST(RowSinkTest, MemoryHoldsAllRows) {
  for (const std::int32_t step : {1, 3, 10}) {
    std::vector<std::int32_t> rows(20, 99);
    MemorySink sink(rows.data(), 8);
    write(sink, 10, step);
    for (std::int32_t i = 0; i < 10; ++i) EXPECT_EQ(rows[static_cast<std::size_t>(2 * i)], i);
  }
}

TEST(RowSinkTest, AFileHoldsAllRowsAfterItsHeader) {
  for (const std::int32_t step : {1, 3, 10}) {
    const testing::TemporaryFile temporary(std::vector<std::int32_t>{7});
    const int descriptor = open(temporary.path().c_str(), O_RDWR);
    FileSink sink(descriptor, temporary.path(), 4, 8);
    write(sink, 10, step);
    close(descriptor);
    std::vector<std::int32_t> read(21);
    File(temporary.path()).read(0, 84, read.data());
    EXPECT_EQ(read[0], 7);
    for (std::int32_t i = 0; i < 10; ++i) {
      EXPECT_EQ(read[static_cast<std::size_t>(2 * i + 1)], i);
      EXPECT_EQ(read[static_cast<std::size_t>(2 * i + 2)], -i);
    }
  }
}

TEST(RowSinkTest, AFullDiskIsAnErrorThatNamesTheFile) {
  const int descriptor = open("/dev/full", O_WRONLY);
  if (descriptor < 0) GTEST_SKIP() << "there is no /dev/full";
  FileSink sink(descriptor, "W.npy", 0, 8);
  try {
    write(sink, 4, 4);
    ADD_FAILURE() << "written";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFile);
    EXPECT_STREQ(error.what(), "W.npy: cannot be written: No space left on device");
  }
  close(descriptor);
}

TEST(RowSinkTest, ASampleHoldsItsRows) {
  for (const std::int32_t step : {1, 3, 4, 10}) {
    std::vector<std::int32_t> rows(8, 99);
    SampleSink sink({0, 3, 8, 9}, rows.data(), 8);
    for (int pass = 0; pass < 2; ++pass) write(sink, 10, step);
    EXPECT_EQ(rows, (std::vector<std::int32_t>{0, 0, 3, -3, 8, -8, 9, -9}));
  }
}

}  // namespace
}  // namespace cofactor
