#include "backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace cofactor::cpu {

template <class T>
const AlignedBuffer<T>& CpuBackend<T>::ViewState::factor(Factor which) const {
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

template <class T>
CpuBackend<T>::CpuBackend(Problem problem, BackendOptions options)
    : problem_(std::move(problem)),
      options_(std::move(options)),
      kernels_(kernels<T>(active_level())),
      layout_(problem_),
      norms_(problem_),
      pool_(options_.threads) {
  if (options_.tolerance <= 0) options_.tolerance = sizeof(T) == 4 ? 1e-5 : 1e-10;
  for (int thread = 0; thread < pool_.size(); ++thread) {
    scratch_.emplace_back(active_level(), options_.tolerance, options_.max_exchanges);
  }
  allocate();
}

template <class T>
void CpuBackend<T>::allocate() {
  layout_ = SumLayout(problem_);
  k_ = problem_.total_rank();
  sums_ = AlignedBuffer<double>(static_cast<std::size_t>(layout_.size()));
  int begin = 0;
  fit_begin_.clear();
  grams_.clear();
  for (const int rank : problem_.ranks) {
    fit_begin_.push_back(begin);
    begin += rank;
    grams_.emplace_back(static_cast<std::size_t>(rank) * static_cast<std::size_t>(rank));
  }
  const std::size_t patterns = std::max<std::size_t>(problem_.row_terms.patterns.size(), 1);
  scaled_grams_.assign(problem_.ranks.size(), std::vector<ScaledGram<T>>(patterns));

  const auto prepare = [this](ViewState& state, std::int64_t columns) {
    state.columns = columns;
    state.stride = round_up(columns, kColumnAlign);
    state.project_chunks = divide_up(columns, kProjectColumns);
    state.sum_chunks = divide_up(columns, kAccumulateColumns);
    state.panel =
        AlignedBuffer<T>(static_cast<std::size_t>(k_ * state.sum_chunks * kAccumulateColumns));
  };
  views_.clear();
  for (const ViewSpec& spec : problem_.views) {
    ViewState& state = views_.emplace_back();
    prepare(state, spec.columns);
    const auto size = static_cast<std::size_t>(k_ * state.stride);
    state.input = AlignedBuffer<T>(size);
    state.solved = AlignedBuffer<T>(size);
    state.previous = AlignedBuffer<T>(size);
    state.packed = AlignedBuffer<std::byte>(
        static_cast<std::size_t>(k_ * state.project_chunks * kProjectColumns) * sizeof(T));
  }
  w_views_.clear();
  for (int index = 0; index < layout_.num_c(); ++index) prepare(w_views_.emplace_back(), k_);

  const CacheSizes cache = cache_sizes();
  std::int64_t row_bytes = 0;
  for (const ViewSpec& spec : problem_.views) {
    row_bytes += spec.columns * static_cast<std::int64_t>(size_of(spec.dtype));
  }
  const RowTiling tiling = row_tiling(problem_.rows, row_bytes, k_, pool_.size(), cache);
  tile_rows_ = tiling.tile_rows;
  group_rows_ = tiling.group_rows;
  rank_block_ = rank_block(sizeof(T), cache);
  // Off a power of two, or the components of one row would share a few cache sets.
  group_stride_ = round_up(group_rows_, kPanelRows) + kColumnAlign;
  slots_.resize(3);
  for (Slot& slot : slots_) {
    slot.w = AlignedBuffer<T>(static_cast<std::size_t>(k_ * group_stride_));
    slot.w_rows = AlignedBuffer<T>(static_cast<std::size_t>(group_rows_ * w_views_[0].stride));
    slot.row_values =
        AlignedBuffer<double>(static_cast<std::size_t>(group_rows_ * row_value_count()));
  }

  const bool sorted = problem_.has_missing_views();
  for (Scratch& scratch : scratch_) {
    scratch.product = AlignedBuffer<std::byte>(static_cast<std::size_t>(product_scratch_bytes(k_)));
    scratch.rows = AlignedBuffer<T>(static_cast<std::size_t>(tile_rows_ * kProjectColumns));
    scratch.factor = AlignedBuffer<T>(static_cast<std::size_t>(k_ * kProjectColumns));
    scratch.b = AlignedBuffer<T>(static_cast<std::size_t>(2 * tile_rows_ * k_));
    scratch.x = AlignedBuffer<T>(static_cast<std::size_t>(sorted ? tile_rows_ * k_ : 0));
    scratch.diagonal = AlignedBuffer<T>(static_cast<std::size_t>(tile_rows_ * k_));
    scratch.columns = AlignedBuffer<T>(static_cast<std::size_t>(k_ * kSolveColumns));
  }
}

template <class T>
void CpuBackend<T>::keep(const std::vector<int>& fits) {
  const std::vector<int> begins = fit_begin_;
  const std::vector<int> ranks = problem_.ranks;
  std::vector<ViewState> old = std::move(views_);
  problem_.ranks.clear();
  std::vector<std::int64_t> components;
  for (const int fit : fits) {
    const auto at = static_cast<std::size_t>(fit);
    problem_.ranks.push_back(ranks[at]);
    for (int r = 0; r < ranks[at]; ++r) components.push_back(begins[at] + r);
  }
  allocate();
  for (std::size_t v = 0; v < views_.size(); ++v) {
    const std::int64_t stride = views_[v].stride;
    for (const auto member : {&ViewState::input, &ViewState::solved, &ViewState::previous}) {
      for (std::size_t r = 0; r < components.size(); ++r) {
        std::copy_n((old[v].*member).data() + components[r] * stride, stride,
                    (views_[v].*member).data() + static_cast<std::int64_t>(r) * stride);
      }
    }
  }
  norms_.keep(fits);
}

template <class T>
void CpuBackend<T>::set_precision(Precision precision) {
  const bool rounded = precision == Precision::kBFloat16;
  if (rounded && kernels_.rounded.factor_size == 0) {
    throw Error(ErrorKind::kValue, "float64 problems have no products in bfloat16");
  }
  products_ = rounded ? &kernels_.rounded : &kernels_.exact;
}

template <class T>
void CpuBackend<T>::check_interrupt(int thread) const {
  // Thread 0 is the caller's; only it may run the caller's hook.
  if (thread != 0 || !options_.check_interrupt) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_check_ < std::chrono::milliseconds(50)) return;
  last_check_ = now;
  options_.check_interrupt();
}

template <class T>
void CpuBackend<T>::run(std::int64_t count, const ThreadPool::Task& task) const {
  // Once in any case: the caller may be given no task at all.
  check_interrupt(0);
  pool_.run(count, [&](std::int64_t i, int thread) {
    check_interrupt(thread);
    task(i, thread);
  });
}

template <class T>
void CpuBackend<T>::check_memory(const Block& block) {
  for (const MatrixView& view : block.views) {
    if (view.memory == Memory::kHost) continue;
    throw Error(ErrorKind::kType,
                "the rows lie in a device's memory, and device='cpu' reads the host's; use "
                "device='cuda' or copy the arrays to the host");
  }
}

template <class T>
void CpuBackend<T>::copy_in(const ViewState& state, const double* h, AlignedBuffer<T>& to) const {
  run(k_, [&](std::int64_t r, int) {
    const double* const from = h + r * state.columns;
    std::transform(from, from + state.columns, to.data() + r * state.stride,
                   [](double value) { return static_cast<T>(value); });
  });
}

template <class T>
void CpuBackend<T>::set_input(int view, const double* h) {
  ViewState& state = views_[static_cast<std::size_t>(view)];
  copy_in(state, h, state.input);
  run(k_, [&](std::int64_t r, int) {
    const T* const from = state.input.data() + r * state.stride;
    std::copy_n(from, state.stride, state.previous.data() + r * state.stride);
    std::copy_n(from, state.stride, state.solved.data() + r * state.stride);
  });
}

template <class T>
void CpuBackend<T>::set_previous(int view, const double* h) {
  ViewState& state = views_[static_cast<std::size_t>(view)];
  copy_in(state, h, state.previous);
}

template <class T>
void CpuBackend<T>::get_factor(Factor factor, int view, double* h) const {
  const ViewState& state = views_[static_cast<std::size_t>(view)];
  const AlignedBuffer<T>& from = state.factor(factor);
  for (int r = 0; r < k_; ++r) {
    std::copy_n(from.data() + r * state.stride, state.columns, h + r * state.columns);
  }
}

template <class T>
void CpuBackend<T>::set_component(int component, const Block& row) {
  check_memory(row);
  for (std::size_t v = 0; v < views_.size(); ++v) {
    ViewState& state = views_[v];
    const T scale = static_cast<T>(problem_.views[v].scale);
    const std::int64_t at = component * state.stride;
    T* const input = state.input.data() + at;
    for (std::int64_t j0 = 0; j0 < state.columns; j0 += kProjectColumns) {
      const std::int64_t n = std::min(kProjectColumns, state.columns - j0);
      T* const packed = scratch_.front().rows.data();
      kernels_.pack[static_cast<int>(row.views[v].dtype)](stored_rows(row.views[v], 0, j0).data, n,
                                                          packed, round_up(n, kColumnAlign));
      std::transform(packed, packed + n, input + j0, [scale](T value) { return scale * value; });
    }
    std::copy_n(input, state.columns, state.solved.data() + at);
    std::copy_n(input, state.columns, state.previous.data() + at);
  }
}

template <class T>
std::vector<RowSums> CpuBackend<T>::row_sums() const {
  std::vector<RowSums> result;
  for (int fit = 0; fit < problem_.num_fits(); ++fit) {
    const double* at = sums_.data() + layout_.row_sums(fit);
    result.push_back({at[0], at[1], norms_.sum(fit, group_squares())});
  }
  return result;
}

template <class T>
std::span<const double> CpuBackend<T>::c(int view) const {
  return {sums_.data() + layout_.c(layout_.c_index(view)),
          static_cast<std::size_t>(k_) * static_cast<std::size_t>(k_)};
}

template <class T>
std::span<const double> CpuBackend<T>::s(int view) const {
  const ViewState& state = views_[static_cast<std::size_t>(view)];
  return {sums_.data() + layout_.s(view), static_cast<std::size_t>(k_ * state.columns)};
}

template <class T>
std::span<const double> CpuBackend<T>::gram(int fit) const {
  return grams_[static_cast<std::size_t>(fit)];
}

template <class T>
void CpuBackend<T>::copy_rows(const MatrixView& rows, void* to) const {
  const std::size_t bytes = static_cast<std::size_t>(rows.columns) * size_of(rows.dtype);
  for (std::int64_t i = 0; i < rows.rows; ++i) {
    std::memcpy(static_cast<std::byte*>(to) + static_cast<std::size_t>(i) * bytes, rows.row(i),
                bytes);
  }
}

template <class T>
void CpuBackend<T>::advance(int fit, double momentum) {
  const int begin = first_component(fit);
  const int rank = problem_.ranks[static_cast<std::size_t>(fit)];
  const T m = static_cast<T>(momentum);
  for (ViewState& state : views_) {
    run(rank, [&](std::int64_t r, int) {
      const std::int64_t at = (begin + r) * state.stride;
      T* const input = state.input.data() + at;
      T* const previous = state.previous.data() + at;
      const T* const solved = state.solved.data() + at;
      for (std::int64_t j = 0; j < state.columns; ++j) {
        input[j] = std::max(T{0}, solved[j] + m * (solved[j] - previous[j]));
        previous[j] = solved[j];
      }
    });
  }
  norms_.accept(fit, group_squares());
}

template <class T>
void CpuBackend<T>::restore(int fit) {
  const std::int64_t begin = first_component(fit);
  const std::int64_t rank = problem_.ranks[static_cast<std::size_t>(fit)];
  for (ViewState& state : views_) {
    std::copy_n(state.previous.data() + begin * state.stride, rank * state.stride,
                state.input.data() + begin * state.stride);
  }
  norms_.restore(fit);
}

template <class T>
void CpuBackend<T>::adopt_input() {
  for (ViewState& state : views_) {
    std::copy_n(state.input.data(), state.input.size(), state.solved.data());
  }
}

template class CpuBackend<float>;
template class CpuBackend<double>;

}  // namespace cofactor::cpu

namespace cofactor {

std::unique_ptr<Backend> make_cpu_backend(const Problem& problem, const BackendOptions& options) {
  if (options.float64) return std::make_unique<cpu::CpuBackend<double>>(problem, options);
  return std::make_unique<cpu::CpuBackend<float>>(problem, options);
}

}  // namespace cofactor
