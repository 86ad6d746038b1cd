// One pass over the rows: the first product and the row solves by row tile, then the second
// product by column chunk.

#include <algorithm>

#include "backend/cpu/cpu_backend.h"

namespace cofactor::cpu {

template <class T>
void CpuBackend<T>::begin_pass(PassMode mode) {
  mode_ = mode;
  next_row_ = 0;
  open_rows_ = 0;
  last_check_ = std::chrono::steady_clock::now();
  std::fill_n(sums_.data(), sums_.size(), 0.0);

  for (int v = 0; v < problem_.num_views(); ++v) {
    const ViewSpec& spec = problem_.views[static_cast<std::size_t>(v)];
    if (spec.weight <= 0) continue;
    ViewState& state = views_[static_cast<std::size_t>(v)];
    const T factor = static_cast<T>(spec.weight * spec.scale);
    run(state.project_chunks, [&](std::int64_t chunk, int) {
      const std::int64_t j0 = chunk * kProjectColumns;
      const std::int64_t n = std::min(kProjectColumns, state.stride - j0);
      for (int r = 0; r < k_; ++r) {
        const T* const from = state.input.data() + r * state.stride + j0;
        T* const to = state.scaled.data() + (chunk * k_ + r) * kProjectColumns;
        for (std::int64_t j = 0; j < n; ++j) to[j] = factor * from[j];
      }
    });
  }

  std::vector<double> part;
  for (int fit = 0; fit < problem_.num_fits(); ++fit) {
    std::vector<double>& gram = grams_[static_cast<std::size_t>(fit)];
    std::fill(gram.begin(), gram.end(), 0.0);
    part.resize(gram.size());
    for (int v = 0; v < problem_.num_views(); ++v) {
      const double weight = problem_.views[static_cast<std::size_t>(v)].weight;
      if (weight <= 0) continue;
      gram_of(views_[static_cast<std::size_t>(v)], Factor::kInput, fit, part.data());
      for (std::size_t i = 0; i < gram.size(); ++i) gram[i] += weight * part[i];
    }
    const int rank = problem_.ranks[static_cast<std::size_t>(fit)];
    scaled_grams_[static_cast<std::size_t>(fit)].assign(gram.data(), rank, rank, problem_.l2_w);
  }
}

template <class T>
void CpuBackend<T>::process(const Block& block, void* w_out) {
  std::int64_t first = 0;
  while (first < block.rows) {
    // Groups end on panel boundaries wherever the block allows it.
    const std::int64_t offset = next_row_ % kPanelRows;
    const std::int64_t rows = std::min(block.rows - first, group_rows_ - offset);
    std::byte* const out = w_out == nullptr ? nullptr
                                            : static_cast<std::byte*>(w_out) +
                                                  static_cast<std::size_t>(first * k_) * sizeof(T);
    process_group(block, first, rows, out);
    first += rows;
    next_row_ += rows;
  }
}

template <class T>
void CpuBackend<T>::process_group(const Block& block, std::int64_t first, std::int64_t rows,
                                  std::byte* w_out) {
  run(divide_up(rows, tile_rows_), [&](std::int64_t task, int thread) {
    const std::int64_t i0 = task * tile_rows_;
    const std::int64_t i1 = std::min(rows, i0 + tile_rows_);
    solve_rows(block, first, i0, i1, thread);
    if (mode_ == PassMode::kResidual) sum_residual(block, first, i0, i1, thread);
    if (w_out == nullptr) return;
    T* const out = reinterpret_cast<T*>(w_out);
    for (std::int64_t i = i0; i < i1; ++i) {
      std::copy_n(w_rows_.data() + i * w_view_.stride, k_, out + i * k_);
    }
  });

  // Row sums in row order, whatever the threads did.
  const std::int64_t values = row_value_count();
  for (std::int64_t i = 0; i < rows; ++i) {
    const double* at = row_values_.data() + i * values;
    for (std::int64_t value = 0; value < values; ++value) sums_[value] += at[value];
  }

  if (mode_ == PassMode::kResidual) return;
  std::vector<Segment> segments;
  for (std::int64_t row = 0; row < rows;) {
    const std::int64_t offset = (next_row_ + row) % kPanelRows;
    const std::int64_t count = std::min(rows - row, kPanelRows - offset);
    segments.push_back({row, count, offset});
    row += count;
  }
  std::int64_t view_chunks = 0;
  for (const ViewState& state : views_) view_chunks += state.sum_chunks;
  // Encoding needs C for its loss, and no S.
  const std::int64_t skipped = mode_ == PassMode::kEncode ? view_chunks : 0;
  const bool ends_open = (next_row_ + rows) % kPanelRows != 0;
  if (ends_open && w_view_.open_panel.size() == 0) {
    const auto allocate = [&](ViewState& state) {
      state.open_panel =
          AlignedBuffer<T>(static_cast<std::size_t>(k_ * state.sum_chunks * kAccumulateColumns));
    };
    std::for_each(views_.begin(), views_.end(), allocate);
    allocate(w_view_);
  }
  run(view_chunks + w_view_.sum_chunks - skipped, [&](std::int64_t task, int thread) {
    sum_columns(block, first, segments, task + skipped, thread);
  });
  open_rows_ = (next_row_ + rows) % kPanelRows;
}

template <class T>
void CpuBackend<T>::pack_rows(const MatrixView& rows, std::int64_t i0, std::int64_t i1,
                              std::int64_t column, std::int64_t n, T* packed,
                              std::int64_t stride) const {
  const auto pack = kernels_.pack[static_cast<int>(rows.dtype)];
  const std::int64_t padded = round_up(n, kColumnAlign);
  const auto bytes = static_cast<std::int64_t>(size_of(rows.dtype));
  for (std::int64_t i = i0; i < i1; ++i) {
    const auto* const from = static_cast<const std::byte*>(rows.row(i)) + column * bytes;
    pack(from, n, packed + (i - i0) * stride, padded);
  }
}

template <class T>
StoredRows<T> CpuBackend<T>::stored_rows(const MatrixView& rows, std::int64_t first,
                                         std::int64_t column) const {
  const auto size = static_cast<std::int64_t>(size_of(rows.dtype));
  return {static_cast<const char*>(rows.row(first)) + column * size, rows.row_stride * size, size,
          kernels_.pack[static_cast<int>(rows.dtype)]};
}

template <class T>
void CpuBackend<T>::solve_rows(const Block& block, std::int64_t first, std::int64_t i0,
                               std::int64_t i1, int thread) {
  Scratch& scratch = scratch_[static_cast<std::size_t>(thread)];
  const int rows = static_cast<int>(i1 - i0);
  T* const partial = scratch.sums.data();
  std::fill_n(partial, rows * k_ * kernels_.lanes, T{0});
  for (int v = 0; v < problem_.num_views(); ++v) {
    if (problem_.views[static_cast<std::size_t>(v)].weight <= 0) continue;
    const ViewState& state = views_[static_cast<std::size_t>(v)];
    const MatrixView& data = block.views[static_cast<std::size_t>(v)];
    for (std::int64_t chunk = 0; chunk < state.project_chunks; ++chunk) {
      const std::int64_t j0 = chunk * kProjectColumns;
      const std::int64_t n = std::min(kProjectColumns, state.columns - j0);
      kernels_.project(stored_rows(data, first + i0, j0), rows,
                       state.scaled.data() + chunk * k_ * kProjectColumns, kProjectColumns, k_, n,
                       partial, scratch.packed.data());
    }
  }
  T* const b = b_.data() + i0;
  T* const w = w_.data() + i0;
  kernels_.project_sum(partial, rows, k_, b, group_stride_);

  const std::int64_t values = row_value_count();
  std::fill_n(row_values_.data() + i0 * values, rows * values, 0.0);
  if (mode_ == PassMode::kLinear) {
    for (int r = 0; r < k_; ++r) std::copy_n(b + r * group_stride_, rows, w + r * group_stride_);
  } else {
    const auto* const diagonal = static_cast<const T*>(block.row_diagonal);
    if (diagonal != nullptr) {
      // The solver wants components along the stride, as everything else of a group.
      for (int i = 0; i < rows; ++i) {
        for (int r = 0; r < k_; ++r) {
          partial[r * rows + i] = diagonal[(first + i0 + i) * k_ + r];
        }
      }
    }
    for (int fit = 0; fit < problem_.num_fits(); ++fit) {
      const int begin = first_component(fit);
      NnlsArgs<T> args;
      args.count = rows;
      args.b = b + begin * group_stride_;
      args.ldb = group_stride_;
      args.shift = static_cast<T>(problem_.l1_w);
      args.diagonal = diagonal == nullptr ? nullptr : partial + begin * rows;
      args.ld_diagonal = rows;
      args.x = w + begin * group_stride_;
      args.ldx = group_stride_;
      solve_columns(args, scaled_grams_[static_cast<std::size_t>(fit)], thread);
      for (int r = begin; r < begin + problem_.ranks[static_cast<std::size_t>(fit)]; ++r) {
        for (int i = 0; i < rows; ++i) {
          double* const at = row_values_.data() + (i0 + i) * values + layout_.row_sums(fit);
          const double value = w[r * group_stride_ + i];
          at[0] += value * static_cast<double>(b[r * group_stride_ + i]);
          at[1] += value;
        }
      }
    }
  }
  for (int i = 0; i < rows; ++i) {
    T* const row = w_rows_.data() + (i0 + i) * w_view_.stride;
    for (int r = 0; r < k_; ++r) row[r] = w[r * group_stride_ + i];
  }
}

template <class T>
void CpuBackend<T>::sum_residual(const Block& block, std::int64_t first, std::int64_t i0,
                                 std::int64_t i1, int thread) {
  T* const packed = scratch_[static_cast<std::size_t>(thread)].packed.data();
  const int rows = static_cast<int>(i1 - i0);
  const std::int64_t values = row_value_count();
  std::vector<double> squares(static_cast<std::size_t>(rows));
  for (int v = 0; v < problem_.num_views(); ++v) {
    const ViewState& state = views_[static_cast<std::size_t>(v)];
    const T scale = static_cast<T>(problem_.views[static_cast<std::size_t>(v)].scale);
    for (std::int64_t chunk = 0; chunk < state.project_chunks; ++chunk) {
      const std::int64_t j0 = chunk * kProjectColumns;
      const std::int64_t n = std::min(kProjectColumns, state.columns - j0);
      pack_rows(block.views[static_cast<std::size_t>(v)], first + i0, first + i1, j0, n, packed,
                kProjectColumns);
      for (int fit = 0; fit < problem_.num_fits(); ++fit) {
        const std::int64_t begin = first_component(fit);
        std::fill(squares.begin(), squares.end(), 0.0);
        kernels_.residual(packed, kProjectColumns, rows, scale,
                          w_.data() + begin * group_stride_ + i0, group_stride_,
                          state.solved.data() + begin * state.stride + j0, state.stride,
                          problem_.ranks[static_cast<std::size_t>(fit)], round_up(n, kColumnAlign),
                          squares.data());
        for (int i = 0; i < rows; ++i) {
          row_values_[(i0 + i) * values + layout_.residual(fit, v)] +=
              squares[static_cast<std::size_t>(i)];
        }
      }
    }
  }
}

template <class T>
void CpuBackend<T>::sum_columns(const Block& block, std::int64_t first,
                                const std::vector<Segment>& segments, std::int64_t task,
                                int thread) {
  // Task number -> view and chunk; the last chunks are those of W with itself, which is C.
  int v = 0;
  while (v < problem_.num_views() && task >= views_[static_cast<std::size_t>(v)].sum_chunks) {
    task -= views_[static_cast<std::size_t>(v++)].sum_chunks;
  }
  const bool is_w = v == problem_.num_views();
  ViewState& state = is_w ? w_view_ : views_[static_cast<std::size_t>(v)];
  const double scale = is_w ? 1.0 : problem_.views[static_cast<std::size_t>(v)].scale;
  double* const sums = sums_.data() + (is_w ? layout_.c(0) : layout_.s(v));
  constexpr DType kComputeType = sizeof(T) == 4 ? DType::kFloat32 : DType::kFloat64;
  const MatrixView data =
      is_w ? MatrixView{w_rows_.data(), kComputeType, group_rows_, k_, w_view_.stride}
           : block.views[static_cast<std::size_t>(v)].slice(first, block.rows - first);

  Scratch& scratch = scratch_[static_cast<std::size_t>(thread)];
  T* const tile = scratch.tile.data();
  const std::int64_t tile_size = k_ * kAccumulateColumns;
  const std::int64_t j0 = task * kAccumulateColumns;
  const std::int64_t n = std::min(kAccumulateColumns, state.columns - j0);
  for (const Segment& segment : segments) {
    if (segment.offset == 0) {
      std::fill_n(tile, tile_size, T{0});
    } else {
      std::copy_n(state.open_panel.data() + task * tile_size, tile_size, tile);
    }
    const std::int64_t end = segment.first + segment.rows;
    for (std::int64_t i = segment.first; i < end; i += kAccumulateRows) {
      const std::int64_t i1 = std::min<std::int64_t>(end, i + kAccumulateRows);
      kernels_.accumulate(stored_rows(data, i, j0), static_cast<int>(i1 - i), w_.data() + i,
                          group_stride_, k_, n, tile, kAccumulateColumns, scratch.packed.data());
    }
    if (segment.offset + segment.rows == kPanelRows) {
      close_panel(task, tile, sums, state.columns, scale);
    } else {
      std::copy_n(tile, tile_size, state.open_panel.data() + task * tile_size);
    }
  }
}

template <class T>
void CpuBackend<T>::close_panel(std::int64_t chunk, const T* tile, double* sums,
                                std::int64_t columns, double scale) const {
  const std::int64_t j0 = chunk * kAccumulateColumns;
  const std::int64_t n = std::min(kAccumulateColumns, columns - j0);
  for (int r = 0; r < k_; ++r) {
    double* const to = sums + r * columns + j0;
    const T* const from = tile + r * kAccumulateColumns;
    for (std::int64_t j = 0; j < n; ++j) to[j] += scale * static_cast<double>(from[j]);
  }
}

template <class T>
std::span<double> CpuBackend<T>::end_pass() {
  if (open_rows_ != 0) {
    const auto close = [&](ViewState& state, double* sums, double scale) {
      run(state.sum_chunks, [&](std::int64_t chunk, int) {
        close_panel(chunk, state.open_panel.data() + chunk * k_ * kAccumulateColumns, sums,
                    state.columns, scale);
      });
    };
    const int summed = mode_ == PassMode::kEncode ? 0 : problem_.num_views();
    for (int v = 0; v < summed; ++v) {
      close(views_[static_cast<std::size_t>(v)], sums_.data() + layout_.s(v),
            problem_.views[static_cast<std::size_t>(v)].scale);
    }
    close(w_view_, sums_.data() + layout_.c(0), 1.0);
    open_rows_ = 0;
  }
  // Without missing views every view has the same C.
  for (int index = 1; index < problem_.num_c(); ++index) {
    std::copy_n(sums_.data() + layout_.c(0), k_ * k_, sums_.data() + layout_.c(index));
  }
  // Encoding leaves the S_v, which come last, at zero.
  const std::int64_t used = mode_ == PassMode::kEncode ? layout_.s(0) : layout_.size();
  return {sums_.data(), static_cast<std::size_t>(used)};
}

template <class T>
void CpuBackend<T>::scan(const Block& block, std::vector<ViewStats>& stats) {
  std::vector<RowStats> by_row;
  for (std::int64_t first = 0; first < block.rows; first += group_rows_) {
    const std::int64_t rows = std::min(group_rows_, block.rows - first);
    for (int v = 0; v < problem_.num_views(); ++v) {
      const MatrixView data = block.views[static_cast<std::size_t>(v)].slice(first, rows);
      by_row.assign(static_cast<std::size_t>(rows), RowStats{});
      run(divide_up(rows, tile_rows_), [&](std::int64_t task, int thread) {
        const std::int64_t i0 = task * tile_rows_;
        scan_rows(data, i0, std::min(rows, i0 + tile_rows_), by_row.data() + i0, thread);
      });
      const double scale = problem_.views[static_cast<std::size_t>(v)].scale;
      ViewStats& total = stats[static_cast<std::size_t>(v)];
      for (const RowStats& row : by_row) {
        total.sum_of_squares += row.sum_of_squares * scale * scale;
        total.minimum = std::min(total.minimum, row.minimum * scale);
        total.nonfinite += row.nonfinite;
      }
    }
  }
}

template <class T>
void CpuBackend<T>::scan_rows(const MatrixView& data, std::int64_t i0, std::int64_t i1,
                              RowStats* by_row, int thread) const {
  T* const packed = scratch_[static_cast<std::size_t>(thread)].packed.data();
  for (std::int64_t j0 = 0; j0 < data.columns; j0 += kProjectColumns) {
    const std::int64_t n = std::min(kProjectColumns, data.columns - j0);
    pack_rows(data, i0, i1, j0, n, packed, kProjectColumns);
    for (std::int64_t i = 0; i < i1 - i0; ++i) {
      const RowStats part = kernels_.stats(packed + i * kProjectColumns, n);
      by_row[i].sum_of_squares += part.sum_of_squares;
      by_row[i].minimum = std::min(by_row[i].minimum, part.minimum);
      by_row[i].nonfinite += part.nonfinite;
    }
  }
}

template class CpuBackend<float>;
template class CpuBackend<double>;

}  // namespace cofactor::cpu
