#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "als/loop.h"
#include "backend/device.h"
#include "reference.h"

namespace cofactor::testing {

/// Base of the tests of the loop on the CPU backend; the parameter asks for float64.
class LoopFixture : public RandomTest, public ::testing::WithParamInterface<bool> {
 protected:
  static std::unique_ptr<Backend> backend_for(const Coupled& data, BackendOptions options) {
    options.float64 = GetParam();
    auto backend = make_backend(data.problem, options);
    for (int v = 0; v < data.problem.num_views(); ++v) {
      backend->set_input(v, data.start[static_cast<std::size_t>(v)].values.data());
    }
    return backend;
  }
  static std::unique_ptr<Backend> backend_for(const Coupled& data) {
    BackendOptions options;
    options.threads = 2;
    return backend_for(data, options);
  }
  static AlsOptions options_for(const Coupled& data, int iterations) {
    AlsOptions options;
    options.max_iterations = iterations;
    options.tolerance = 0;
    options.sum_of_squares = data.sum_of_squares();
    return options;
  }
  static Matrix factor(const Backend& backend, const Problem& problem, int view) {
    Matrix h(problem.total_rank(), problem.views[static_cast<std::size_t>(view)].columns);
    backend.get_factor(Factor::kInput, view, h.values.data());
    return h;
  }
  static Wide gamma(std::int64_t n) {
    return GetParam() ? testing::gamma<double>(n) : testing::gamma<float>(n);
  }
  static double solver_tolerance() { return GetParam() ? 1e-10 : 1e-5; }
  /// W of the input factors.
  static Matrix encode(Backend& backend, const Coupled& data, EncodeResult& result, bool exact) {
    Matrix w(data.problem.rows, data.problem.total_rank());
    std::vector<float> singles(GetParam() ? 0 : w.values.size());
    MatrixSource source = data.source(0);
    Reducer reducer;
    const std::size_t row_bytes =
        static_cast<std::size_t>(data.problem.total_rank()) * (GetParam() ? 8 : 4);
    MemorySink out(GetParam() ? static_cast<void*>(w.values.data()) : singles.data(), row_bytes);
    result = als_encode(backend, data.problem, source, reducer, data.sum_of_squares(), exact, &out);
    std::copy(singles.begin(), singles.end(), w.values.begin());
    return w;
  }
  /// ||X_v - W H_v||^2 of every view.
  static std::vector<double> residuals(const Coupled& data, const Matrix& w,
                                       const std::vector<Matrix>& h) {
    std::vector<double> result;
    for (std::size_t v = 0; v < h.size(); ++v) {
      Matrix rest = multiply(w, h[v]);
      for (std::size_t i = 0; i < rest.values.size(); ++i) {
        rest.values[i] = data.views[v].values.values[i] - rest.values[i];
      }
      result.push_back(squared_norm(rest));
    }
    return result;
  }
  /// How far the identity may be from the truth, relative to ||X||^2: three sums of that size at
  /// most, of rows within a panel and of columns within a Gram matrix.
  static Wide identity_bound(const Coupled& data) {
    return 4 * gamma(kPanelRows + data.total_columns() + 20);
  }
};

}  // namespace cofactor::testing
