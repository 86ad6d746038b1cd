#include "als/packing_source.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"

namespace cofactor {
namespace {

/// Of one task: two lines of float32 columns, and rows enough to be worth a task.
constexpr std::int64_t kTaskRows = 32;

}  // namespace

std::int64_t packed_block_rows(std::int64_t row_bytes) {
  // More would leave the shared cache between packing and the two products; fewer would make much
  // of the cost of starting a block.
  constexpr std::int64_t kBytes = std::int64_t{16} << 20;
  constexpr std::int64_t kLeast = 64;
  constexpr std::int64_t kMost = 8192;
  const std::int64_t rows = kBytes / std::max<std::int64_t>(row_bytes, 1);
  return std::clamp(rows / kTaskRows * kTaskRows, kLeast, kMost);
}

PackingSource::PackingSource(std::unique_ptr<BlockSource> in_place, std::vector<View> packed,
                             std::int64_t block_rows, int threads)
    : in_place_(std::move(in_place)),
      packed_(std::move(packed)),
      block_rows_(block_rows),
      rows_(packed_.front().rows->rows()),
      pool_(threads) {
  const auto check = [&](std::int64_t rows) {
    if (rows == rows_) return;
    throw Error(ErrorKind::kValue, "views have " + std::to_string(rows) + " and " +
                                       std::to_string(rows_) +
                                       " rows; all views must have the same examples");
  };
  if (in_place_ != nullptr) check(in_place_->rows());
  for (const View& view : packed_) {
    check(view.rows->rows());
    buffers_.emplace_back(static_cast<std::size_t>(std::min(block_rows_, rows_)) *
                          static_cast<std::size_t>(view.rows->columns()) *
                          size_of(view.rows->dtype()));
  }
}

void PackingSource::rewind(std::int64_t first_row) {
  next_row_ = first_row;
  if (in_place_ != nullptr) in_place_->rewind(first_row);
}

bool PackingSource::next(Block& block) {
  if (next_row_ == rows_) return false;
  // The others' block with more views.
  Block made;
  made.first_row = next_row_;
  made.rows = std::min(block_rows_, rows_ - next_row_);
  if (in_place_ != nullptr && !in_place_->next(made)) return false;
  const std::int64_t tasks = (made.rows + kTaskRows - 1) / kTaskRows;
  pool_.run(tasks * static_cast<std::int64_t>(packed_.size()), [&](std::int64_t task, int) {
    const auto p = static_cast<std::size_t>(task / tasks);
    const PackedRows& rows = *packed_[p].rows;
    const std::int64_t first = task % tasks * kTaskRows;
    const auto row_size = static_cast<std::size_t>(rows.columns()) * size_of(rows.dtype());
    rows.pack(next_row_ + first, std::min(kTaskRows, made.rows - first),
              buffers_[p].data() + static_cast<std::size_t>(first) * row_size);
  });
  for (std::size_t i = 0; i < packed_.size(); ++i) {
    const PackedRows& rows = *packed_[i].rows;
    made.views.insert(
        made.views.begin() + static_cast<std::ptrdiff_t>(packed_[i].position),
        {buffers_[i].data(), rows.dtype(), made.rows, rows.columns(), rows.columns()});
  }
  next_row_ += made.rows;
  block = std::move(made);
  return true;
}

}  // namespace cofactor
