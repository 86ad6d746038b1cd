#pragma once

// What the backend holds, and what happens to factors between passes.

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "backend/cuda/kernels/factors.h"
#include "backend/cuda/kernels/gram.h"
#include "backend/cuda/kernels/residual.h"
#include "backend/cuda/kernels/row_totals.h"
#include "backend/cuda/kernels/rows.h"
#include "core/error.h"

namespace cofactor::cuda {

template <class Runtime, class T>
DeviceBackend<Runtime, T>::DeviceBackend(Runtime& runtime, Problem problem, BackendOptions options)
    : runtime_(runtime),
      problem_(std::move(problem)),
      options_(std::move(options)),
      layout_(problem_),
      norms_(problem_) {
  if (options_.tolerance <= 0) options_.tolerance = sizeof(T) == 4 ? 1e-5 : 1e-10;
  for (const int rank : problem_.ranks) {
    if (rank > kMostNnlsComponents) {
      throw Error(ErrorKind::kValue, "device='cuda' fits at most " +
                                         std::to_string(kMostNnlsComponents) + " components, got " +
                                         std::to_string(rank) + "; use device='cpu'");
    }
  }
  const auto active = runtime_.activate();
  allocate();
  upload_row_terms();
}

template <class Runtime, class T>
DeviceBackend<Runtime, T>::~DeviceBackend() {
  try {
    const auto active = runtime_.activate();
    runtime_.synchronise(runtime_.compute());
  } catch (const Error&) {
    // A device that is lost has nothing under way.
    return;
  }
}

template <class Runtime, class T>
const DeviceArray<Runtime, T>& DeviceBackend<Runtime, T>::ViewState::factor(Factor which) const {
  switch (which) {
    case Factor::kInput:
      return input;
    case Factor::kSolved:
      return solved;
    case Factor::kPrevious:
      break;
  }
  return previous;
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::upload_row_terms() {
  const RowTerms& terms = problem_.row_terms;
  const auto upload = [&]<class Value>(const std::vector<Value>& from, Array<Value>& to) {
    to = Array<Value>(runtime_, std::ssize(from));
    runtime_.copy_in(to.data(), from.data(), to.bytes(), runtime_.compute());
  };
  upload(terms.weight, weight_);
  if (!terms.patterns.empty()) upload(terms.pattern, pattern_);
  if (problem_.penalises_groups()) upload(terms.group, group_);
  for (std::size_t v = 0; v < views_.size(); ++v) {
    const int view = static_cast<int>(v);
    if (terms.complete(view)) continue;
    std::vector<std::uint8_t> present;
    for (std::size_t i = 0; i < terms.pattern.size(); ++i) {
      present.push_back(terms.has(static_cast<std::int64_t>(i), view) ? 1 : 0);
    }
    upload(present, views_[v].present);
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::allocate() {
  layout_ = SumLayout(problem_);
  k_ = problem_.total_rank();
  const std::int64_t k = k_;
  fit_begin_.assign(1, 0);
  for (const int rank : problem_.ranks) fit_begin_.push_back(fit_begin_.back() + rank);
  fits_ = Array<std::int32_t>(runtime_, std::ssize(fit_begin_));
  runtime_.copy_in(fits_.data(), fit_begin_.data(), fits_.bytes(), runtime_.compute());

  std::int64_t row_bytes = 0, most_columns = 1, most_slices = 1;
  slices_ = 0;
  for (const ViewSpec& spec : problem_.views) {
    row_bytes += spec.columns * static_cast<std::int64_t>(size_of(spec.dtype));
    most_columns = std::max(most_columns, spec.columns);
    const std::int64_t slices = divide_up(spec.columns, std::int64_t{kSliceColumns});
    most_slices = std::max(most_slices, slices);
    if (spec.weight > 0) slices_ += slices;
  }
  // Rows that leave room for other data in half of the device's cache, and whose B by slice is no
  // burden on its memory.
  constexpr std::int64_t kMostPanels = 16;
  constexpr std::int64_t kMostPartBytes = std::int64_t{256} << 20;
  const std::int64_t cached = runtime_.limits().l2_bytes / 2 / (kPanelRows * row_bytes);
  const std::int64_t parts = kMostPartBytes / (kPanelRows * std::max(slices_, std::int64_t{1}) * k *
                                               static_cast<std::int64_t>(sizeof(T)));
  chunks_ =
      ChunkChoice(cached, std::clamp<std::int64_t>(parts, 1, kMostPanels),
                  problem_.rows > 0 ? std::max(problem_.rows / kPanelRows, std::int64_t{1}) : 0);
  timings_.clear();
  recorded_.reset();
  const std::int64_t panels = chunks_.largest();
  chunk_rows_ = panels * kPanelRows;

  std::vector<ViewState> old = std::move(views_);
  views_.clear();
  std::int64_t slice = 0;
  for (std::size_t v = 0; v < problem_.views.size(); ++v) {
    const ViewSpec& spec = problem_.views[v];
    ViewState& state = views_.emplace_back();
    state.columns = spec.columns;
    state.stride = round_up(spec.columns, static_cast<std::int64_t>(16 / sizeof(T)));
    state.first_slice = slice;
    for (Array<T>* factor : {&state.input, &state.solved, &state.previous}) {
      *factor = Array<T>(runtime_, k * state.stride);
      // What fills a row up is never read as a number, but is copied.
      runtime_.clear(factor->data(), factor->bytes(), runtime_.compute());
    }
    state.packing = packing_of(spec.dtype, sizeof(T) == 8);
    if (spec.weight > 0) {
      slice += divide_up(spec.columns, std::int64_t{kSliceColumns});
      if (state.packing) {
        state.packed =
            DeviceFactor<Runtime>(runtime_, *state.packing, k_, spec.columns, kSliceColumns);
      }
    }
    state.waiting_stride =
        round_up(spec.columns * static_cast<std::int64_t>(size_of(spec.dtype)), std::int64_t{16});
    if (old.empty()) {
      state.waiting = Array<std::byte>(runtime_, kPanelRows * state.waiting_stride);
    } else {
      state.waiting = std::move(old[v].waiting);
      state.present = std::move(old[v].present);
    }
  }

  sums_ = Array<double>(runtime_, layout_.size());
  host_sums_ = PinnedArray<Runtime, double>(runtime_, layout_.size());
  std::fill_n(host_sums_.data(), layout_.size(), 0.0);
  const std::int64_t num_values = layout_.group_squares();
  row_lanes_ = Array<double>(runtime_, num_values * kRowLanes);

  const int patterns = std::max(1, static_cast<int>(problem_.row_terms.patterns.size()));
  const std::int64_t num_views = problem_.num_views();
  grams_.clear();
  row_grams_.clear();
  column_grams_.clear();
  host_grams_.assign(problem_.ranks.size(), {});
  std::int64_t most_rank = 1;
  for (const int rank : problem_.ranks) {
    most_rank = std::max<std::int64_t>(most_rank, rank);
    grams_.emplace_back(runtime_, num_views * rank * rank);
    row_grams_.emplace_back(runtime_, rank, patterns);
    column_grams_.emplace_back(runtime_, rank, 1);
  }
  gram_parts_ = Array<double>(
      runtime_, divide_up(most_columns, std::int64_t{GramParts<T>::kRun}) * most_rank * most_rank);
  std::vector<double> weights;
  for (int p = 0; p < patterns; ++p) {
    for (std::size_t v = 0; v < problem_.views.size(); ++v) {
      const auto& all = problem_.row_terms.patterns;
      const bool here = all.empty() || all[static_cast<std::size_t>(p)][v];
      weights.push_back(here ? std::max(problem_.views[v].weight, 0.0) : 0.0);
    }
  }
  pattern_weights_ = Array<double>(runtime_, std::ssize(weights));
  runtime_.copy_in(pattern_weights_.data(), weights.data(), pattern_weights_.bytes(),
                   runtime_.compute());
  solver_ = NnlsSolver<Runtime, T>(runtime_, static_cast<int>(most_rank),
                                   std::max(chunk_rows_, most_columns), options_.tolerance);

  b_ = Array<T>(runtime_, std::max(slices_, std::int64_t{1}) * chunk_rows_ * k);
  w_ = Array<T>(runtime_, chunk_rows_ * k);
  values_ = Array<double>(runtime_, chunk_rows_ * num_values);
  squares_ = Array<double>(runtime_, most_slices * chunk_rows_);
  packed_w_.clear();
  packed_w_.resize(kNumRowPackings);
  for (const ViewState& state : views_) {
    if (!state.packing) continue;
    const Packing packing = row_packing(*state.packing);
    packed_w_[static_cast<std::size_t>(packing)] =
        DeviceFactor<Runtime>(runtime_, packing, k_, chunk_rows_, kPanelRows);
  }
  panels_ = Array<T>(runtime_, panels * k * std::max(most_columns, k));
  waiting_w_ = Array<T>(runtime_, kPanelRows * k);
  if (!problem_.row_terms.weight.empty()) {
    weighted_ = Array<T>(runtime_, chunk_rows_ * k);
    waiting_weighted_ = Array<T>(runtime_, kPanelRows * k);
  }
  column_b_ = Array<T>(runtime_, most_columns * k);
  column_x_ = Array<T>(runtime_, most_columns * k);
  std::int64_t gram_sizes = 0;
  for (const std::int64_t rank : problem_.ranks) gram_sizes += rank * rank;
  terms_ = Array<double>(runtime_, num_views * (2 * k + gram_sizes));
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::keep(const std::vector<int>& fits) {
  const auto active = runtime_.activate();
  std::vector<std::int64_t> components;
  std::vector<int> ranks;
  for (const int fit : fits) {
    ranks.push_back(rank(fit));
    for (int r = 0; r < rank(fit); ++r) components.push_back(first_component(fit) + r);
  }
  std::vector<std::vector<Array<T>>> kept;
  for (ViewState& state : views_) {
    std::vector<Array<T>>& of_view = kept.emplace_back();
    for (const Array<T>* from : {&state.input, &state.solved, &state.previous}) {
      const Array<T>& to = of_view.emplace_back(runtime_, std::ssize(components) * state.stride);
      const auto bytes = static_cast<std::size_t>(state.stride) * sizeof(T);
      for (std::size_t r = 0; r < components.size(); ++r) {
        runtime_.copy(to.data() + static_cast<std::int64_t>(r) * state.stride,
                      from->data() + components[r] * state.stride, bytes, runtime_.compute());
      }
    }
  }
  problem_.ranks = std::move(ranks);
  norms_.keep(fits);
  allocate();
  for (std::size_t v = 0; v < views_.size(); ++v) {
    views_[v].input = std::move(kept[v][0]);
    views_[v].solved = std::move(kept[v][1]);
    views_[v].previous = std::move(kept[v][2]);
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::set_precision(Precision precision) {
  if (precision == Precision::kBFloat16 && sizeof(T) == 8) {
    throw Error(ErrorKind::kValue, "float64 problems have no products in bfloat16");
  }
  rounded_ = precision == Precision::kBFloat16;
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::check_interrupt() {
  if (!options_.check_interrupt) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_check_ < std::chrono::milliseconds(50)) return;
  last_check_ = now;
  options_.check_interrupt();
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::check_memory(const Block& block) const {
  for (const MatrixView& view : block.views) {
    if (view.memory == Memory::kDevice) continue;
    throw Error(ErrorKind::kType,
                "the rows lie in the host's memory, and this backend reads a device's");
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::copy_in(const ViewState& state, const double* h,
                                        const Array<T>& to) {
  std::vector<T> numbers(static_cast<std::size_t>(k_ * state.stride));
  for (std::int64_t r = 0; r < k_; ++r) {
    std::transform(h + r * state.columns, h + (r + 1) * state.columns,
                   numbers.data() + r * state.stride,
                   [](double value) { return static_cast<T>(value); });
  }
  runtime_.copy_in(to.data(), numbers.data(), to.bytes(), runtime_.compute());
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::set_input(int view, const double* h) {
  const auto active = runtime_.activate();
  const ViewState& state = views_[static_cast<std::size_t>(view)];
  copy_in(state, h, state.input);
  for (const Array<T>* to : {&state.previous, &state.solved}) {
    runtime_.copy(to->data(), state.input.data(), to->bytes(), runtime_.compute());
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::set_previous(int view, const double* h) {
  const auto active = runtime_.activate();
  const ViewState& state = views_[static_cast<std::size_t>(view)];
  copy_in(state, h, state.previous);
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::get_factor(Factor factor, int view, double* h) const {
  const auto active = runtime_.activate();
  const ViewState& state = views_[static_cast<std::size_t>(view)];
  const Array<T>& from = state.factor(factor);
  std::vector<T> numbers(static_cast<std::size_t>(from.size()));
  runtime_.copy_out(numbers.data(), from.data(), from.bytes(), runtime_.compute());
  runtime_.synchronise(runtime_.compute());
  for (std::int64_t r = 0; r < k_; ++r) {
    std::copy_n(numbers.data() + r * state.stride, state.columns, h + r * state.columns);
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::set_component(int component, const Block& row) {
  const auto active = runtime_.activate();
  for (std::size_t v = 0; v < views_.size(); ++v) {
    const ViewState& state = views_[v];
    const MatrixView& from = row.views[v];
    const T scale = static_cast<T>(problem_.views[v].scale);
    std::vector<T> numbers(static_cast<std::size_t>(state.columns));
    const auto convert = [&](auto stored) {
      const auto* const values = static_cast<const decltype(stored)*>(from.data);
      std::transform(values, values + state.columns, numbers.data(),
                     [&](auto value) { return scale * to_compute<T>(value); });
    };
    if (const auto packing = packing_of(from.dtype, false)) {
      with_packing(*packing, convert);
    } else {
      with_plain_dtype<float>(from.dtype, convert);
    }
    for (const Array<T>* to : {&state.input, &state.solved, &state.previous}) {
      runtime_.copy_in(to->data() + component * state.stride, numbers.data(),
                       numbers.size() * sizeof(T), runtime_.compute());
    }
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::advance(int fit, double momentum) {
  const auto active = runtime_.activate();
  for (const ViewState& state : views_) {
    const std::int64_t at = first_component(fit) * state.stride;
    AdvanceFactor<T> kernel;
    kernel.input = state.input.data() + at;
    kernel.previous = state.previous.data() + at;
    kernel.solved = state.solved.data() + at;
    kernel.momentum = static_cast<T>(momentum);
    kernel.count = rank(fit) * state.stride;
    launch({divide_up(kernel.count, std::int64_t{AdvanceFactor<T>::kThreads})}, kernel);
  }
  norms_.accept(fit, group_squares());
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::restore(int fit) {
  const auto active = runtime_.activate();
  for (const ViewState& state : views_) {
    const std::int64_t at = first_component(fit) * state.stride;
    runtime_.copy(state.input.data() + at, state.previous.data() + at,
                  static_cast<std::size_t>(rank(fit) * state.stride) * sizeof(T),
                  runtime_.compute());
  }
  norms_.restore(fit);
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::adopt_input() {
  const auto active = runtime_.activate();
  for (const ViewState& state : views_) {
    runtime_.copy(state.solved.data(), state.input.data(), state.input.bytes(), runtime_.compute());
  }
}

template <class Runtime, class T>
std::vector<RowSums> DeviceBackend<Runtime, T>::row_sums() const {
  std::vector<RowSums> result;
  for (int fit = 0; fit < problem_.num_fits(); ++fit) {
    const double* const at = host_sums_.data() + layout_.row_sums(fit);
    result.push_back({at[0], at[1], norms_.sum(fit, group_squares())});
  }
  return result;
}

template <class Runtime, class T>
std::span<const double> DeviceBackend<Runtime, T>::c(int view) const {
  return {host_sums_.data() + layout_.c(layout_.c_index(view)),
          static_cast<std::size_t>(k_) * static_cast<std::size_t>(k_)};
}

template <class Runtime, class T>
std::span<const double> DeviceBackend<Runtime, T>::s(int view) const {
  if (!has_all_sums_) {
    const auto active = runtime_.activate();
    download_sums(layout_.s(0), layout_.size());
    runtime_.synchronise(runtime_.compute());
    has_all_sums_ = true;
  }
  const ViewState& state = views_[static_cast<std::size_t>(view)];
  return {host_sums_.data() + layout_.s(view), static_cast<std::size_t>(k_ * state.columns)};
}

}  // namespace cofactor::cuda
