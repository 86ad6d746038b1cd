#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "als/block_source.h"
#include "als/prefetcher.h"
#include "core/aligned_buffer.h"
#include "core/dtype.h"
#include "core/file.h"

namespace cofactor {

/// Consecutive row-major rows in a file.
struct FileRows {
  std::string path;
  std::int64_t offset = 0;  ///< of the first row, in bytes
  std::int64_t rows = 0;
};

/// A view in files, one after the other.
struct FileView {
  DType dtype = DType::kFloat32;
  std::int64_t columns = 0;
  std::vector<FileRows> files;
};

struct FileSourceOptions {
  std::int64_t block_rows = 0;  ///< rows of a block at most; 0: no limit
  /// Blocks stay in memory for the passes to come as long as all of them have no more bytes.
  std::int64_t kept_bytes = 0;
  /// Rows to read, in this order; all where there is none.
  std::optional<std::vector<std::int64_t>> selection = std::nullopt;
};

/// Views in files. A thread of its own gets the next block from the disk while the last one is
/// worked on, and what is done with is given back, so that memory does not grow with the data.
/// Blocks are mapped and not copied, unless rows are selected or lie across their dtype's boundary.
class FileSource final : public BlockSource {
 public:
  /// Throws Error unless all views have the same rows, and the selected rows are among them.
  FileSource(std::vector<FileView> views, FileSourceOptions options);
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  [[nodiscard]] std::int64_t rows() const override { return rows_; }
  void rewind(std::int64_t first_row) override;
  bool next(Block& block) override;

 private:
  /// A block of rows and the memory that it lies in.
  struct Loaded {
    std::vector<MatrixView> views;
    std::vector<std::unique_ptr<FileMapping>> mappings;
    std::vector<AlignedBuffer<std::byte>> copies;
  };
  struct Range {
    std::int64_t first = 0;
    std::int64_t rows = 0;
  };

  void cut_blocks(std::int64_t block_rows);
  void finish_block();
  void start_prefetcher();
  [[nodiscard]] Loaded load(std::size_t index) const;
  void map_rows(const FileView& view, std::size_t v, const Range& range, Loaded& to) const;
  void copy_rows(const FileView& view, std::size_t v, const Range& range, Loaded& to) const;
  [[nodiscard]] std::int64_t source_row(std::int64_t row) const {
    return options_.selection ? (*options_.selection)[static_cast<std::size_t>(row)] : row;
  }

  std::vector<FileView> views_;
  /// By view, the first row of every file and behind them the number of rows.
  std::vector<std::vector<std::int64_t>> edges_;
  FileSourceOptions options_;
  std::int64_t rows_ = 0;
  std::vector<Range> blocks_;
  std::size_t num_kept_ = 0;  ///< so many first blocks stay in memory

  std::vector<Loaded> kept_;
  Loaded current_;
  const Loaded* in_use_ = nullptr;
  std::size_t next_block_ = 0;
  std::int64_t skipped_ = 0;  ///< first rows of that block which are not asked for
  std::unique_ptr<Prefetcher<Loaded>> prefetcher_;
};

}  // namespace cofactor
