#include "backend/cpu/nnls/active_set.h"

#include <algorithm>
#include <cmath>

namespace cofactor::cpu {

ActiveSetSolver::ActiveSetSolver(const double* gram, int k)
    : gram_(gram), k_(static_cast<std::size_t>(k)), factor_(k_ * k_), minimiser_(k_) {
  passive_.reserve(k_);
}

void ActiveSetSolver::solve_passive(const double* b) {
  constexpr double kSmallestPivot = 1e-13;
  const std::size_t n = passive_.size();
  const auto at = [&](std::size_t i, std::size_t j) -> double& { return factor_[i * k_ + j]; };
  std::vector<double> y(n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = gram(passive_[i], passive_[j]);
      for (std::size_t l = 0; l < j; ++l) sum -= at(i, l) * at(j, l);
      if (j < i) {
        at(i, j) = at(j, j) > 0 ? sum / at(j, j) : 0.0;
      } else {
        at(i, i) = sum > kSmallestPivot * gram(passive_[i], passive_[i]) ? std::sqrt(sum) : 0.0;
      }
    }
    double sum = b[passive_[i]];
    for (std::size_t l = 0; l < i; ++l) sum -= at(i, l) * y[l];
    y[i] = at(i, i) > 0 ? sum / at(i, i) : 0.0;
  }
  std::fill(minimiser_.begin(), minimiser_.end(), 0.0);
  for (std::size_t i = n; i-- > 0;) {
    double sum = y[i];
    for (std::size_t l = i + 1; l < n; ++l) sum -= at(l, i) * minimiser_[passive_[l]];
    minimiser_[passive_[i]] = at(i, i) > 0 ? sum / at(i, i) : 0.0;
  }
}

void ActiveSetSolver::solve(const double* b, double* x) {
  double largest = 0.0;
  for (std::size_t r = 0; r < k_; ++r) largest = std::max(largest, std::abs(b[r]));
  const double tolerance = 1e-12 * largest;
  passive_.clear();
  for (std::size_t r = 0; r < k_; ++r) {
    if (x[r] > 0) passive_.push_back(r);
  }
  // Every round adds a coordinate after the first; the method ends, the limit guards against
  // cycling by rounding.
  for (std::size_t round = 0; round < 3 * k_ + 10; ++round) {
    for (;;) {
      solve_passive(b);
      double step = 1.0;
      for (const std::size_t r : passive_) {
        if (minimiser_[r] <= 0 && x[r] > minimiser_[r]) {
          step = std::min(step, x[r] / (x[r] - minimiser_[r]));
        }
      }
      for (const std::size_t r : passive_) x[r] += step * (minimiser_[r] - x[r]);
      const std::size_t before = passive_.size();
      std::erase_if(passive_, [&](std::size_t r) {
        const bool leaves = minimiser_[r] <= 0 && x[r] <= tolerance;
        if (leaves) x[r] = 0.0;
        return leaves;
      });
      if (passive_.size() == before) break;
    }
    std::size_t best = k_;
    double steepest = tolerance;
    for (std::size_t r = 0; r < k_; ++r) {
      if (x[r] > 0 || std::find(passive_.begin(), passive_.end(), r) != passive_.end()) continue;
      double descent = b[r];
      for (std::size_t l = 0; l < k_; ++l) descent -= gram(r, l) * x[l];
      if (descent > steepest) {
        steepest = descent;
        best = r;
      }
    }
    if (best == k_) return;
    passive_.push_back(best);
  }
}

}  // namespace cofactor::cpu
