#include "backend/cpu/nnls/solver.h"

#include <algorithm>
#include <cmath>

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
  if (sizeof(T) < sizeof(double)) left = solve_in_float64(args, gram, left);
  for (const std::int64_t column : left) finish(args, gram, column);
}

template <class T>
std::vector<std::int64_t> NnlsSolver<T>::solve_in_float64(
    const NnlsArgs<T>& args, const ScaledGram<T>& gram, const std::vector<std::int64_t>& columns) {
  const auto n = static_cast<std::int64_t>(columns.size());
  const auto gather = [&](const T* from, std::int64_t ld) {
    std::vector<double> to;
    for (int r = 0; r < args.k; ++r) {
      for (const std::int64_t column : columns) to.push_back(from[r * ld + column]);
    }
    return to;
  };
  const std::vector<double> b = gather(args.b, args.ldb);
  std::vector<double> x = gather(args.x, args.ldx), diagonal;
  NnlsArgs<double> exact;
  exact.k = args.k;
  exact.count = n;
  exact.b = b.data();
  exact.ldb = n;
  exact.shift = args.shift;
  if (args.diagonal != nullptr) {
    diagonal = gather(args.diagonal, args.ld_diagonal);
    exact.diagonal = diagonal.data();
    exact.ld_diagonal = n;
  }
  exact.x = x.data();
  exact.ldx = n;
  exact.warm = true;
  std::vector<std::int64_t> left = pivot<double>(exact, gram.exact);
  for (int r = 0; r < args.k; ++r) {
    for (std::int64_t i = 0; i < n; ++i) {
      args.x[r * args.ldx + columns[static_cast<std::size_t>(i)]] =
          static_cast<T>(x[static_cast<std::size_t>(r * n + i)]);
    }
  }
  for (std::int64_t& column : left) column = columns[static_cast<std::size_t>(column)];
  return left;
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
