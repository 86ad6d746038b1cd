#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/matrix_view.h"

namespace cofactor {

/// Rows of all views, a block at a time and in order, as often as asked.
class BlockSource {
 public:
  virtual ~BlockSource() = default;
  [[nodiscard]] virtual std::int64_t rows() const = 0;
  /// Starts over at a row, which the next block begins with.
  virtual void rewind(std::int64_t first_row) = 0;
  /// The next block, valid until the next call; false at the end.
  virtual bool next(Block& block) = 0;
};

/// Throws Error: view number `view` has other rows than the first.
[[noreturn]] void throw_unequal_rows(std::size_t view, std::int64_t rows, std::int64_t expected);

/// Views that lie in memory, each in one or more pieces of whole rows.
class MatrixSource final : public BlockSource {
 public:
  /// `pieces[v]` are the consecutive pieces of view v; `block_rows` limits a block (0: no limit).
  /// Throws Error unless all views have the same number of rows.
  MatrixSource(std::vector<std::vector<MatrixView>> pieces, std::int64_t block_rows);

  [[nodiscard]] std::int64_t rows() const override { return rows_; }
  void rewind(std::int64_t first_row) override;
  bool next(Block& block) override;

 private:
  struct Cursor {
    std::size_t piece = 0;
    std::int64_t row = 0;  ///< within the piece
  };
  std::vector<std::vector<MatrixView>> pieces_;
  std::vector<Cursor> cursors_;
  std::int64_t block_rows_;
  std::int64_t rows_ = 0;
  std::int64_t next_row_ = 0;
};

}  // namespace cofactor
