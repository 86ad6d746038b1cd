#pragma once

// One pass over rows in the device's memory.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "backend/cuda/kernels/factors.h"
#include "backend/cuda/kernels/parts.h"
#include "backend/cuda/kernels/residual.h"
#include "backend/cuda/kernels/row_totals.h"
#include "backend/cuda/kernels/rows.h"

namespace cofactor::cuda {

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::begin_pass(PassMode mode) {
  const auto active = runtime_.activate();
  mode_ = mode;
  next_row_ = 0;
  waiting_rows_ = 0;
  timings_.clear();
  state_of_sums_ = Sums::kOpen;
  has_all_sums_ = false;
  runtime_.clear(sums_.data(), sums_.bytes(), runtime_.compute());
  runtime_.clear(row_lanes_.data(), row_lanes_.bytes(), runtime_.compute());
  for (std::size_t v = 0; v < views_.size(); ++v) {
    const ViewState& state = views_[v];
    if (problem_.views[v].weight <= 0) continue;
    if constexpr (sizeof(T) == 4) {
      if (rounded_) {
        launch({divide_up(state.input.size(), std::int64_t{RoundFactor::kThreads})},
               RoundFactor{state.input.data(), state.input.size()});
      }
      if (state.packing) {
        views_[v].packed.pack(runtime_, state.input.data(), state.stride, 1, state.columns,
                              rounded_);
      }
    }
    for (int fit = 0; fit < problem_.num_fits(); ++fit) {
      gram_of(state, Factor::kInput, fit,
              grams_[static_cast<std::size_t>(fit)].data() +
                  static_cast<std::int64_t>(v) * rank(fit) * rank(fit));
    }
  }
  for (std::vector<double>& gram : host_grams_) gram.clear();
  if (mode == PassMode::kLinear) return;
  for (int fit = 0; fit < problem_.num_fits(); ++fit) {
    const auto f = static_cast<std::size_t>(fit);
    row_grams_[f].assign(runtime_, grams_[f].data(), rank(fit), problem_.num_views(),
                         std::int64_t{rank(fit)} * rank(fit), pattern_weights_.data(),
                         problem_.l2_w);
  }
  if (!problem_.penalises_groups()) return;
  const std::vector<double> diagonal = norms_.diagonal();
  const std::vector<T> numbers(diagonal.begin(), diagonal.end());
  group_diagonal_.reserve(runtime_, std::ssize(numbers));
  runtime_.copy_in(group_diagonal_.data(), numbers.data(), numbers.size() * sizeof(T),
                   runtime_.compute());
}

template <class Runtime, class T>
ViewRows DeviceBackend<Runtime, T>::rows_of(const MatrixView& view, std::size_t v,
                                            std::int64_t source_row) const {
  const auto size = static_cast<int>(size_of(view.dtype));
  const Array<std::uint8_t>& present = views_[v].present;
  return {make_lines(view.data, view.row_stride * size, size), view.dtype, view.rows, view.columns,
          present.size() > 0 ? present.data() + source_row : nullptr};
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::process(const Block& block, void* w_out) {
  if (block.rows == 0) return;
  check_memory(block);
  const auto active = runtime_.activate();
  if (w_out == nullptr && is_whole(block)) {
    process_again(block);
    return;
  }
  process_chunks(block, w_out, [this] { check_interrupt(); });
  // The caller has its W when this returns.
  if (w_out != nullptr) runtime_.synchronise(runtime_.compute());
}

/// Whether a block is all of a pass that later passes may repeat, with other factors alone.
template <class Runtime, class T>
bool DeviceBackend<Runtime, T>::is_whole(const Block& block) const {
  // A graph of more takes longer to make than launches would.
  constexpr std::int64_t kMostChunks = 1024;
  return options_.graphs && mode_ == PassMode::kFit && next_row_ == 0 &&
         block.rows == problem_.rows && !chunks_.measures() &&
         block.rows <= kMostChunks * chunks_.chosen() * kPanelRows;
}

/// The first time as any block. If the next pass has the same rows in the same places, what it
/// gives the device is recorded, and from then on given at once.
template <class Runtime, class T>
void DeviceBackend<Runtime, T>::process_again(const Block& block) {
  if (!recorded_ || !recorded_->is_of(block, rounded_)) {
    // A pass that was stopped may have left the graph at work.
    if (recorded_) runtime_.synchronise(runtime_.compute());
    recorded_ = Recording<Runtime>{.block = block, .rounded = rounded_};
    process_chunks(block, nullptr, [this] { check_interrupt(); });
    return;
  }
  // And not while work is recorded: whatever Python does then may reach for the device.
  check_interrupt();
  if (!recorded_->graph) {
    auto graph = runtime_.capture([&] { process_chunks(block, nullptr, [] {}); });
    recorded_->graph.emplace(std::move(graph));
  }
  next_row_ = block.rows;
  waiting_rows_ = block.rows % kPanelRows;
  waiting_source_row_ = block.first_row + block.rows - waiting_rows_;
  runtime_.replay(*recorded_->graph, runtime_.compute());
}

template <class Runtime, class T>
template <class Check>
void DeviceBackend<Runtime, T>::process_chunks(const Block& block, void* w_out,
                                               const Check& check) {
  for (std::int64_t first = 0; first < block.rows;) {
    check();
    const std::int64_t panels = chunks_.next((block.rows - first) / kPanelRows);
    // Chunks end where panels do.
    const std::int64_t rows =
        std::min(block.rows - first, panels * kPanelRows - next_row_ % kPanelRows);
    const bool timed = chunks_.measures() && mode_ == PassMode::kFit && rows == panels * kPanelRows;
    if (timed) {
      timings_.push_back({panels, runtime_.make_event(), runtime_.make_event()});
      runtime_.record(timings_.back().begin, runtime_.compute());
    }
    process_chunk(block, first, rows,
                  w_out == nullptr ? nullptr : static_cast<T*>(w_out) + first * k_);
    if (timed) runtime_.record(timings_.back().end, runtime_.compute());
    first += rows;
    next_row_ += rows;
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::process_chunk(const Block& block, std::int64_t first,
                                              std::int64_t rows, T* w_out) {
  const std::int64_t source_row = block.first_row + first;
  std::vector<ViewRows> views;
  for (std::size_t v = 0; v < views_.size(); ++v) {
    views.push_back(rows_of(block.views[v].slice(first, rows), v, source_row));
  }
  project(views, rows);
  solve_rows(source_row, rows);
  finish_rows(source_row, rows);
  if (w_out != nullptr) {
    runtime_.copy_out(w_out, w_.data(), static_cast<std::size_t>(rows * k_) * sizeof(T),
                      runtime_.compute());
  }
  if (mode_ == PassMode::kResidual) sum_residual(views, source_row, rows);
  add_rows(source_row, rows);
  if (mode_ != PassMode::kResidual) sum_columns(block, first, rows);
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::project(const std::vector<ViewRows>& views, std::int64_t rows) {
  const std::int64_t slice_stride = rows * k_;
  if (slices_ == 0) {
    runtime_.clear(b_.data(), static_cast<std::size_t>(slice_stride) * sizeof(T),
                   runtime_.compute());
  }
  for (std::size_t v = 0; v < views.size(); ++v) {
    const ViewSpec& spec = problem_.views[v];
    if (spec.weight <= 0) continue;
    ProjectArguments<T> arguments;
    arguments.x = views[v].lines;
    arguments.present = views[v].present;
    arguments.rows = rows;
    arguments.columns = views[v].columns;
    arguments.factor = static_cast<T>(spec.weight * spec.scale);
    arguments.components = k_;
    arguments.b = b_.data() + views_[v].first_slice * slice_stride;
    arguments.slice_stride = slice_stride;
    arguments.row_stride = k_;
    if constexpr (sizeof(T) == 4) {
      if (views_[v].packing) {
        views_[v].packed.project(runtime_, arguments);
        continue;
      }
    }
    project_plain(runtime_, views[v].dtype, arguments, views_[v].input.data(), views_[v].stride);
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::solve_rows(std::int64_t source_row, std::int64_t rows) {
  const std::int64_t size = rows * k_;
  const Parts<T> parts{b_.data(), static_cast<int>(std::max(slices_, std::int64_t{1})), size};
  if (mode_ == PassMode::kLinear) {
    launch({divide_up(size, std::int64_t{AddParts<T>::kThreads})},
           AddParts<T>{parts, size, w_.data()});
    return;
  }
  for (int fit = 0; fit < problem_.num_fits(); ++fit) {
    NnlsProblem<T> problem;
    problem.rows = rows;
    if (pattern_.size() > 0) problem.pattern = pattern_.data() + source_row;
    if (problem_.penalises_groups()) {
      problem.diagonal = group_diagonal_.data() + first_component(fit);
      problem.ld_diagonal = k_;
      problem.group = group_.data() + source_row;
    }
    problem.shift = static_cast<T>(problem_.l1_w);
    // The sum of all slices takes the place of the first.
    problem.b = b_.data() + first_component(fit);
    problem.ld_b = k_;
    problem.x = w_.data() + first_component(fit);
    problem.ld_x = k_;
    solver_.solve(runtime_, row_grams_[static_cast<std::size_t>(fit)], problem,
                  {parts.data + first_component(fit), parts.count, parts.stride});
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::finish_rows(std::int64_t source_row, std::int64_t rows) {
  WeighRows<T> kernel;
  kernel.w = w_.data();
  kernel.b = mode_ == PassMode::kLinear ? nullptr : b_.data();
  kernel.rows = rows;
  kernel.components = k_;
  kernel.fits = fits_.data();
  kernel.num_fits = problem_.num_fits();
  kernel.rounded = rounded_;
  if (weighs_rows()) {
    kernel.weight = weight_.data() + source_row;
    kernel.weighted = weighted_.data();
  }
  kernel.values = values_.data();
  kernel.value_stride = chunk_rows_;
  launch({divide_up(rows, std::int64_t{WeighRows<T>::kRows})}, kernel);
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::sum_residual(const std::vector<ViewRows>& views,
                                             std::int64_t source_row, std::int64_t rows) {
  for (std::size_t v = 0; v < views.size(); ++v) {
    const std::int64_t slices = divide_up(views[v].columns, std::int64_t{kSliceColumns});
    for (int fit = 0; fit < problem_.num_fits(); ++fit) {
      const auto launch_for = [&](auto stored) {
        using Kernel = Residual<T, decltype(stored)>;
        Kernel kernel;
        kernel.x = views[v].lines;
        kernel.present = views[v].present;
        kernel.rows = rows;
        kernel.columns = views[v].columns;
        kernel.scale = static_cast<T>(problem_.views[v].scale);
        kernel.components = rank(fit);
        kernel.w = w_.data() + first_component(fit);
        kernel.w_stride = k_;
        kernel.h = views_[v].solved.data() + first_component(fit) * views_[v].stride;
        kernel.h_stride = views_[v].stride;
        kernel.squares = squares_.data();
        kernel.slice_stride = rows;
        launch({divide_up(rows, std::int64_t{Kernel::kRows}), slices}, kernel,
               Kernel::shared_bytes());
      };
      if (const auto packing = packing_of(views[v].dtype, false)) {
        with_packing(*packing, launch_for);
      } else {
        with_plain_dtype<float>(views[v].dtype, launch_for);
      }
      PutSquares put;
      put.squares = squares_.data();
      put.slices = static_cast<int>(slices);
      put.slice_stride = rows;
      put.rows = rows;
      if (weighs_rows()) put.weight = weight_.data() + source_row;
      put.values = values_.data() + layout_.residual(fit, static_cast<int>(v)) * chunk_rows_;
      launch({divide_up(rows, std::int64_t{PutSquares::kThreads})}, put);
    }
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::add_rows(std::int64_t source_row, std::int64_t rows) {
  // Residuals come behind the sums of all fits.
  const std::int64_t used =
      mode_ == PassMode::kResidual ? layout_.group_squares() : layout_.residual(0, 0);
  launch({used}, SumRowValues{next_row_, rows, values_.data(), chunk_rows_, row_lanes_.data()});
  if (!problem_.penalises_groups() || mode_ == PassMode::kLinear) return;
  SumGroupSquares<T> kernel;
  kernel.rows = rows;
  kernel.components = k_;
  kernel.w = w_.data();
  kernel.ld_w = k_;
  if (weighs_rows()) kernel.weight = weight_.data() + source_row;
  kernel.group = group_.data() + source_row;
  // A warp for every group, or as many as the device runs at once.
  kernel.shares = static_cast<int>(std::min<std::int64_t>(
      problem_.row_terms.num_groups, std::int64_t{64} * runtime_.limits().multiprocessors));
  kernel.squares = sums_.data() + layout_.group_squares();
  launch({divide_up(kernel.shares, SumGroupSquares<T>::kWarps), divide_up(k_, kWarpSize)}, kernel);
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::sum_columns(const Block& block, std::int64_t first,
                                            std::int64_t rows) {
  std::int64_t at = 0;
  if (waiting_rows_ > 0) {
    at = std::min(rows, kPanelRows - waiting_rows_);
    wait_for_panel(block, first, 0, at);
    if (waiting_rows_ < kPanelRows) return;
    sum_open_panel();
  }
  const std::int64_t whole = (rows - at) / kPanelRows * kPanelRows;
  if (whole > 0) {
    const std::int64_t source_row = block.first_row + first + at;
    std::vector<ViewRows> views;
    for (std::size_t v = 0; v < views_.size(); ++v) {
      views.push_back(rows_of(block.views[v].slice(first + at, whole), v, source_row));
    }
    const T* const w = w_.data() + at * k_;
    sum_panels({views, w, weighs_rows() ? weighted_.data() + at * k_ : w, whole, source_row});
    at += whole;
  }
  if (at < rows) wait_for_panel(block, first, at, rows - at);
}

/// Copies rows of a chunk, from `at` on, behind those of the open panel.
template <class Runtime, class T>
void DeviceBackend<Runtime, T>::wait_for_panel(const Block& block, std::int64_t first,
                                               std::int64_t at, std::int64_t rows) {
  if (waiting_rows_ == 0) waiting_source_row_ = block.first_row + first + at;
  for (std::size_t v = 0; mode_ != PassMode::kEncode && v < views_.size(); ++v) {
    const ViewState& state = views_[v];
    const MatrixView& from = block.views[v];
    const std::size_t size = size_of(from.dtype);
    runtime_.copy_rows(state.waiting.data() + waiting_rows_ * state.waiting_stride,
                       static_cast<std::size_t>(state.waiting_stride), from.row(first + at),
                       static_cast<std::size_t>(from.row_stride) * size,
                       static_cast<std::size_t>(state.columns) * size, rows, runtime_.compute());
  }
  const auto bytes = static_cast<std::size_t>(rows * k_) * sizeof(T);
  runtime_.copy(waiting_w_.data() + waiting_rows_ * k_, w_.data() + at * k_, bytes,
                runtime_.compute());
  if (weighs_rows()) {
    runtime_.copy(waiting_weighted_.data() + waiting_rows_ * k_, weighted_.data() + at * k_, bytes,
                  runtime_.compute());
  }
  waiting_rows_ += rows;
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::sum_open_panel() {
  std::vector<ViewRows> views;
  for (std::size_t v = 0; v < views_.size(); ++v) {
    const ViewState& state = views_[v];
    const DType dtype = problem_.views[v].dtype;
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    views.push_back(rows_of({state.waiting.data(), dtype, waiting_rows_, state.columns,
                             state.waiting_stride / size, Memory::kDevice},
                            v, waiting_source_row_));
  }
  sum_panels({views, waiting_w_.data(),
              weighs_rows() ? waiting_weighted_.data() : waiting_w_.data(), waiting_rows_,
              waiting_source_row_});
  waiting_rows_ = 0;
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::multiply_rows(std::size_t v,
                                              const AccumulateArguments<T>& arguments,
                                              const SumRows& rows) {
  if constexpr (sizeof(T) == 4) {
    if (const auto packing = views_[v].packing) {
      packed_w_[static_cast<std::size_t>(row_packing(*packing))].accumulate(runtime_, *packing,
                                                                            arguments);
      return;
    }
  }
  accumulate_plain(runtime_, rows.views[v].dtype, arguments, rows.weighted);
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::sum_panels(const SumRows& rows) {
  AccumulateArguments<T> arguments;
  arguments.rows = rows.rows;
  arguments.components = k_;
  arguments.sums = panels_.data();
  const auto set_columns = [&](std::int64_t columns) {
    arguments.columns = columns;
    arguments.component_stride = columns;
    arguments.panel_stride = k_ * columns;
  };
  if (mode_ != PassMode::kEncode) {
    if constexpr (sizeof(T) == 4) {
      for (int number = 0; number < kNumRowPackings; ++number) {
        const auto packing = static_cast<Packing>(number);
        const bool used = std::ranges::any_of(views_, [&](const ViewState& state) {
          return state.packing && row_packing(*state.packing) == packing;
        });
        if (!used) continue;
        packed_w_[static_cast<std::size_t>(number)].pack(runtime_, rows.weighted, 1, k_, rows.rows,
                                                         rounded_);
      }
    }
    for (std::size_t v = 0; v < views_.size(); ++v) {
      arguments.x = rows.views[v].lines;
      arguments.present = rows.views[v].present;
      set_columns(views_[v].columns);
      multiply_rows(v, arguments, rows);
      fold_panels(runtime_, arguments, problem_.views[v].scale,
                  sums_.data() + layout_.s(static_cast<int>(v)));
    }
  }
  // W as data gives C, of all rows and of those that have a view.
  constexpr int kSize = static_cast<int>(sizeof(T));
  arguments.x = make_lines(rows.w, std::int64_t{k_} * kSize, kSize);
  set_columns(k_);
  for (int index = 0; index < layout_.num_c(); ++index) {
    arguments.present = nullptr;
    if (index > 0) {
      const auto v = static_cast<std::size_t>(layout_.view_of_c(index));
      arguments.present = views_[v].present.data() + rows.source_row;
    }
    accumulate_plain(runtime_, sizeof(T) == 4 ? DType::kFloat32 : DType::kFloat64, arguments,
                     rows.weighted);
    fold_panels(runtime_, arguments, 1.0, sums_.data() + layout_.c(index));
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::close_sums() {
  if (waiting_rows_ > 0) sum_open_panel();
  launch({layout_.group_squares()}, AddRowLanes{row_lanes_.data(), sums_.data()});
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::download_sums(std::int64_t first, std::int64_t end) const {
  runtime_.copy_out(host_sums_.data() + first, sums_.data() + first,
                    static_cast<std::size_t>(end - first) * sizeof(double), runtime_.compute());
}

template <class Runtime, class T>
PassSums DeviceBackend<Runtime, T>::end_pass(Memory memory) {
  const auto active = runtime_.activate();
  close_sums();
  // Encoding leaves the S_v, which come last, at zero.
  const std::int64_t used = mode_ == PassMode::kEncode ? layout_.s(0) : layout_.size();
  const bool here = memory == Memory::kDevice;
  if (!here) download_sums(0, used);
  // From any stream, and from the host, they are there.
  runtime_.synchronise(runtime_.compute());
  state_of_sums_ = here ? Sums::kOnDevice : Sums::kOnHost;
  const std::span<double> numbers(here ? sums_.data() : host_sums_.data(),
                                  static_cast<std::size_t>(used));
  return {numbers, memory, here ? runtime_.device() : -1};
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::finish_pass() {
  const auto active = runtime_.activate();
  if (state_of_sums_ == Sums::kOpen) close_sums();
  // The host's S_v are copied once they are asked for.
  const std::int64_t small = layout_.s(0);
  if (state_of_sums_ == Sums::kOnHost) {
    const std::int64_t used = mode_ == PassMode::kEncode ? small : layout_.size();
    runtime_.copy_in(sums_.data(), host_sums_.data(),
                     static_cast<std::size_t>(used) * sizeof(double), runtime_.compute());
  } else {
    download_sums(0, small);
  }
  runtime_.synchronise(runtime_.compute());
  has_all_sums_ = state_of_sums_ == Sums::kOnHost && mode_ != PassMode::kEncode;
  state_of_sums_ = Sums::kOnDevice;
  choose_chunk();
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::choose_chunk() {
  for (const Timing& timing : timings_) {
    chunks_.add(timing.panels, runtime_.elapsed(timing.begin, timing.end));
  }
  timings_.clear();
  chunks_.decide();
}

}  // namespace cofactor::cuda
