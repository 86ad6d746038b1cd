// What happens between passes: Gram matrices, the solves for H, and the terms of the loss.

#include <algorithm>

#include "backend/cpu/cpu_backend.h"

namespace cofactor::cpu {

template <class T>
void CpuBackend<T>::gram_of(const ViewState& state, Factor which, int fit, double* out) const {
  const int k = problem_.ranks[static_cast<std::size_t>(fit)];
  const auto size = static_cast<std::size_t>(k) * static_cast<std::size_t>(k);
  const T* const h = state.factor(which).data() + first_component(fit) * state.stride;
  // At most 32 parts however wide the view, so that their k x k sums stay small.
  const std::int64_t part_columns =
      std::max(kProjectColumns, round_up(divide_up(state.columns, 32), kProjectColumns));
  const std::int64_t parts = divide_up(state.columns, part_columns);
  std::vector<double> sums(static_cast<std::size_t>(parts) * size, 0.0);
  run(parts, [&](std::int64_t part, int thread) {
    Scratch& scratch = scratch_[static_cast<std::size_t>(thread)];
    std::vector<T> product(size);
    double* const sum = sums.data() + static_cast<std::size_t>(part) * size;
    const std::int64_t last = std::min(state.columns, (part + 1) * part_columns);
    for (std::int64_t j0 = part * part_columns; j0 < last; j0 += kProjectColumns) {
      const std::int64_t n = std::min(kProjectColumns, last - j0);
      for (int r = 0; r < k; ++r) {
        kernels_.exact.pack_factor(h + r * state.stride + j0, round_up(n, kColumnAlign),
                                   scratch.factor.data() + r * kProjectColumns);
      }
      const MatrixView rows{h, kComputeType<T>, k, state.columns, state.stride};
      std::fill(product.begin(), product.end(), T{0});
      kernels_.exact.project[static_cast<int>(kComputeType<T>)](
          stored_rows(rows, 0, j0), k, scratch.factor.data(), k, n, T{1}, product.data(), k,
          scratch.product.data());
      for (std::size_t i = 0; i < size; ++i) sum[i] += static_cast<double>(product[i]);
    }
  });
  std::fill_n(out, size, 0.0);
  for (std::int64_t part = 0; part < parts; ++part) {
    for (std::size_t i = 0; i < size; ++i)
      out[i] += sums[static_cast<std::size_t>(part) * size + i];
  }
}

template <class T>
void CpuBackend<T>::solve_h() {
  const int fits = problem_.num_fits();
  std::vector<ScaledGram<T>> grams(static_cast<std::size_t>(fits));
  for (int v = 0; v < problem_.num_views(); ++v) {
    const ViewSpec& spec = problem_.views[static_cast<std::size_t>(v)];
    ViewState& state = views_[static_cast<std::size_t>(v)];
    if (spec.fixed) continue;
    if (problem_.unit_rows && spec.weight > 0) {
      for (int fit = 0; fit < fits; ++fit) solve_unit_rows(v, fit);
      continue;
    }
    for (int fit = 0; fit < fits; ++fit) {
      grams[static_cast<std::size_t>(fit)].assign(
          c(v).data() + first_component(fit) * std::int64_t{k_ + 1}, k_,
          problem_.ranks[static_cast<std::size_t>(fit)], spec.l2_h);
    }
    const double* const sums = s(v).data();
    run(divide_up(state.columns, kSolveColumns), [&](std::int64_t task, int thread) {
      Scratch& scratch = scratch_[static_cast<std::size_t>(thread)];
      const std::int64_t j0 = task * kSolveColumns;
      const std::int64_t n = std::min(kSolveColumns, state.columns - j0);
      T* const b = scratch.columns.data();
      for (int r = 0; r < k_; ++r) {
        const double* const from = sums + r * state.columns + j0;
        for (std::int64_t j = 0; j < n; ++j) b[r * kSolveColumns + j] = static_cast<T>(from[j]);
        std::copy_n(state.input.data() + r * state.stride + j0, n,
                    state.solved.data() + r * state.stride + j0);
      }
      for (int fit = 0; fit < fits; ++fit) {
        const std::int64_t begin = first_component(fit);
        NnlsArgs<T> args;
        args.count = n;
        args.b = b + begin * kSolveColumns;
        args.ldb = kSolveColumns;
        args.shift = static_cast<T>(spec.l1_h);
        args.x = state.solved.data() + begin * state.stride + j0;
        args.ldx = state.stride;
        args.warm = true;
        scratch.nnls.solve(args, grams[static_cast<std::size_t>(fit)]);
      }
    });
  }
}

template <class T>
std::vector<std::vector<ViewTerms>> CpuBackend<T>::terms() const {
  const int fits = problem_.num_fits();
  std::vector<std::vector<ViewTerms>> result(
      static_cast<std::size_t>(fits),
      std::vector<ViewTerms>(static_cast<std::size_t>(problem_.num_views())));
  std::vector<double> gram;
  for (int v = 0; v < problem_.num_views(); ++v) {
    const ViewState& state = views_[static_cast<std::size_t>(v)];
    const double* const sums = s(v).data();
    // One component a task: few numbers to merge, and always in the same order.
    std::vector<ViewTerms> by_component(static_cast<std::size_t>(k_));
    run(k_, [&](std::int64_t r, int) {
      ViewTerms& at = by_component[static_cast<std::size_t>(r)];
      const T* const h = state.solved.data() + r * state.stride;
      const double* const from = sums + r * state.columns;
      for (std::int64_t j = 0; j < state.columns; ++j) {
        const double value = h[j];
        at.cross += value * from[j];
        at.h_l1 += value;
      }
    });
    for (int fit = 0; fit < fits; ++fit) {
      const int k = problem_.ranks[static_cast<std::size_t>(fit)];
      const int begin = first_component(fit);
      ViewTerms& total = result[static_cast<std::size_t>(fit)][static_cast<std::size_t>(v)];
      gram.resize(static_cast<std::size_t>(k) * static_cast<std::size_t>(k));
      gram_of(state, Factor::kSolved, fit, gram.data());
      const double* const c_block = c(v).data() + begin * std::int64_t{k_ + 1};
      for (int r = 0; r < k; ++r) {
        const ViewTerms& part = by_component[static_cast<std::size_t>(begin + r)];
        total.cross += part.cross;
        total.h_l1 += part.h_l1;
        total.h_l2 += gram[static_cast<std::size_t>(r * (k + 1))];
        for (int l = 0; l < k; ++l) {
          total.model += c_block[r * k_ + l] * gram[static_cast<std::size_t>(r * k + l)];
        }
      }
      total.residual = sums_[layout_.residual(fit, v)];
    }
  }
  return result;
}

template class CpuBackend<float>;
template class CpuBackend<double>;

}  // namespace cofactor::cpu
