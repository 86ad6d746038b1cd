#pragma once

// Non-negative solves on a runtime: the Gram matrices of a fit as the kernels want them, and the
// launches that solve all rows.

#include <algorithm>
#include <cstdint>

#include "backend/cuda/kernels/finish_nnls.h"
#include "backend/cuda/kernels/nnls.h"
#include "backend/cuda/kernels/scale_gram.h"
#include "backend/cuda/runtime.h"

namespace cofactor::cuda {

/// The Gram matrices of one fit, one for each pattern of views that rows may have.
template <class Runtime, class T>
class ScaledGrams {
 public:
  ScaledGrams(Runtime& runtime, int k, int patterns)
      : k_(k),
        patterns_(patterns),
        gram_(runtime, std::int64_t{patterns} * k * nnls_gram_stride(k)),
        inv_sqrt_diag_(runtime, std::int64_t{patterns} * k),
        rounded_gram_(runtime, gram_.size()),
        rounded_inv_sqrt_diag_(runtime, inv_sqrt_diag_.size()),
        row_sum_(runtime, inv_sqrt_diag_.size()) {}

  /// From `count` matrices of k rows of `ld` numbers, weighed by pattern; null: 1.
  void assign(Runtime& runtime, const double* grams, std::int64_t ld, int count,
              std::int64_t stride, const double* weight, double ridge) {
    ScaleGram<T> kernel;
    kernel.k = k_;
    kernel.grams = grams;
    kernel.ld = ld;
    kernel.count = count;
    kernel.stride = stride;
    kernel.weight = weight;
    kernel.ridge = ridge;
    kernel.gram_stride = nnls_gram_stride(k_);
    kernel.gram = gram_.data();
    kernel.inv_sqrt_diag = inv_sqrt_diag_.data();
    kernel.rounded_gram = rounded_gram_.data();
    kernel.rounded_inv_sqrt_diag = rounded_inv_sqrt_diag_.data();
    kernel.row_sum = row_sum_.data();
    runtime.launch({divide_up(k_, ScaleGram<T>::kWarps), patterns_}, kernel, 0, runtime.compute());
  }

  [[nodiscard]] int k() const { return k_; }
  void fill_in(NnlsProblem<T>& problem) const {
    problem.k = k_;
    problem.gram = rounded_gram_.data();
    problem.gram_stride = nnls_gram_stride(k_);
    problem.inv_sqrt_diag = rounded_inv_sqrt_diag_.data();
    problem.row_sum = row_sum_.data();
  }
  void fill_in(FinishNnls<T>& kernel) const {
    kernel.gram = gram_.data();
    kernel.inv_sqrt_diag = inv_sqrt_diag_.data();
  }

 private:
  int k_, patterns_;
  DeviceArray<Runtime, double> gram_, inv_sqrt_diag_;
  DeviceArray<Runtime, T> rounded_gram_, rounded_inv_sqrt_diag_, row_sum_;
};

template <class Runtime, class T>
class NnlsSolver {
 public:
  NnlsSolver() = default;
  /// For problems of at most so many components and rows.
  NnlsSolver(Runtime& runtime, int most_k, std::int64_t most_rows, double tolerance)
      : tolerance_(static_cast<T>(tolerance)), unfinished_(runtime, most_rows) {
    constexpr std::int64_t kMostBytes = std::int64_t{64} << 20;
    const std::int64_t block_size = FinishNnls<T>::kWarps * finish_nnls_workspace(most_k);
    const std::int64_t fit = kMostBytes / (block_size * static_cast<std::int64_t>(sizeof(double)));
    blocks_ = static_cast<int>(
        std::clamp<std::int64_t>(fit, 1, std::int64_t{2} * runtime.limits().multiprocessors));
    workspace_ = DeviceArray<Runtime, double>(runtime, blocks_ * block_size);
  }

  /// Solves all rows of a problem that lacks its Gram matrices and what is the solver's.
  void solve(Runtime& runtime, const ScaledGrams<Runtime, T>& grams, NnlsProblem<T> problem,
             const Parts<T>& parts) const {
    grams.fill_in(problem);
    problem.tolerance = tolerance_;
    problem.unfinished = unfinished_.data();
    with_nnls_shape(problem.k, [&](auto shape) {
      SolveNnls<T, decltype(shape)> kernel;
      kernel.problem = problem;
      kernel.parts = parts;
      runtime.launch({divide_up(problem.rows, std::int64_t{kernel.kRowsOfBlock})}, kernel, 0,
                     runtime.compute());
    });
    FinishNnls<T> kernel;
    kernel.problem = problem;
    grams.fill_in(kernel);
    kernel.workspace = workspace_.data();
    kernel.blocks = blocks_;
    runtime.launch({blocks_}, kernel, 0, runtime.compute());
  }

 private:
  T tolerance_ = 0;
  int blocks_ = 0;
  DeviceArray<Runtime, unsigned char> unfinished_;
  DeviceArray<Runtime, double> workspace_;
};

}  // namespace cofactor::cuda
