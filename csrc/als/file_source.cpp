#include "als/file_source.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace cofactor {
namespace {

std::int64_t bytes_of(const FileView& view, std::int64_t rows) {
  return rows * view.columns * static_cast<std::int64_t>(size_of(view.dtype));
}

/// The file that holds a row.
std::size_t file_of(const std::vector<std::int64_t>& edges, std::int64_t row) {
  return static_cast<std::size_t>(std::upper_bound(edges.begin(), edges.end(), row) -
                                  edges.begin() - 1);
}

}  // namespace

FileSource::FileSource(std::vector<FileView> views, FileSourceOptions options)
    : views_(std::move(views)), options_(std::move(options)) {
  for (std::size_t v = 0; v < views_.size(); ++v) {
    std::erase_if(views_[v].files, [](const FileRows& file) { return file.rows == 0; });
    std::vector<std::int64_t>& edges = edges_.emplace_back(1, 0);
    for (const FileRows& file : views_[v].files) edges.push_back(edges.back() + file.rows);
    if (v == 0) rows_ = edges.back();
    if (edges.back() != rows_) throw_unequal_rows(v, edges.back(), rows_);
  }
  if (options_.selection) {
    for (const std::int64_t row : *options_.selection) {
      if (row < 0 || row >= rows_) {
        throw Error(ErrorKind::kValue, "row " + std::to_string(row) + " is selected of " +
                                           std::to_string(rows_) + " rows");
      }
    }
    rows_ = static_cast<std::int64_t>(options_.selection->size());
  }
  cut_blocks(options_.block_rows > 0 ? options_.block_rows : std::max<std::int64_t>(rows_, 1));
  std::int64_t kept = 0;
  for (const Range& range : blocks_) {
    for (const FileView& view : views_) kept += bytes_of(view, range.rows);
    if (kept > options_.kept_bytes) break;
    ++num_kept_;
  }
}

/// Blocks end where any view's file ends, unless their rows are copied anyway.
void FileSource::cut_blocks(std::int64_t block_rows) {
  for (std::int64_t first = 0; first < rows_;) {
    std::int64_t rows = std::min(block_rows, rows_ - first);
    if (!options_.selection) {
      for (const std::vector<std::int64_t>& edges : edges_) {
        rows = std::min(rows, edges[file_of(edges, first) + 1] - first);
      }
    }
    blocks_.push_back({first, rows});
    first += rows;
  }
}

void FileSource::rewind(std::int64_t first_row) {
  prefetcher_.reset();
  in_use_ = nullptr;
  current_ = {};
  next_block_ = static_cast<std::size_t>(
      std::upper_bound(blocks_.begin(), blocks_.end(), first_row,
                       [](std::int64_t row, const Range& r) { return row < r.first + r.rows; }) -
      blocks_.begin());
  skipped_ = next_block_ < blocks_.size() ? first_row - blocks_[next_block_].first : 0;
  start_prefetcher();
}

void FileSource::start_prefetcher() {
  const std::size_t first = std::max(next_block_, kept_.size());
  if (first == blocks_.size()) return;
  prefetcher_ = std::make_unique<Prefetcher<Loaded>>(
      static_cast<std::int64_t>(blocks_.size() - first), 1,
      [this, first](std::int64_t i) { return load(first + static_cast<std::size_t>(i)); });
}

void FileSource::finish_block() {
  if (in_use_ == nullptr) return;
  for (const auto& mapping : in_use_->mappings) mapping->check();
  in_use_ = nullptr;
  current_ = {};
}

bool FileSource::next(Block& block) {
  finish_block();
  if (next_block_ == blocks_.size()) {
    prefetcher_.reset();
    return false;
  }
  if (next_block_ < kept_.size()) {
    in_use_ = &kept_[next_block_];
  } else {
    if (!prefetcher_) start_prefetcher();
    Loaded loaded = prefetcher_->take();
    // Kept blocks are the first ones, without a gap.
    if (next_block_ == kept_.size() && next_block_ < num_kept_) {
      kept_.reserve(num_kept_);
      in_use_ = &kept_.emplace_back(std::move(loaded));
    } else {
      current_ = std::move(loaded);
      in_use_ = &current_;
    }
  }
  const Range& range = blocks_[next_block_++];
  block.first_row = range.first + skipped_;
  block.rows = range.rows - skipped_;
  block.views.clear();
  for (const MatrixView& view : in_use_->views) {
    block.views.push_back(view.slice(skipped_, block.rows));
  }
  skipped_ = 0;
  return true;
}

FileSource::Loaded FileSource::load(std::size_t index) const {
  const Range& range = blocks_[index];
  Loaded loaded;
  for (std::size_t v = 0; v < views_.size(); ++v) {
    const FileView& view = views_[v];
    const std::size_t file = file_of(edges_[v], source_row(range.first));
    const bool aligned =
        view.files[file].offset % static_cast<std::int64_t>(size_of(view.dtype)) == 0;
    if (options_.selection || !aligned) {
      copy_rows(view, v, range, loaded);
    } else {
      map_rows(view, v, range, loaded);
    }
  }
  // The system reads ahead of this by itself, in larger pages than when it is asked to.
  for (const auto& mapping : loaded.mappings) mapping->populate();
  return loaded;
}

void FileSource::map_rows(const FileView& view, std::size_t v, const Range& range,
                          Loaded& to) const {
  const std::size_t index = file_of(edges_[v], range.first);
  const FileRows& rows = view.files[index];
  const File file(rows.path);
  const std::int64_t offset = rows.offset + bytes_of(view, range.first - edges_[v][index]);
  const auto bytes = static_cast<std::size_t>(bytes_of(view, range.rows));
  to.mappings.push_back(std::make_unique<FileMapping>(file, offset, bytes));
  to.views.push_back(
      {to.mappings.back()->data(), view.dtype, range.rows, view.columns, view.columns});
}

void FileSource::copy_rows(const FileView& view, std::size_t v, const Range& range,
                           Loaded& to) const {
  const std::vector<std::int64_t>& edges = edges_[v];
  const std::int64_t row_bytes = bytes_of(view, 1);
  AlignedBuffer<std::byte> copy(static_cast<std::size_t>(bytes_of(view, range.rows)));
  std::unique_ptr<File> file;
  std::size_t open_file = 0;
  for (std::int64_t i = 0; i < range.rows;) {
    const std::int64_t row = source_row(range.first + i);
    const std::size_t index = file_of(edges, row);
    if (!file || index != open_file) {
      file = std::make_unique<File>(view.files[index].path);
      open_file = index;
    }
    // Neighbours that are asked for together are read together.
    std::int64_t count = 1;
    while (i + count < range.rows && row + count < edges[index + 1] &&
           source_row(range.first + i + count) == row + count) {
      ++count;
    }
    file->read(view.files[index].offset + (row - edges[index]) * row_bytes,
               static_cast<std::size_t>(count * row_bytes), copy.data() + i * row_bytes);
    i += count;
  }
  to.views.push_back({copy.data(), view.dtype, range.rows, view.columns, view.columns});
  to.copies.push_back(std::move(copy));
}

}  // namespace cofactor
