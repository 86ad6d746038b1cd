#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/device.h"
#include "reference.h"

namespace cofactor::testing {

inline Matrix factor_of(const Backend& backend, const Problem& problem, Factor which, int view) {
  Matrix h(problem.total_rank(), problem.views[static_cast<std::size_t>(view)].columns);
  backend.get_factor(which, view, h.values.data());
  return h;
}

struct SessionOptions {
  int max_exchanges = BackendOptions{}.max_exchanges;
  int threads = 2;
  Precision precision = Precision::kFull;
  std::function<void()> check_interrupt = {};
};

/// One problem on a backend of compute type T, with room for W.
template <class T>
struct Session {
  Session(const Coupled& coupled, int max_exchanges)
      : Session(coupled, SessionOptions{.max_exchanges = max_exchanges}) {}
  explicit Session(const Coupled& coupled, SessionOptions options = {})
      : data(coupled), k(coupled.problem.total_rank()), w(coupled.problem.rows, k) {
    BackendOptions of_backend;
    of_backend.float64 = sizeof(T) == 8;
    of_backend.threads = options.threads;
    of_backend.max_exchanges = options.max_exchanges;
    of_backend.check_interrupt = std::move(options.check_interrupt);
    backend = make_backend(data.problem, of_backend);
    backend->set_precision(options.precision);
    for (const StoredView& view : data.views) {
      Matrix& x = operands.emplace_back(view.values);
      // Tensor cores take 16-bit numbers as they are, and others are not rounded for them.
      if (options.precision == Precision::kFull || !on_cpu()) continue;
      for (double& value : x.values) {
        value = view.scale * rounded_to_bf16(static_cast<float>(value / view.scale));
      }
    }
    set_inputs();
  }

  void set_inputs() {
    for (int v = 0; v < data.problem.num_views(); ++v) {
      backend->set_input(v, data.start[static_cast<std::size_t>(v)].values.data());
    }
  }

  void pass(PassMode mode, std::int64_t block_rows = 100) {
    MatrixSource source = data.source(block_rows);
    std::vector<T> out(w.values.size());
    backend->begin_pass(mode);
    Block block;
    if (between) between();
    while (source.next(block)) {
      backend->process(block, out.data() + block.first_row * k);
    }
    const std::span<const double> result = backend->end_pass(Memory::kHost).numbers;
    sums.assign(result.begin(), result.end());
    backend->finish_pass();
    std::copy(out.begin(), out.end(), w.values.begin());
  }

  [[nodiscard]] const ViewSpec& spec(std::size_t v) const { return data.problem.views[v]; }

  /// sum_v w_v X_v H_v^T for the input factors.
  [[nodiscard]] Matrix b() const {
    Matrix sum(w.rows, k);
    for (std::size_t v = 0; v < data.views.size(); ++v) {
      const Matrix h = factor_of(*backend, data.problem, Factor::kInput, static_cast<int>(v));
      const Matrix part = multiply(operands[v], transpose(h));
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
  /// The views as the products multiply them.
  std::vector<Matrix> operands;
  Matrix w;
  /// Called, if there, between the start of a pass and its first block.
  std::function<void()> between;
  /// What the last pass returned.
  std::vector<double> sums;
  std::unique_ptr<Backend> backend;
};

}  // namespace cofactor::testing
