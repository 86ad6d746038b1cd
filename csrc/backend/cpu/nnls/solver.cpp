#include "backend/cpu/nnls/solver.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "backend/cpu/dispatch.h"
#include "backend/cpu/nnls/active_set.h"

namespace cofactor::cpu {

template <class T>
void ScaledGram<T>::assign(const double* matrix, std::int64_t ld, int rank, double ridge) {
  k = rank;
  const auto size = static_cast<std::size_t>(rank);
  const auto stride = static_cast<std::size_t>(nnls_stride(rank));
  const auto leading = static_cast<std::size_t>(ld);
  exact.gram.assign(stride * stride, 0.0);
  exact.inv_sqrt_diag.resize(size);
  exact.row_sum.assign(size, 0.0);
  for (std::size_t r = 0; r < size; ++r) {
    const double diagonal = matrix[r * (leading + 1)] + ridge;
    exact.inv_sqrt_diag[r] = diagonal > 0 ? 1.0 / std::sqrt(diagonal) : 0.0;
  }
  for (std::size_t r = 0; r < stride; ++r) exact.gram[r * (stride + 1)] = 1.0;
  for (std::size_t r = 0; r < size; ++r) {
    for (std::size_t l = 0; l < size; ++l) {
      double& value = exact.gram[r * stride + l];
      if (r != l) {
        value = matrix[r * leading + l] * exact.inv_sqrt_diag[r] * exact.inv_sqrt_diag[l];
      }
      exact.row_sum[r] += std::abs(value);
    }
  }
  const auto round = [](const std::vector<double>& from, std::vector<T>& to) {
    to.resize(from.size());
    std::transform(from.begin(), from.end(), to.begin(),
                   [](double value) { return static_cast<T>(value); });
  };
  round(exact.gram, rounded.gram);
  round(exact.inv_sqrt_diag, rounded.inv_sqrt_diag);
  round(exact.row_sum, rounded.row_sum);
}

template <class T>
template <class Number>
std::vector<std::int64_t> NnlsSolver<T>::pivot(
    NnlsArgs<Number> args, const typename ScaledGram<T>::template Arrays<Number>& gram) {
  const Kernels<Number>& table = kernels<Number>(level_);
  const auto bytes =
      static_cast<std::size_t>(nnls_scratch_size(args.k, table.lanes, sizeof(Number)));
  if (scratch_.size() < bytes) scratch_ = AlignedBuffer<std::byte>(bytes);
  unfinished_.resize(static_cast<std::size_t>(args.count));
  args.gram = gram.gram.data();
  args.inv_sqrt_diag = gram.inv_sqrt_diag.data();
  args.row_sum = gram.row_sum.data();
  args.tolerance = static_cast<Number>(tolerance_);
  args.max_exchanges = max_exchanges_;
  args.unfinished = unfinished_.data();
  args.scratch = scratch_.data();
  std::vector<std::int64_t> left;
  if (table.nnls(args) == 0) return left;
  for (std::int64_t i = 0; i < args.count; ++i) {
    if (unfinished_[static_cast<std::size_t>(i)] != 0) left.push_back(i);
  }
  return left;
}

template <class T>
void NnlsSolver<T>::solve(NnlsArgs<T> args, const ScaledGram<T>& gram) {
  args.k = gram.k;
  std::vector<std::int64_t> left = pivot<T>(args, gram.rounded);
  if (left.empty()) return;
  left = approach(args, gram, std::move(left));
  for (const std::int64_t column : left) finish(args, gram, column);
}

template <class T>
std::vector<std::int64_t> NnlsSolver<T>::proximal_step(
    const NnlsArgs<T>& args, const typename ScaledGram<T>::template Arrays<double>& ridged,
    double ridge, bool warm, Remainder& remainder) {
  const std::size_t n = remainder.columns.size();
  std::vector<double> b, diagonal;
  for (std::size_t r = 0; r < ridged.inv_sqrt_diag.size(); ++r) {
    const auto row = static_cast<std::int64_t>(r);
    const double scale = ridged.inv_sqrt_diag[r];
    for (std::size_t i = 0; i < n; ++i) {
      const std::int64_t column = remainder.columns[i];
      // A ridge of 1 / scale^2 is one of 1 in the scaled problem.
      const double around = scale > 0 ? ridge * remainder.x[r * n + i] / (scale * scale) : 0.0;
      b.push_back(double{args.b[row * args.ldb + column]} - double{args.shift} + around);
      if (args.diagonal == nullptr) continue;
      diagonal.push_back(args.diagonal[row * args.ld_diagonal + column]);
    }
  }
  NnlsArgs<double> definite;
  definite.k = args.k;
  definite.count = static_cast<std::int64_t>(n);
  definite.b = b.data();
  definite.ldb = definite.count;
  definite.diagonal = diagonal.empty() ? nullptr : diagonal.data();
  definite.ld_diagonal = definite.count;
  definite.x = remainder.x.data();
  definite.ldx = definite.count;
  definite.warm = warm;
  return pivot<double>(definite, ridged);
}

template <class T>
std::vector<std::int64_t> NnlsSolver<T>::approach(const NnlsArgs<T>& args,
                                                  const ScaledGram<T>& gram,
                                                  std::vector<std::int64_t> columns) {
  constexpr int kMaxSteps = 20;
  // Large enough for few rounds a step, small enough for few steps: what the ridge adds to the
  // gradient, which is what the solution lacks, starts near the tolerance.
  const double ridge = 10 * tolerance_;
  const std::vector<double>& scale = gram.exact.inv_sqrt_diag;
  const std::size_t size = scale.size();
  auto ridged = gram.exact;
  for (std::size_t r = 0; r < size; ++r) {
    ridged.gram[r * (static_cast<std::size_t>(nnls_stride(gram.k)) + 1)] += ridge;
  }
  const auto solved = [&](const Remainder& now, const std::vector<double>& before, std::size_t i) {
    double moved = 0.0, largest = 0.0;
    for (std::size_t r = 0; r < size; ++r) {
      if (scale[r] <= 0) continue;
      const std::size_t at = r * now.columns.size() + i;
      const T b = args.b[static_cast<std::int64_t>(r) * args.ldb + now.columns[i]];
      moved = std::max(moved, std::abs(now.x[at] - before[at]) / scale[r]);
      largest = std::max(largest, std::abs((double{b} - double{args.shift}) * scale[r]));
    }
    return ridge * moved <= tolerance_ / 4 * largest;
  };

  std::vector<std::int64_t> failed;
  Remainder now;
  now.x.assign(size * columns.size(), 0.0);
  now.columns = std::move(columns);
  for (int step = 0; step < kMaxSteps && !now.columns.empty(); ++step) {
    const std::vector<double> before = now.x;
    const std::vector<std::int64_t> open = proximal_step(args, ridged, ridge, step > 0, now);
    const std::size_t n = now.columns.size();
    std::vector<std::size_t> kept;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t r = 0; r < size; ++r) {
        args.x[static_cast<std::int64_t>(r) * args.ldx + now.columns[i]] =
            static_cast<T>(now.x[r * n + i]);
      }
      if (std::binary_search(open.begin(), open.end(), static_cast<std::int64_t>(i))) {
        failed.push_back(now.columns[i]);
      } else if (!solved(now, before, i)) {
        kept.push_back(i);
      }
    }
    Remainder next;
    for (const std::size_t i : kept) next.columns.push_back(now.columns[i]);
    for (std::size_t r = 0; r < size; ++r) {
      for (const std::size_t i : kept) next.x.push_back(now.x[r * n + i]);
    }
    now = std::move(next);
  }
  failed.insert(failed.end(), now.columns.begin(), now.columns.end());
  return failed;
}

template <class T>
void NnlsSolver<T>::finish(const NnlsArgs<T>& args, const ScaledGram<T>& gram,
                           std::int64_t column) const {
  const auto size = static_cast<std::size_t>(gram.k);
  const auto stride = static_cast<std::size_t>(nnls_stride(gram.k));
  std::vector<double> matrix(size * size), b(size), x(size);
  for (std::size_t r = 0; r < size; ++r) {
    const auto row = static_cast<std::int64_t>(r);
    const double scale = gram.exact.inv_sqrt_diag[r];
    std::copy_n(gram.exact.gram.data() + r * stride, size, matrix.data() + r * size);
    b[r] = (static_cast<double>(args.b[row * args.ldb + column]) - args.shift) * scale;
    x[r] = scale > 0 ? args.x[row * args.ldx + column] / scale : 0.0;
    if (args.diagonal != nullptr) {
      matrix[r * (size + 1)] += args.diagonal[row * args.ld_diagonal + column] * scale * scale;
    }
  }
  ActiveSetSolver(matrix.data(), gram.k).solve(b.data(), x.data());
  for (std::size_t r = 0; r < size; ++r) {
    args.x[static_cast<std::int64_t>(r) * args.ldx + column] =
        static_cast<T>(x[r] * gram.exact.inv_sqrt_diag[r]);
  }
}

template struct ScaledGram<float>;
template struct ScaledGram<double>;
template class NnlsSolver<float>;
template class NnlsSolver<double>;

}  // namespace cofactor::cpu
