#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "reference.h"

namespace cofactor::testing {

inline Matrix factor_of(const Backend& backend, const Problem& problem, Factor which, int view) {
  Matrix h(problem.total_rank(), problem.views[static_cast<std::size_t>(view)].columns);
  backend.get_factor(which, view, h.values.data());
  return h;
}

/// One problem on a backend of compute type T, with room for W.
template <class T>
struct Session {
  explicit Session(const Coupled& coupled, int max_sweeps = 1000000)
      : data(coupled), k(coupled.problem.total_rank()), w(coupled.problem.rows, k) {
    BackendOptions options;
    options.float64 = sizeof(T) == 8;
    // By default enough for any condition number of these tests.
    options.max_sweeps = max_sweeps;
    options.threads = 2;
    backend = make_cpu_backend(data.problem, options);
    for (int v = 0; v < data.problem.num_views(); ++v) {
      backend->set_input(v, data.start[static_cast<std::size_t>(v)].values.data());
    }
  }

  void pass(PassMode mode, std::int64_t block_rows = 100, const T* diagonal = nullptr) {
    MatrixSource source = data.source(block_rows);
    std::vector<T> out(w.values.size());
    backend->begin_pass(mode);
    Block block;
    while (source.next(block)) {
      if (diagonal != nullptr) block.row_diagonal = diagonal + block.first_row * k;
      backend->process(block, out.data() + block.first_row * k);
    }
    backend->end_pass();
    std::copy(out.begin(), out.end(), w.values.begin());
  }

  [[nodiscard]] const ViewSpec& spec(std::size_t v) const { return data.problem.views[v]; }

  /// sum_v w_v X_v H_v^T for the input factors.
  [[nodiscard]] Matrix b() const {
    Matrix sum(w.rows, k);
    for (std::size_t v = 0; v < data.views.size(); ++v) {
      const Matrix h = factor_of(*backend, data.problem, Factor::kInput, static_cast<int>(v));
      const Matrix part = multiply(data.views[v].values, transpose(h));
      for (std::size_t i = 0; i < sum.values.size(); ++i) {
        sum.values[i] += spec(v).weight * part.values[i];
      }
    }
    return sum;
  }
  /// sum_v w_v H_v H_v^T for the input factors.
  [[nodiscard]] Matrix gram() const {
    Matrix sum(k, k);
    for (std::size_t v = 0; v < data.views.size(); ++v) {
      const Matrix h = factor_of(*backend, data.problem, Factor::kInput, static_cast<int>(v));
      const Matrix part = multiply(h, transpose(h));
      for (std::size_t i = 0; i < sum.values.size(); ++i) {
        sum.values[i] += spec(v).weight * part.values[i];
      }
    }
    return sum;
  }
  /// Roundings of a sum over all columns: one a term at the level of one lane, and a few for the
  /// weighted factor, the solver and the conversion of its result.
  [[nodiscard]] Wide column_gamma() const { return gamma<T>(data.total_columns() + k + 20); }

  const Coupled& data;
  int k;
  Matrix w;
  std::unique_ptr<Backend> backend;
};

}  // namespace cofactor::testing
