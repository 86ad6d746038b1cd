// One pass over the rows of a block, as one list of tasks: for every group of rows the first
// product and the solves by row tile, then the second product by chunk of columns. No thread waits
// for a group to end: while some finish its first products, others start on the next group's, and
// the second products of a group come once its successor's first ones are given out.

#include <algorithm>
#include <atomic>
#include <thread>

#include "backend/cpu/cpu_backend.h"

namespace cofactor::cpu {
namespace {

/// Keeps the tasks of a pass in order where that matters. Tasks are given out in the order of their
/// numbers and wait only for smaller ones, which are under way: a wait is rare and short.
class Order {
 public:
  Order(std::int64_t groups, std::int64_t tiles, std::int64_t chunks, std::int64_t slots)
      : slots_(slots),
        tiles_left_(static_cast<std::size_t>(groups)),
        chunks_left_(static_cast<std::size_t>(groups)),
        next_group_(static_cast<std::size_t>(chunks)) {
    for (auto& count : tiles_left_) count.store(tiles, std::memory_order_relaxed);
    for (auto& count : chunks_left_) count.store(chunks, std::memory_order_relaxed);
  }

  /// Runs the first product of a tile once the group's slot is free.
  template <class Work>
  void tile(std::int64_t group, const Work& work) {
    const bool go = group < slots_ || wait([&] { return at(chunks_left_, group - slots_) == 0; });
    if (go) guard(work);
    drop(tiles_left_, group);
  }
  /// Runs the second product of a chunk once W of the group is known, and after the group before.
  template <class Work>
  void chunk(std::int64_t group, std::int64_t chunk, const Work& work) {
    const bool go = wait([&] { return at(tiles_left_, group) == 0; }) &&
                    wait([&] { return at(next_group_, chunk) == group; });
    if (go) guard(work);
    next_group_[static_cast<std::size_t>(chunk)].store(group + 1, std::memory_order_release);
    drop(chunks_left_, group);
  }
  /// Runs work whose failure frees every task that waits.
  template <class Work>
  void guard(const Work& work) {
    try {
      work();
    } catch (...) {
      failed_.store(true, std::memory_order_relaxed);
      throw;
    }
  }

 private:
  using Counts = std::vector<std::atomic<std::int64_t>>;

  static std::int64_t at(const Counts& counts, std::int64_t i) {
    return counts[static_cast<std::size_t>(i)].load(std::memory_order_acquire);
  }
  static void drop(Counts& counts, std::int64_t i) {
    counts[static_cast<std::size_t>(i)].fetch_sub(1, std::memory_order_acq_rel);
  }
  /// False where another task failed, and what is waited for may never come.
  template <class Condition>
  [[nodiscard]] bool wait(const Condition& condition) const {
    while (!condition()) {
      if (failed_.load(std::memory_order_relaxed)) return false;
      std::this_thread::yield();
    }
    return !failed_.load(std::memory_order_relaxed);
  }

  std::int64_t slots_;
  Counts tiles_left_, chunks_left_, next_group_;
  std::atomic<bool> failed_{false};
};

}  // namespace

template <class T>
void CpuBackend<T>::begin_pass(PassMode mode) {
  mode_ = mode;
  next_row_ = 0;
  constexpr std::int64_t kPart = 1 << 16;
  const auto size = static_cast<std::int64_t>(sums_.size());
  run(divide_up(size, kPart), [&](std::int64_t part, int) {
    std::fill_n(sums_.data() + part * kPart, std::min(kPart, size - part * kPart), 0.0);
  });

  for (int v = 0; v < problem_.num_views(); ++v) {
    if (problem_.views[static_cast<std::size_t>(v)].weight <= 0) continue;
    ViewState& state = views_[static_cast<std::size_t>(v)];
    run(state.project_chunks, [&](std::int64_t chunk, int) {
      const std::int64_t j0 = chunk * kProjectColumns;
      const std::int64_t n = std::min(kProjectColumns, state.stride - j0);
      for (int r = 0; r < k_; ++r) {
        T* const from = state.input.data() + r * state.stride + j0;
        if (products_->round != nullptr) products_->round(from, n);
        const std::int64_t at = (chunk * k_ + r) * kProjectColumns;
        products_->pack_factor(from, n, state.packed.data() + at * products_->factor_size);
      }
    });
  }

  const std::vector<std::vector<bool>>& patterns = problem_.row_terms.patterns;
  for (int fit = 0; fit < problem_.num_fits(); ++fit) {
    const int rank = problem_.ranks[static_cast<std::size_t>(fit)];
    std::vector<double>& gram = grams_[static_cast<std::size_t>(fit)];
    std::vector<ScaledGram<T>>& scaled = scaled_grams_[static_cast<std::size_t>(fit)];
    std::vector<std::vector<double>> parts(views_.size());
    for (std::size_t v = 0; v < views_.size(); ++v) {
      if (problem_.views[v].weight <= 0) continue;
      parts[v].resize(gram.size());
      gram_of(views_[v], Factor::kInput, fit, parts[v].data());
    }
    const auto sum_into = [&](std::vector<double>& sum, const auto& present) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (std::size_t v = 0; v < parts.size(); ++v) {
        if (parts[v].empty() || !present(v)) continue;
        for (std::size_t i = 0; i < sum.size(); ++i)
          sum[i] += problem_.views[v].weight * parts[v][i];
      }
    };
    std::vector<double> part(gram.size());
    for (std::size_t p = 0; p < patterns.size(); ++p) {
      sum_into(part, [&](std::size_t v) { return patterns[p][v]; });
      scaled[p].assign(part.data(), rank, rank, problem_.l2_w);
    }
    sum_into(gram, [](std::size_t) { return true; });
    if (patterns.empty()) scaled[0].assign(gram.data(), rank, rank, problem_.l2_w);
  }
  set_group_diagonal();
}

template <class T>
typename CpuBackend<T>::Group CpuBackend<T>::group(const Block& block, std::int64_t index,
                                                   void* w_out) {
  const std::int64_t first = index * group_rows_;
  std::byte* const out = w_out == nullptr ? nullptr
                                          : static_cast<std::byte*>(w_out) +
                                                static_cast<std::size_t>(first * k_) * sizeof(T);
  return {block,
          first,
          std::min(group_rows_, block.rows - first),
          (next_row_ + first) % kPanelRows,
          slots_[static_cast<std::size_t>(index) % slots_.size()],
          out};
}

template <class T>
void CpuBackend<T>::process(const Block& block, void* w_out) {
  if (block.rows == 0) return;
  check_memory(block);
  const std::int64_t groups = divide_up(block.rows, group_rows_);
  const std::int64_t tiles = divide_up(std::min(block.rows, group_rows_), tile_rows_);
  // Encoding needs C for its loss, and no S; the row sums are one more chunk.
  const std::int64_t chunks = sum_chunks() + 1;
  Order order(groups, tiles, chunks, static_cast<std::int64_t>(slots_.size()));
  const auto start_tile = [&](std::int64_t index, std::int64_t tile, int thread) {
    order.tile(index, [&] {
      const Group at = group(block, index, w_out);
      const std::int64_t i0 = tile * tile_rows_;
      const std::int64_t i1 = std::min(at.rows, i0 + tile_rows_);
      if (i0 < i1) solve_rows(at, i0, i1, thread);
    });
  };
  // The first group's tiles, then again and again the next group's and the chunks of this one. The
  // last group may have fewer tiles: its others, and those of the group after it, are empty.
  check_interrupt(0);
  pool_.run(tiles + groups * (tiles + chunks), [&](std::int64_t task, int thread) {
    // A task that ends here is never done, and others may wait for it.
    order.guard([&] { check_interrupt(thread); });
    if (task < tiles) return start_tile(0, task, thread);
    const std::int64_t index = (task - tiles) / (tiles + chunks);
    const std::int64_t step = (task - tiles) % (tiles + chunks);
    if (step < tiles) {
      if (index + 1 < groups) start_tile(index + 1, step, thread);
      return;
    }
    const std::int64_t chunk = step - tiles;
    order.chunk(index, chunk, [&] {
      const Group at = group(block, index, w_out);
      if (chunk == 0) return sum_rows(at);
      sum_columns(at, chunk - 1, thread);
    });
  });
  next_row_ += block.rows;
}

template <class T>
std::int64_t CpuBackend<T>::sum_chunks() const {
  if (mode_ == PassMode::kResidual) return 0;
  std::int64_t chunks = w_views_[0].sum_chunks * layout_.num_c();
  if (mode_ == PassMode::kEncode) return chunks;
  for (const ViewState& state : views_) chunks += state.sum_chunks;
  return chunks;
}

template <class T>
StoredRows CpuBackend<T>::stored_rows(const MatrixView& rows, std::int64_t first,
                                      std::int64_t column) const {
  const auto size = static_cast<std::int64_t>(size_of(rows.dtype));
  return {static_cast<const char*>(rows.row(first)) + column * size, rows.row_stride * size};
}

template <class T>
void CpuBackend<T>::project_rows(const Group& group, std::int64_t i0, std::int64_t i1,
                                 Scratch& scratch) {
  const int rows = static_cast<int>(i1 - i0);
  // Row by row as the product leaves it, then by component as the solver reads it.
  T* const by_component = scratch.b.data();
  T* const by_row = by_component + tile_rows_ * k_;
  std::fill_n(by_row, rows * k_, T{0});
  for (int v = 0; v < problem_.num_views(); ++v) {
    const ViewSpec& spec = problem_.views[static_cast<std::size_t>(v)];
    if (spec.weight <= 0) continue;
    const ViewState& state = views_[static_cast<std::size_t>(v)];
    const MatrixView& data = group.block.views[static_cast<std::size_t>(v)];
    const auto project = products_->project[static_cast<int>(data.dtype)];
    const std::vector<int> missing = rows_without(v, group, i0, i1);
    if (std::ssize(missing) == i1 - i0) continue;
    // Whatever a view holds in rows that lack it is read, and then forgotten.
    std::vector<T> before;
    for (const int i : missing) before.insert(before.end(), by_row + i * k_, by_row + (i + 1) * k_);
    for (std::int64_t chunk = 0; chunk < state.project_chunks; ++chunk) {
      const std::int64_t j0 = chunk * kProjectColumns;
      for (int r0 = 0; r0 < k_; r0 += rank_block_) {
        const std::int64_t at = (chunk * k_ + r0) * kProjectColumns;
        project(stored_rows(data, group.first + i0, j0), rows,
                state.packed.data() + at * products_->factor_size, std::min(rank_block_, k_ - r0),
                std::min(kProjectColumns, state.columns - j0),
                static_cast<T>(spec.weight * spec.scale), by_row + r0, k_, scratch.product.data());
      }
    }
    for (std::size_t at = 0; at < missing.size(); ++at) {
      std::copy_n(before.data() + at * static_cast<std::size_t>(k_), k_, by_row + missing[at] * k_);
    }
  }
  order_rows(group, i0, i1, scratch);
  for (int at = 0; at < rows; ++at) {
    const T* const from = by_row + scratch.order[static_cast<std::size_t>(at)] * k_;
    for (int r = 0; r < k_; ++r) by_component[r * tile_rows_ + at] = from[r];
  }
}

template <class T>
void CpuBackend<T>::solve_rows(const Group& group, std::int64_t i0, std::int64_t i1, int thread) {
  Scratch& scratch = scratch_[static_cast<std::size_t>(thread)];
  const int rows = static_cast<int>(i1 - i0);
  project_rows(group, i0, i1, scratch);
  const T* const b = scratch.b.data();
  T* const w = group.slot.w.data() + i0;

  const std::int64_t values = row_value_count();
  double* const row_values = group.slot.row_values.data() + i0 * values;
  std::fill_n(row_values, rows * values, 0.0);
  if (mode_ == PassMode::kLinear) {
    for (int r = 0; r < k_; ++r) {
      T* const w_r = w + r * group_stride_;
      for (int at = 0; at < rows; ++at) {
        w_r[scratch.order[static_cast<std::size_t>(at)]] = b[r * tile_rows_ + at];
      }
      if (products_->round != nullptr) products_->round(w_r, rows);
    }
  } else {
    solve_tile(group, i0, i1, scratch);
  }
  for (int i = 0; i < rows; ++i) {
    T* const row = group.slot.w_rows.data() + (i0 + i) * w_views_[0].stride;
    for (int r = 0; r < k_; ++r) row[r] = w[r * group_stride_ + i];
    if (group.w_out != nullptr) {
      std::copy_n(row, k_, reinterpret_cast<T*>(group.w_out) + (i0 + i) * k_);
    }
  }
  if (mode_ == PassMode::kResidual) sum_residual(group, i0, i1, thread);
  weigh_rows(group, i0, i1);
}

template <class T>
void CpuBackend<T>::sum_residual(const Group& group, std::int64_t i0, std::int64_t i1, int thread) {
  T* const packed = scratch_[static_cast<std::size_t>(thread)].rows.data();
  const int rows = static_cast<int>(i1 - i0);
  const std::int64_t values = row_value_count();
  std::vector<double> squares(static_cast<std::size_t>(rows));
  for (int v = 0; v < problem_.num_views(); ++v) {
    const ViewState& state = views_[static_cast<std::size_t>(v)];
    const MatrixView& data = group.block.views[static_cast<std::size_t>(v)];
    const auto pack = kernels_.pack[static_cast<int>(data.dtype)];
    const T scale = static_cast<T>(problem_.views[static_cast<std::size_t>(v)].scale);
    for (std::int64_t chunk = 0; chunk < state.project_chunks; ++chunk) {
      const std::int64_t j0 = chunk * kProjectColumns;
      const std::int64_t n = std::min(kProjectColumns, state.columns - j0);
      const std::int64_t padded = round_up(n, kColumnAlign);
      const StoredRows stored = stored_rows(data, group.first + i0, j0);
      for (int i = 0; i < rows; ++i) {
        pack(stored.data + i * stored.stride, n, packed + i * kProjectColumns, padded);
      }
      for (int fit = 0; fit < problem_.num_fits(); ++fit) {
        const std::int64_t begin = first_component(fit);
        std::fill(squares.begin(), squares.end(), 0.0);
        kernels_.residual(packed, kProjectColumns, rows, scale,
                          group.slot.w.data() + begin * group_stride_ + i0, group_stride_,
                          state.solved.data() + begin * state.stride + j0, state.stride,
                          problem_.ranks[static_cast<std::size_t>(fit)], padded, squares.data());
        for (int i = 0; i < rows; ++i) {
          if (!problem_.row_terms.has(source_row(group, i0 + i), v)) continue;
          group.slot
              .row_values[static_cast<std::size_t>((i0 + i) * values + layout_.residual(fit, v))] +=
              squares[static_cast<std::size_t>(i)];
        }
      }
    }
  }
}

template <class T>
void CpuBackend<T>::sum_rows(const Group& group) {
  const std::int64_t values = row_value_count();
  for (std::int64_t i = 0; i < group.rows; ++i) {
    const double* const at = group.slot.row_values.data() + i * values;
    for (std::int64_t value = 0; value < values; ++value) sums_[value] += at[value];
  }
  sum_group_squares(group);
}

template <class T>
void CpuBackend<T>::sum_columns(const Group& group, std::int64_t chunk, int thread) {
  // Chunk number -> view and its chunk; the first are those of W with itself, which are the C.
  const std::int64_t w_chunks = w_views_[0].sum_chunks * layout_.num_c();
  const bool is_w = chunk < w_chunks;
  int v = 0;
  if (is_w) {
    const auto index = static_cast<int>(chunk / w_views_[0].sum_chunks);
    v = index == 0 ? kEveryRow : layout_.view_of_c(index);
    chunk %= w_views_[0].sum_chunks;
  } else {
    chunk -= w_chunks;
    while (chunk >= views_[static_cast<std::size_t>(v)].sum_chunks) {
      chunk -= views_[static_cast<std::size_t>(v++)].sum_chunks;
    }
  }
  const int index = layout_.c_index(v);
  ViewState& state =
      is_w ? w_views_[static_cast<std::size_t>(index)] : views_[static_cast<std::size_t>(v)];
  const double scale = is_w ? 1.0 : problem_.views[static_cast<std::size_t>(v)].scale;
  double* const sums = sums_.data() + (is_w ? layout_.c(index) : layout_.s(v));
  const MatrixView data =
      is_w ? MatrixView{group.slot.w_rows.data(), kComputeType<T>, group.rows, k_, state.stride}
           : group.block.views[static_cast<std::size_t>(v)].slice(group.first, group.rows);
  const bool all_rows = v == kEveryRow || index == 0;
  // W has the few bits of the rounded products already.
  const auto accumulate =
      (is_w ? kernels_.exact : *products_).accumulate[static_cast<int>(data.dtype)];

  const std::int64_t tile_size = k_ * kAccumulateColumns;
  T* const tile = state.panel.data() + chunk * tile_size;
  const std::int64_t j0 = chunk * kAccumulateColumns;
  const std::int64_t n = std::min(kAccumulateColumns, state.columns - j0);
  std::int64_t panel_row = group.panel_row;
  for (std::int64_t i = 0; i < group.rows;) {
    if (panel_row == 0) std::fill_n(tile, tile_size, T{0});
    std::int64_t rows = std::min(group.rows - i, kPanelRows - panel_row);
    const std::int64_t row = source_row(group, i);
    if (!all_rows) rows = problem_.row_terms.run(row, rows, v);
    if (all_rows || problem_.row_terms.has(row, v)) {
      accumulate(stored_rows(data, i, j0), static_cast<int>(rows), group.slot.w.data() + i,
                 group_stride_, k_, n, tile, kAccumulateColumns,
                 scratch_[static_cast<std::size_t>(thread)].product.data());
    }
    i += rows;
    panel_row = (panel_row + rows) % kPanelRows;
    if (panel_row == 0) close_panel(state, chunk, sums, scale);
  }
}

template <class T>
void CpuBackend<T>::close_panel(const ViewState& state, std::int64_t chunk, double* sums,
                                double scale) const {
  const std::int64_t j0 = chunk * kAccumulateColumns;
  const std::int64_t n = std::min(kAccumulateColumns, state.columns - j0);
  for (int r = 0; r < k_; ++r) {
    double* const to = sums + r * state.columns + j0;
    const T* const from = state.panel.data() + (chunk * k_ + r) * kAccumulateColumns;
    for (std::int64_t j = 0; j < n; ++j) to[j] += scale * static_cast<double>(from[j]);
  }
}

template <class T>
PassSums CpuBackend<T>::end_pass(Memory /*memory*/) {
  finish_pass();
  // Encoding leaves the S_v, which come last, at zero.
  const std::int64_t used = mode_ == PassMode::kEncode ? layout_.s(0) : layout_.size();
  return {{sums_.data(), static_cast<std::size_t>(used)}};
}

template <class T>
void CpuBackend<T>::finish_pass() {
  if (next_row_ % kPanelRows != 0 && mode_ != PassMode::kResidual) {
    const auto close = [&](ViewState& state, double* sums, double scale) {
      run(state.sum_chunks,
          [&](std::int64_t chunk, int) { close_panel(state, chunk, sums, scale); });
    };
    const int summed = mode_ == PassMode::kEncode ? 0 : problem_.num_views();
    for (int v = 0; v < summed; ++v) {
      close(views_[static_cast<std::size_t>(v)], sums_.data() + layout_.s(v),
            problem_.views[static_cast<std::size_t>(v)].scale);
    }
    for (int index = 0; index < layout_.num_c(); ++index) {
      close(w_views_[static_cast<std::size_t>(index)], sums_.data() + layout_.c(index), 1.0);
    }
  }
  next_row_ = 0;  // no panel is open
}

template <class T>
void CpuBackend<T>::scan(const Block& block, std::vector<ViewStats>& stats) {
  check_memory(block);
  std::vector<RowStats> by_row;
  // A few tiles a thread between two waits for all of them.
  const std::int64_t step = std::int64_t{4} * pool_.size() * tile_rows_;
  for (std::int64_t first = 0; first < block.rows; first += step) {
    const std::int64_t rows = std::min(step, block.rows - first);
    for (int v = 0; v < problem_.num_views(); ++v) {
      const MatrixView data = block.views[static_cast<std::size_t>(v)].slice(first, rows);
      by_row.assign(static_cast<std::size_t>(rows), RowStats{});
      run(divide_up(rows, tile_rows_), [&](std::int64_t task, int thread) {
        const std::int64_t i0 = task * tile_rows_;
        scan_rows(data, i0, std::min(rows, i0 + tile_rows_), by_row.data() + i0, thread);
      });
      const double scale = problem_.views[static_cast<std::size_t>(v)].scale;
      ViewStats& total = stats[static_cast<std::size_t>(v)];
      for (std::int64_t i = 0; i < rows; ++i) {
        const std::int64_t source_row = block.first_row + first + i;
        if (!problem_.row_terms.has(source_row, v)) continue;
        const RowStats& row = by_row[static_cast<std::size_t>(i)];
        total.sum_of_squares +=
            problem_.row_terms.weight_of(source_row) * row.sum_of_squares * scale * scale;
        total.minimum = std::min(total.minimum, row.minimum * scale);
        total.nonfinite += row.nonfinite;
      }
    }
  }
}

template <class T>
void CpuBackend<T>::row_squares(const Block& block, double* squares) {
  check_memory(block);
  std::fill_n(squares, block.rows, 0.0);
  std::vector<RowStats> by_row;
  for (int v = 0; v < problem_.num_views(); ++v) {
    const ViewSpec& spec = problem_.views[static_cast<std::size_t>(v)];
    if (spec.weight <= 0) continue;
    by_row.assign(static_cast<std::size_t>(block.rows), RowStats{});
    run(divide_up(block.rows, tile_rows_), [&](std::int64_t task, int thread) {
      const std::int64_t i0 = task * tile_rows_;
      scan_rows(block.views[static_cast<std::size_t>(v)], i0, std::min(block.rows, i0 + tile_rows_),
                by_row.data() + i0, thread);
    });
    for (std::int64_t i = 0; i < block.rows; ++i) {
      if (!problem_.row_terms.has(block.first_row + i, v)) continue;
      squares[i] += spec.weight * by_row[static_cast<std::size_t>(i)].sum_of_squares * spec.scale *
                    spec.scale;
    }
  }
}

template <class T>
void CpuBackend<T>::scan_rows(const MatrixView& data, std::int64_t i0, std::int64_t i1,
                              RowStats* by_row, int thread) const {
  T* const packed = scratch_[static_cast<std::size_t>(thread)].rows.data();
  const auto pack = kernels_.pack[static_cast<int>(data.dtype)];
  for (std::int64_t i = 0; i < i1 - i0; ++i) {
    for (std::int64_t j0 = 0; j0 < data.columns; j0 += kProjectColumns) {
      const std::int64_t n = std::min(kProjectColumns, data.columns - j0);
      pack(stored_rows(data, i0 + i, j0).data, n, packed, round_up(n, kColumnAlign));
      const RowStats part = kernels_.stats(packed, n);
      by_row[i].sum_of_squares += part.sum_of_squares;
      by_row[i].minimum = std::min(by_row[i].minimum, part.minimum);
      by_row[i].nonfinite += part.nonfinite;
    }
  }
}

template class CpuBackend<float>;
template class CpuBackend<double>;

}  // namespace cofactor::cpu
