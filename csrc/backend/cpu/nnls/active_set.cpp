#include "backend/cpu/nnls/active_set.h"

#include <algorithm>
#include <cmath>

namespace cofactor::cpu {
namespace {

/// Far above what rounding leaves of a pivot that should be 0, far below the curvature of
/// components that matter.
constexpr double kRidge = 1e-8;
/// Of the violation of the optimality conditions, relative to the largest |b|.
constexpr double kTolerance = 1e-12;
constexpr int kMaxSteps = 100;

}  // namespace

ActiveSetSolver::ActiveSetSolver(const double* gram, int k)
    : gram_(gram), k_(static_cast<std::size_t>(k)), factor_(k_ * k_), minimiser_(k_) {
  passive_.reserve(k_);
}

double ActiveSetSolver::entry(std::size_t r, std::size_t l) const {
  return gram_[r * k_ + l] + (r == l ? kRidge : 0.0);
}

double ActiveSetSolver::objective(const double* b, const double* x) const {
  double sum = 0.0;
  for (std::size_t r = 0; r < k_; ++r) {
    double product = 0.0;
    for (std::size_t l = 0; l < k_; ++l) product += gram_[r * k_ + l] * x[l];
    sum += x[r] * (product / 2 - b[r]);
  }
  return sum;
}

void ActiveSetSolver::minimise_on_passive(const std::vector<double>& b) {
  const std::size_t n = passive_.size();
  const auto factor = [this](std::size_t i, std::size_t j) -> double& {
    return factor_[i * k_ + j];
  };
  solution_.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = entry(passive_[i], passive_[j]);
      for (std::size_t l = 0; l < j; ++l) sum -= factor(i, l) * factor(j, l);
      factor(i, j) = j < i ? sum / factor(j, j) : std::sqrt(std::max(sum, kRidge / 2));
    }
    double sum = b[passive_[i]];
    for (std::size_t l = 0; l < i; ++l) sum -= factor(i, l) * solution_[l];
    solution_[i] = sum / factor(i, i);
  }
  std::fill(minimiser_.begin(), minimiser_.end(), 0.0);
  for (std::size_t i = n; i-- > 0;) {
    double sum = solution_[i];
    for (std::size_t l = i + 1; l < n; ++l) sum -= factor(l, i) * minimiser_[passive_[l]];
    minimiser_[passive_[i]] = sum / factor(i, i);
  }
}

void ActiveSetSolver::descend(const std::vector<double>& b, double* x, double tolerance) {
  for (;;) {
    minimise_on_passive(b);
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
    if (passive_.size() == before) return;
  }
}

std::size_t ActiveSetSolver::steepest(const std::vector<double>& b, const double* x,
                                      double tolerance) const {
  std::size_t best = k_;
  double largest = tolerance;
  for (std::size_t r = 0; r < k_; ++r) {
    if (x[r] > 0 || std::find(passive_.begin(), passive_.end(), r) != passive_.end()) continue;
    double descent = b[r];
    for (std::size_t l = 0; l < k_; ++l) descent -= entry(r, l) * x[l];
    if (descent > largest) {
      largest = descent;
      best = r;
    }
  }
  return best;
}

void ActiveSetSolver::solve_definite(const std::vector<double>& b, double* x, double tolerance) {
  passive_.clear();
  for (std::size_t r = 0; r < k_; ++r) {
    if (x[r] > 0) passive_.push_back(r);
  }
  // Every round adds a coordinate after the first; the method ends, the limit guards against
  // cycling by rounding.
  for (std::size_t round = 0; round < 3 * k_ + 10; ++round) {
    descend(b, x, tolerance);
    const std::size_t best = steepest(b, x, tolerance);
    if (best == k_) return;
    passive_.push_back(best);
  }
}

void ActiveSetSolver::solve(const double* b, double* x) {
  double largest = 0.0;
  for (std::size_t r = 0; r < k_; ++r) largest = std::max(largest, std::abs(b[r]));
  const double tolerance = kTolerance * largest;
  if (objective(b, x) >= 0) std::fill_n(x, k_, 0.0);
  std::vector<double> right(k_), last(k_);
  for (int step = 0; step < kMaxSteps; ++step) {
    std::copy_n(x, k_, last.begin());
    for (std::size_t r = 0; r < k_; ++r) right[r] = b[r] + kRidge * x[r];
    solve_definite(right, x, tolerance);
    // What the ridge adds to the gradient is what the problem itself still lacks.
    double moved = 0.0;
    for (std::size_t r = 0; r < k_; ++r) moved = std::max(moved, std::abs(x[r] - last[r]));
    if (kRidge * moved <= tolerance) return;
  }
}

}  // namespace cofactor::cpu
