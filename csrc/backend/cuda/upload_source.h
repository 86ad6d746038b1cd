#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "als/block_source.h"
#include "backend/cuda/runtime.h"
#include "core/error.h"
#include "core/problem.h"
#include "core/thread_pool.h"

namespace cofactor::cuda {

struct UploadOptions {
  /// Of rows that stay on the device at most; below 0: what is free, less a reserve.
  std::int64_t resident_bytes = -1;
  /// Of a block that is copied in every pass.
  std::int64_t block_bytes = std::int64_t{64} << 20;
  int threads = 0;  ///< that copy rows to pinned memory
};

/// Rows of another source in the memory of a device, as make_cuda_source says.
///
/// A block goes from the source through pinned memory of the host to the device. There are a few
/// slots of both, so that the host fills one while a second is on its way and the device reads a
/// third. Events keep them apart; the host waits only for pinned memory that it is to fill again.
template <class Runtime>
class UploadSource final : public BlockSource {
 public:
  UploadSource(Runtime& runtime, BlockSource& source, UploadOptions options)
      : runtime_(runtime),
        source_(source),
        options_(options),
        upload_(runtime.make_stream()),
        pool_(options.threads) {}
  ~UploadSource() override {
    try {
      const auto active = runtime_.activate();
      runtime_.synchronise(upload_);
      runtime_.synchronise(runtime_.compute());
    } catch (const Error&) {
      // A device that is lost has nothing under way.
      return;
    }
  }
  UploadSource(const UploadSource&) = delete;
  UploadSource& operator=(const UploadSource&) = delete;

  [[nodiscard]] std::int64_t rows() const override { return source_.rows(); }

  void rewind(std::int64_t first_row) override {
    const auto active = runtime_.activate();
    finish_block();
    next_row_ = first_row;
    reading_ = false;
    if (!planned_) return;
    if (source_.rows() != planned_rows_) {
      // An iterable's number of rows is known after a pass.
      release();
    } else if (resident_rows_ == planned_rows_ && !slots_.empty()) {
      runtime_.synchronise(upload_);
      slots_.clear();
    }
  }

  bool next(Block& block) override {
    const auto active = runtime_.activate();
    finish_block();
    if (next_row_ < resident_rows_) {
      fill_in(block, resident_, next_row_, resident_rows_ - next_row_);
      next_row_ = resident_rows_;
      return true;
    }
    if (!advance()) return false;
    if (on_device()) {
      block = given_;
      taken_ = given_.rows;
      next_row_ += given_.rows;
      return true;
    }
    if (!planned_) plan();
    if (resident_rows_ < resident_capacity_ && next_row_ == resident_rows_) {
      const std::int64_t rows =
          upload(resident_, resident_rows_, resident_capacity_ - resident_rows_);
      fill_in(block, resident_, next_row_, rows);
      resident_rows_ += rows;
      next_row_ += rows;
      return true;
    }
    const std::int64_t rows = upload(slot().device, 0, slot_rows_);
    fill_in(block, slot().device, 0, rows);
    block.first_row = next_row_;
    next_row_ += rows;
    in_use_ = true;
    return true;
  }

 private:
  static constexpr std::size_t kSlots = 3;
  using DeviceBytes = DeviceArray<Runtime, std::byte>;

  struct Slot {
    explicit Slot(Runtime& runtime)
        : uploaded(runtime.make_event()), consumed(runtime.make_event()) {}
    PinnedArray<Runtime, std::byte> pinned;
    std::vector<DeviceBytes> device;
    typename Runtime::Event uploaded, consumed;
  };
  struct View {
    DType dtype;
    std::int64_t columns;
    std::int64_t stride;  ///< columns of a row on the device, so that rows begin at 16 bytes
    [[nodiscard]] std::int64_t row_bytes() const {
      return stride * static_cast<std::int64_t>(size_of(dtype));
    }
  };

  [[nodiscard]] Slot& slot() { return slots_[current_]; }

  /// What the caller had of the last block is done with once the device comes here.
  void finish_block() {
    if (!in_use_) return;
    runtime_.record(slot().consumed, runtime_.compute());
    current_ = (current_ + 1) % kSlots;
    in_use_ = false;
  }

  /// Has rows of the source at hand; false at the end.
  bool advance() {
    if (!reading_) {
      source_.rewind(next_row_);
      reading_ = true;
      given_ = {};
      taken_ = 0;
    }
    while (taken_ == given_.rows) {
      taken_ = 0;
      if (!source_.next(given_)) {
        given_ = {};
        return false;
      }
    }
    return true;
  }

  [[nodiscard]] bool on_device() const {
    const auto is_here = [](const MatrixView& view) { return view.memory == Memory::kDevice; };
    const auto here = std::ranges::count_if(given_.views, is_here);
    if (here != 0 && here != std::ssize(given_.views)) {
      throw Error(ErrorKind::kType,
                  "some views lie in the memory of a GPU and others in the host's; expected all in "
                  "one of them, so move the arrays before the call");
    }
    return here != 0;
  }

  /// Decides which rows stay, once rows are at hand.
  void plan() {
    planned_rows_ = source_.rows();
    std::int64_t row_bytes = 0;
    views_.clear();
    for (const MatrixView& view : given_.views) {
      const auto size = static_cast<std::int64_t>(size_of(view.dtype));
      const std::int64_t per_line = 16 / size;
      views_.push_back(
          {view.dtype, view.columns, (view.columns + per_line - 1) / per_line * per_line});
      row_bytes += views_.back().row_bytes();
    }
    slot_rows_ =
        std::max(options_.block_bytes / row_bytes / kPanelRows, std::int64_t{1}) * kPanelRows;
    if (planned_rows_ > 0) slot_rows_ = std::min(slot_rows_, planned_rows_);
    slots_.clear();
    for (std::size_t i = 0; i < kSlots; ++i) {
      Slot& made = slots_.emplace_back(runtime_);
      made.pinned = PinnedArray<Runtime, std::byte>(runtime_, slot_rows_ * row_bytes);
    }
    const std::int64_t slot_bytes = static_cast<std::int64_t>(kSlots) * slot_rows_ * row_bytes;
    std::int64_t budget = options_.resident_bytes;
    if (budget < 0) {
      // Factors of later fits, and what else the process does on the device, find a tenth free.
      const MemoryInfo memory = runtime_.memory();
      budget = memory.free - memory.total / 10;
    }
    resident_capacity_ = planned_rows_;
    if (resident_capacity_ * row_bytes > budget) {
      resident_capacity_ =
          std::max(budget - slot_bytes, std::int64_t{0}) / row_bytes / kPanelRows * kPanelRows;
    }
    resident_ = allocate(resident_capacity_);
    if (resident_capacity_ < planned_rows_ || planned_rows_ == 0) {
      for (Slot& made : slots_) made.device = allocate(slot_rows_);
    }
    planned_ = true;
  }

  void release() {
    runtime_.synchronise(upload_);
    runtime_.synchronise(runtime_.compute());
    slots_.clear();
    resident_.clear();
    resident_rows_ = 0;
    planned_ = false;
  }

  [[nodiscard]] std::vector<DeviceBytes> allocate(std::int64_t rows) {
    std::vector<DeviceBytes> result;
    for (const View& view : views_) result.emplace_back(runtime_, rows * view.row_bytes());
    return result;
  }

  /// Copies rows of the source, at most `limit`, to row `first` of the arrays; the work that the
  /// device is given from now on finds them there.
  std::int64_t upload(const std::vector<DeviceBytes>& to, std::int64_t first, std::int64_t limit) {
    Slot& through = slot();
    // Whole panels, as the passes sum.
    limit = std::min(limit, slot_rows_ - next_row_ % std::min(kPanelRows, slot_rows_));
    runtime_.synchronise(through.uploaded);
    std::int64_t rows = 0;
    while (rows < limit) {
      const std::int64_t count = std::min(limit - rows, given_.rows - taken_);
      pack(through.pinned.data(), rows, count);
      rows += count;
      taken_ += count;
      if (rows < limit && !advance()) break;
    }
    runtime_.wait(upload_, through.consumed);
    std::int64_t at = 0;
    for (std::size_t v = 0; v < views_.size(); ++v) {
      const std::int64_t row_bytes = views_[v].row_bytes();
      runtime_.copy_in(to[v].data() + first * row_bytes, through.pinned.data() + at,
                       static_cast<std::size_t>(rows * row_bytes), upload_);
      at += slot_rows_ * row_bytes;
    }
    runtime_.record(through.uploaded, upload_);
    runtime_.wait(runtime_.compute(), through.uploaded);
    if (&to == &resident_) current_ = (current_ + 1) % kSlots;
    return rows;
  }

  /// Copies rows at hand to row `first` of the pinned arrays.
  void pack(std::byte* pinned, std::int64_t first, std::int64_t count) {
    constexpr std::int64_t kTaskBytes = std::int64_t{1} << 20;
    for (std::size_t v = 0; v < views_.size(); ++v) {
      const View& view = views_[v];
      const MatrixView from = given_.views[v].slice(taken_, count);
      if (from.dtype != view.dtype || from.columns != view.columns) {
        throw Error(ErrorKind::kValue, "the blocks of view number " + std::to_string(v) +
                                           " differ in dtype or number of columns");
      }
      const std::int64_t row_bytes = view.row_bytes();
      const std::size_t used = static_cast<std::size_t>(view.columns) * size_of(view.dtype);
      std::byte* const to = pinned + first * row_bytes;
      const std::int64_t step = std::max(kTaskBytes / row_bytes, std::int64_t{1});
      pool_.run((count + step - 1) / step, [&](std::int64_t task, int) {
        const std::int64_t last = std::min(count, (task + 1) * step);
        for (std::int64_t i = task * step; i < last; ++i) {
          std::memcpy(to + i * row_bytes, from.row(i), used);
        }
      });
      pinned += slot_rows_ * row_bytes;
    }
  }

  void fill_in(Block& block, const std::vector<DeviceBytes>& arrays, std::int64_t first,
               std::int64_t rows) const {
    block.first_row = first;
    block.rows = rows;
    block.views.clear();
    for (std::size_t v = 0; v < views_.size(); ++v) {
      const View& view = views_[v];
      block.views.push_back({arrays[v].data() + first * view.row_bytes(), view.dtype, rows,
                             view.columns, view.stride, Memory::kDevice});
    }
  }

  Runtime& runtime_;
  BlockSource& source_;
  UploadOptions options_;
  typename Runtime::Stream upload_;
  ThreadPool pool_;

  bool planned_ = false;
  std::int64_t planned_rows_ = 0;  ///< that the source said it has
  std::vector<View> views_;
  std::int64_t slot_rows_ = 0;
  std::vector<Slot> slots_;
  std::size_t current_ = 0;  ///< slot of the last block, or of the next one
  bool in_use_ = false;      ///< the caller has that slot's block
  std::int64_t resident_capacity_ = 0;
  std::int64_t resident_rows_ = 0;  ///< so many are there
  std::vector<DeviceBytes> resident_;

  std::int64_t next_row_ = 0;
  bool reading_ = false;  ///< the source stands behind the rows given so far
  Block given_;           ///< of the source
  std::int64_t taken_ = 0;
};

}  // namespace cofactor::cuda
