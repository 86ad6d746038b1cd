#pragma once

#include <cstddef>
#include <vector>

namespace cofactor::cpu {

/// Finishes what block pivoting leaves undone where components are dependent or nearly so: one
/// problem at a time, min 1/2 x'Gx - b'x over x >= 0, by the active-set method of R. Bro and S. de
/// Jong, "A fast non-negativity-constrained least squares algorithm" (1997), in float64. It solves
/// a sequence of problems with a little more curvature around the last solution, the proximal point
/// method: each is definite, whatever G is, and their solutions end at one of the problem itself.
class ActiveSetSolver {
 public:
  /// `gram` is k x k, symmetric, with a diagonal of ones or more.
  ActiveSetSolver(const double* gram, int k);

  /// Improves x >= 0 in place; its support is the first guess, unless x = 0 is a better point.
  void solve(const double* b, double* x);

 private:
  /// x <- the minimiser of 1/2 x'(G + ridge)x - b'x.
  void solve_definite(const std::vector<double>& b, double* x, double tolerance);
  /// Moves x to the minimiser over the passive set, and drops what becomes 0 on the way.
  void descend(const std::vector<double>& b, double* x, double tolerance);
  /// Minimiser over the passive set, by Cholesky.
  void minimise_on_passive(const std::vector<double>& b);
  /// The coordinate outside the passive set along which the descent is steepest; k if it is within
  /// the tolerance along all of them.
  [[nodiscard]] std::size_t steepest(const std::vector<double>& b, const double* x,
                                     double tolerance) const;
  [[nodiscard]] double objective(const double* b, const double* x) const;
  /// (G + ridge)_rl
  [[nodiscard]] double entry(std::size_t r, std::size_t l) const;

  const double* gram_;
  std::size_t k_;
  std::vector<std::size_t> passive_;
  std::vector<double> factor_, solution_, minimiser_;
};

}  // namespace cofactor::cpu
