#pragma once

#include <cstddef>
#include <vector>

namespace cofactor::cpu {

/// Finishes what coordinate descent leaves undone where components are nearly collinear: one
/// problem at a time, min 1/2 x'Gx - b'x over x >= 0, by the active-set method of R. Bro and S. de
/// Jong, "A fast non-negativity-constrained least squares algorithm" (1997), in float64. The
/// solution is exact up to rounding.
class ActiveSetSolver {
 public:
  /// `gram` is k x k, symmetric, with a diagonal of ones or more.
  ActiveSetSolver(const double* gram, int k);

  /// Improves x >= 0 in place; its support is the first guess.
  void solve(const double* b, double* x);

 private:
  /// Minimiser over the passive set, by Cholesky; a pivot lost to rounding leaves its coordinate at
  /// 0.
  void solve_passive(const double* b);
  [[nodiscard]] double gram(std::size_t r, std::size_t l) const { return gram_[r * k_ + l]; }

  const double* gram_;
  std::size_t k_;
  std::vector<std::size_t> passive_;
  std::vector<double> factor_, minimiser_;
};

}  // namespace cofactor::cpu
