// The solves for the rows of W, with what a problem knows of single rows: weights, missing views
// and groups.

#include <algorithm>
#include <numeric>

#include "backend/cpu/cpu_backend.h"

namespace cofactor::cpu {

template <class T>
void CpuBackend<T>::order_rows(const Group& group, std::int64_t i0, std::int64_t i1,
                               Scratch& scratch) const {
  const RowTerms& terms = problem_.row_terms;
  const auto pattern = [&](int i) { return terms.pattern_of(source_row(group, i0 + i)); };
  scratch.order.resize(static_cast<std::size_t>(i1 - i0));
  std::iota(scratch.order.begin(), scratch.order.end(), 0);
  if (problem_.has_missing_views()) {
    std::stable_sort(scratch.order.begin(), scratch.order.end(),
                     [&](int i, int j) { return pattern(i) < pattern(j); });
  }
  scratch.segments.clear();
  for (std::int64_t at = 0; at < i1 - i0; ++at) {
    const std::int32_t own = pattern(scratch.order[static_cast<std::size_t>(at)]);
    if (at == 0 || own != scratch.segments.back().pattern) scratch.segments.push_back({at, 0, own});
    ++scratch.segments.back().count;
  }
}

template <class T>
std::vector<int> CpuBackend<T>::rows_without(int view, const Group& group, std::int64_t i0,
                                             std::int64_t i1) const {
  std::vector<int> rows;
  if (problem_.row_terms.complete(view)) return rows;
  for (std::int64_t i = i0; i < i1; ++i) {
    if (!problem_.row_terms.has(source_row(group, i), view))
      rows.push_back(static_cast<int>(i - i0));
  }
  return rows;
}

template <class T>
void CpuBackend<T>::solve_tile(const Group& group, std::int64_t i0, std::int64_t i1,
                               Scratch& scratch) {
  const RowTerms& terms = problem_.row_terms;
  const auto rows = static_cast<std::size_t>(i1 - i0);
  const T* const b = scratch.b.data();
  const bool diagonal = problem_.penalises_groups();
  if (diagonal) {
    // The solver wants components along the stride, as everything else of a group.
    for (std::size_t at = 0; at < rows; ++at) {
      const std::int64_t row = source_row(group, i0 + scratch.order[at]);
      const T* const from =
          group_diagonal_.data() + k_ * terms.group[static_cast<std::size_t>(row)];
      T* const to = scratch.diagonal.data() + at;
      for (int r = 0; r < k_; ++r) to[r * tile_rows_] = from[r];
    }
  }
  // One segment has the rows in their own order, and is solved in place.
  const bool in_place = scratch.segments.size() == 1;
  T* const w = group.slot.w.data() + i0;
  T* const x = in_place ? w : scratch.x.data();
  const std::int64_t ldx = in_place ? group_stride_ : tile_rows_;
  const std::int64_t values = row_value_count();
  for (int fit = 0; fit < problem_.num_fits(); ++fit) {
    const std::int64_t begin = first_component(fit);
    for (const Segment& segment : scratch.segments) {
      NnlsArgs<T> args;
      args.count = segment.count;
      args.b = b + begin * tile_rows_ + segment.first;
      args.ldb = tile_rows_;
      args.shift = static_cast<T>(problem_.l1_w);
      if (diagonal) args.diagonal = scratch.diagonal.data() + begin * tile_rows_ + segment.first;
      args.ld_diagonal = tile_rows_;
      args.x = x + begin * ldx + segment.first;
      args.ldx = ldx;
      scratch.nnls.solve(
          args,
          scaled_grams_[static_cast<std::size_t>(fit)][static_cast<std::size_t>(segment.pattern)]);
    }
    for (std::int64_t r = begin; r < begin + problem_.ranks[static_cast<std::size_t>(fit)]; ++r) {
      if (products_->round != nullptr) {
        products_->round(x + r * ldx, static_cast<std::int64_t>(rows));
      }
      for (std::size_t at = 0; at < rows; ++at) {
        const std::int64_t i = scratch.order[at];
        const T value = x[r * ldx + static_cast<std::int64_t>(at)];
        if (!in_place) w[r * group_stride_ + i] = value;
        double* const sums =
            group.slot.row_values.data() + (i0 + i) * values + layout_.row_sums(fit);
        sums[0] += static_cast<double>(value) *
                   static_cast<double>(b[r * tile_rows_ + static_cast<std::int64_t>(at)]);
        sums[1] += static_cast<double>(value);
      }
    }
  }
}

template <class T>
void CpuBackend<T>::weigh_rows(const Group& group, std::int64_t i0, std::int64_t i1) {
  if (problem_.row_terms.weight.empty()) return;
  const std::int64_t values = row_value_count();
  for (std::int64_t i = i0; i < i1; ++i) {
    const double weight = problem_.row_terms.weight_of(source_row(group, i));
    for (int r = 0; r < k_; ++r)
      group.slot.w[static_cast<std::size_t>(r * group_stride_ + i)] *= static_cast<T>(weight);
    double* const at = group.slot.row_values.data() + i * values;
    for (std::int64_t value = 0; value < values; ++value) at[value] *= weight;
  }
}

template <class T>
void CpuBackend<T>::sum_group_squares(const Group& group) {
  if (!problem_.penalises_groups() || mode_ == PassMode::kLinear) return;
  const RowTerms& terms = problem_.row_terms;
  double* const sums = sums_.data() + layout_.group_squares();
  for (std::int64_t i = 0; i < group.rows; ++i) {
    const std::int64_t row = source_row(group, i);
    const double weight = terms.weight_of(row);
    double* const to = sums + std::int64_t{k_} * terms.group[static_cast<std::size_t>(row)];
    const T* const w = group.slot.w_rows.data() + i * w_views_[0].stride;
    for (int r = 0; r < k_; ++r)
      to[r] += weight * static_cast<double>(w[r]) * static_cast<double>(w[r]);
  }
}

template <class T>
void CpuBackend<T>::set_group_diagonal() {
  const std::vector<double> diagonal = norms_.diagonal();
  if (group_diagonal_.size() != diagonal.size()) {
    group_diagonal_ = AlignedBuffer<T>(diagonal.size());
  }
  std::transform(diagonal.begin(), diagonal.end(), group_diagonal_.data(),
                 [](double value) { return static_cast<T>(value); });
}

template <class T>
void CpuBackend<T>::set_group_norms(const double* norms) {
  norms_.set(norms);
}

template class CpuBackend<float>;
template class CpuBackend<double>;

}  // namespace cofactor::cpu
