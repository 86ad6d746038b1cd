#include "als/block_source.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"

namespace cofactor {

void throw_unequal_rows(std::size_t view, std::int64_t rows, std::int64_t expected) {
  throw Error(ErrorKind::kValue, "view number " + std::to_string(view) + " has " +
                                     std::to_string(rows) + " rows, the first view has " +
                                     std::to_string(expected) +
                                     "; all views must have the same examples");
}

MatrixSource::MatrixSource(std::vector<std::vector<MatrixView>> pieces, std::int64_t block_rows)
    : pieces_(std::move(pieces)), cursors_(pieces_.size()), block_rows_(block_rows) {
  for (std::size_t v = 0; v < pieces_.size(); ++v) {
    // Empty pieces would make blocks of no rows.
    std::erase_if(pieces_[v], [](const MatrixView& piece) { return piece.rows == 0; });
    std::int64_t rows = 0;
    for (const MatrixView& piece : pieces_[v]) rows += piece.rows;
    if (v == 0) rows_ = rows;
    if (rows != rows_) throw_unequal_rows(v, rows, rows_);
  }
}

void MatrixSource::rewind(std::int64_t first_row) {
  for (std::size_t v = 0; v < pieces_.size(); ++v) {
    Cursor& cursor = cursors_[v];
    cursor = {0, first_row};
    while (cursor.piece < pieces_[v].size() && cursor.row >= pieces_[v][cursor.piece].rows) {
      cursor.row -= pieces_[v][cursor.piece++].rows;
    }
  }
  next_row_ = first_row;
}

bool MatrixSource::next(Block& block) {
  if (next_row_ == rows_) return false;
  std::int64_t rows = rows_ - next_row_;
  if (block_rows_ > 0) rows = std::min(rows, block_rows_);
  for (std::size_t v = 0; v < pieces_.size(); ++v) {
    rows = std::min(rows, pieces_[v][cursors_[v].piece].rows - cursors_[v].row);
  }
  block.first_row = next_row_;
  block.rows = rows;
  block.views.clear();
  for (std::size_t v = 0; v < pieces_.size(); ++v) {
    Cursor& cursor = cursors_[v];
    const MatrixView& piece = pieces_[v][cursor.piece];
    block.views.push_back(piece.slice(cursor.row, rows));
    cursor.row += rows;
    if (cursor.row == piece.rows) cursor = {cursor.piece + 1, 0};
  }
  next_row_ += rows;
  return true;
}

}  // namespace cofactor
