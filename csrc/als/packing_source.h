#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "als/block_source.h"
#include "als/packed_rows.h"
#include "core/aligned_buffer.h"
#include "core/thread_pool.h"

namespace cofactor {

/// Views of which some cannot be read in place: their rows are packed, a block at a time, into
/// memory of a fixed size. The blocks are those of the same values row-major.
class PackingSource final : public BlockSource {
 public:
  struct View {
    std::size_t position = 0;  ///< among all views
    std::unique_ptr<PackedRows> rows;
  };
  /// `in_place` gives the other views in order, and may be null where there are none. `packed` is
  /// not empty and ordered by position. Blocks have `block_rows` rows at most, and those of
  /// `in_place` no more; `threads` pack them (0: default_threads()). Throws Error unless all views
  /// have the same number of rows.
  PackingSource(std::unique_ptr<BlockSource> in_place, std::vector<View> packed,
                std::int64_t block_rows, int threads);

  [[nodiscard]] std::int64_t rows() const override { return rows_; }
  void rewind(std::int64_t first_row) override;
  bool next(Block& block) override;

 private:
  std::unique_ptr<BlockSource> in_place_;
  std::vector<View> packed_;
  std::int64_t block_rows_;
  std::int64_t rows_;
  std::int64_t next_row_ = 0;
  std::vector<AlignedBuffer<std::byte>> buffers_;
  ThreadPool pool_;
};

/// Rows of a block whose packed views take `row_bytes` a row: as many as fit a few megabytes.
[[nodiscard]] std::int64_t packed_block_rows(std::int64_t row_bytes);

}  // namespace cofactor
