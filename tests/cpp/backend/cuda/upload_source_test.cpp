#include "backend/cuda/upload_source.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <string>

#include "backend/cuda/emulation/host_runtime.h"
#include "testing.h"

namespace cofactor::cuda {
namespace {

using emulation::HostRuntime;
using Lengths = std::vector<std::int64_t>;

/// Rows of three views, of 2, 66 and 12 bytes; every number tells its row.
struct Numbered {
  explicit Numbered(std::int64_t rows_)
      : rows(rows_),
        bytes(static_cast<std::size_t>(rows)),
        halves(33 * bytes.size()),
        singles(4 * bytes.size()) {
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto at = static_cast<std::size_t>(i);
      bytes[at] = static_cast<std::uint8_t>(i % 251);
      std::fill_n(halves.begin() + 33 * i, 33, static_cast<std::uint16_t>(i));
      std::fill_n(singles.begin() + 4 * i, 4, static_cast<float>(i));
    }
  }
  /// Rows cut into pieces of other lengths in one view; of the last one column is left out.
  [[nodiscard]] std::vector<std::vector<MatrixView>> pieces(std::int64_t cut) const {
    const MatrixView a{bytes.data(), DType::kUInt8, rows, 1, 1};
    const MatrixView b{halves.data(), DType::kFloat16, rows, 33, 33};
    const MatrixView c{singles.data(), DType::kFloat32, rows, 3, 4};
    return {{a}, {b.slice(0, cut), b.slice(cut, rows - cut)}, {c}};
  }
  std::int64_t rows;
  std::vector<std::uint8_t> bytes;
  std::vector<std::uint16_t> halves;
  std::vector<float> singles;
};

/// A source that knows how many of its rows were read.
class Watched final : public BlockSource {
 public:
  explicit Watched(MatrixSource source) : source_(std::move(source)), known_(source_.rows()) {}
  [[nodiscard]] std::int64_t rows() const override { return known_; }
  void rewind(std::int64_t first_row) override { source_.rewind(first_row); }
  bool next(Block& block) override {
    if (!source_.next(block)) {
      known_ = source_.rows();
      return false;
    }
    read += block.rows;
    return true;
  }
  void forget_rows() { known_ = 0; }
  std::int64_t read = 0;

 private:
  MatrixSource source_;
  std::int64_t known_;
};

/// What the device is given in one pass, as work on its stream sees it; returns the blocks'
/// lengths.
Lengths expect_all_rows(HostRuntime& runtime, BlockSource& source, const Numbered& data,
                        std::int64_t first_row = 0) {
  struct Seen {
    std::vector<std::uint8_t> bytes;
    std::vector<std::uint16_t> halves;
    std::vector<float> singles;
  };
  std::vector<std::unique_ptr<Seen>> seen;
  Lengths lengths;
  Block block;
  source.rewind(first_row);
  std::int64_t row = first_row;
  while (source.next(block)) {
    EXPECT_EQ(block.first_row, row);
    EXPECT_GT(block.rows, 0);
    const auto n = static_cast<std::size_t>(block.rows);
    Seen& to = *seen.emplace_back(std::make_unique<Seen>());
    to.bytes.resize(n);
    to.halves.resize(33 * n);
    to.singles.resize(3 * n);
    void* const out[] = {to.bytes.data(), to.halves.data(), to.singles.data()};
    EXPECT_EQ(block.views.size(), 3U);
    for (std::size_t v = 0; v < 3; ++v) {
      const MatrixView& view = block.views[v];
      EXPECT_EQ(view.memory, Memory::kDevice);
      EXPECT_EQ(view.rows, block.rows);
      const std::size_t stride = static_cast<std::size_t>(view.row_stride) * size_of(view.dtype);
      EXPECT_EQ(stride % 16, 0U);
      const std::size_t used = static_cast<std::size_t>(view.columns) * size_of(view.dtype);
      runtime.copy_rows_out(out[v], used, view.data, stride, used, view.rows, runtime.compute());
    }
    lengths.push_back(block.rows);
    row += block.rows;
  }
  EXPECT_EQ(row, data.rows);
  runtime.synchronise(runtime.compute());
  row = first_row;
  for (const auto& block_seen : seen) {
    for (std::size_t i = 0; i < block_seen->bytes.size(); ++i, ++row) {
      const auto at = static_cast<std::size_t>(row);
      EXPECT_EQ(block_seen->bytes[i], data.bytes[at]);
      for (std::size_t j = 0; j < 33; ++j) {
        EXPECT_EQ(block_seen->halves[33 * i + j], data.halves[33 * at + j]);
      }
      for (std::size_t j = 0; j < 3; ++j) {
        EXPECT_EQ(block_seen->singles[3 * i + j], data.singles[4 * at + j]);
      }
      if (::testing::Test::HasFailure()) return lengths;
    }
  }
  return lengths;
}

/// Of a row of the three views on the device, each padded to 16 bytes.
constexpr std::int64_t kRowBytes = 16 + 80 + 16;

TEST(UploadSourceTest, EveryRowComesEveryPassWhateverStays) {
  const Numbered data(3000);
  for (unsigned seed = 1; seed <= 3; ++seed) {
    for (const std::int64_t block_rows : {0, 100, 700}) {
      for (const std::int64_t resident : {0, 1000, 1 << 20}) {
        HostRuntime runtime(std::int64_t{1} << 30, seed);
        Watched host(MatrixSource(data.pieces(1700), block_rows));
        UploadSource<HostRuntime> source(
            runtime, host,
            {.resident_bytes = resident * kRowBytes, .block_bytes = 600 * kRowBytes, .threads = 2});
        EXPECT_EQ(source.rows(), 3000);
        for (int pass = 0; pass < 4; ++pass) {
          const Lengths lengths = expect_all_rows(runtime, source, data);
          if (::testing::Test::HasFailure()) return;
          EXPECT_TRUE(resident < 3000 || pass == 0 || lengths == Lengths{3000});
        }
      }
    }
  }
}

TEST(UploadSourceTest, RowsThatStayAreReadOnce) {
  const Numbered data(3000);
  HostRuntime runtime;
  Watched host(MatrixSource(data.pieces(10), 100));
  // Less 1,536 rows that are on their way, and in whole panels: 1,024 rows stay.
  UploadSource<HostRuntime> source(
      runtime, host, {.resident_bytes = 2600 * kRowBytes, .block_bytes = 512 * kRowBytes});
  expect_all_rows(runtime, source, data);
  EXPECT_EQ(host.read, 3000);
  EXPECT_EQ(expect_all_rows(runtime, source, data), (Lengths{1024, 512, 512, 512, 440}));
  EXPECT_EQ(host.read, 3000 + 3000 - 1024);
}

TEST(UploadSourceTest, StartsAtAnyRow) {
  const Numbered data(3000);
  HostRuntime runtime;
  Watched host(MatrixSource(data.pieces(10), 100));
  UploadSource<HostRuntime> source(
      runtime, host, {.resident_bytes = 2600 * kRowBytes, .block_bytes = 512 * kRowBytes});
  for (const std::int64_t first : {2000, 0, 300, 1024, 2999}) {
    expect_all_rows(runtime, source, data, first);
  }
}

TEST(UploadSourceTest, APassMayBeLeftAnywhere) {
  const Numbered data(3000);
  HostRuntime runtime;
  Watched host(MatrixSource(data.pieces(10), 100));
  UploadSource<HostRuntime> source(
      runtime, host, {.resident_bytes = 2600 * kRowBytes, .block_bytes = 512 * kRowBytes});
  for (int blocks = 0; blocks < 6; ++blocks) {
    source.rewind(0);
    Block block;
    for (int i = 0; i < blocks; ++i) EXPECT_TRUE(source.next(block));
    expect_all_rows(runtime, source, data);
  }
}

TEST(UploadSourceTest, RowsStayOnceTheirNumberIsKnown) {
  const Numbered data(3000);
  HostRuntime runtime;
  Watched host(MatrixSource(data.pieces(10), 100));
  host.forget_rows();
  UploadSource<HostRuntime> source(runtime, host, {});
  for (int pass = 0; pass < 3; ++pass) expect_all_rows(runtime, source, data);
  EXPECT_EQ(host.read, 6000);
}

TEST(UploadSourceTest, TakesWhatMemoryThereIs) {
  const Numbered data(3000);
  // Nearly all rows would have room, but a tenth stays free, and 1,536 rows are on their way.
  HostRuntime runtime(3000 * kRowBytes);
  Watched host(MatrixSource(data.pieces(10), 100));
  UploadSource<HostRuntime> source(runtime, host, {.block_bytes = kRowBytes});
  expect_all_rows(runtime, source, data);
  EXPECT_EQ(expect_all_rows(runtime, source, data), (Lengths{1024, 512, 512, 512, 440}));
  HostRuntime none(1000);
  UploadSource<HostRuntime> impossible(none, host, {});
  try {
    expect_all_rows(none, impossible, data);
    FAIL() << "found memory that is not there";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kMemory);
    EXPECT_NE(std::string(error.what()).find("were asked for"), std::string::npos);
  }
  EXPECT_EQ(none.used(), 0);
}

TEST(UploadSourceTest, RowsOnTheDeviceArePassedOnAndNotMixed) {
  const Numbered data(30);
  HostRuntime runtime;
  auto pieces = data.pieces(10);
  for (auto& view : pieces) {
    for (MatrixView& piece : view) piece.memory = Memory::kDevice;
  }
  MatrixSource host(pieces, 20);
  UploadSource<HostRuntime> source(runtime, host, {});
  for (int pass = 0; pass < 2; ++pass) {
    source.rewind(0);
    Block block;
    EXPECT_TRUE(source.next(block));
    EXPECT_TRUE(source.next(block));
    EXPECT_EQ(block.first_row, 10);
    EXPECT_EQ(block.views[0].data, data.bytes.data() + 10);
    EXPECT_FALSE(source.next(block));
  }
  EXPECT_EQ(runtime.used(), 0);
  pieces.front().front().memory = Memory::kHost;
  MatrixSource mixed(pieces, 20);
  UploadSource<HostRuntime> refused(runtime, mixed, {});
  Block block;
  refused.rewind(0);
  EXPECT_THROW(refused.next(block), Error);
}

}  // namespace
}  // namespace cofactor::cuda
