#pragma once

// Half of a fit W H of a low-rank product U^T diag(s) V: the side of W with U, or that of H with V.

#include <cstdint>
#include <memory>
#include <vector>

namespace cofactor {

/// A factor X of one side, as far as the other side and the loss need to know it.
struct SideSums {
  std::vector<double> coefficients;  ///< X U^T, k x r
  std::vector<double> gram;          ///< X X^T, k x k
  std::vector<double> cross;         ///< X' X^T with the accepted factor X', k x k
  double penalty = 0.0;              ///< l1 ||X||_1 + l2 / 2 ||X||_F^2
};

/// Holds the factor X >= 0 of one side, k x n, in the compute type; 0 at first.
class ProductSide {
 public:
  virtual ~ProductSide() = default;

  /// Sets the accepted factor, k x n numbers of float64, row-major, and gives its sums, those with
  /// itself for `cross`.
  virtual SideSums start(const double* x) = 0;
  /// Goes from the accepted factor towards the minimiser over X >= 0 of
  ///   1/2 <G X, X> - <K diag(s) U, X> + l1 ||X||_1 + l2 / 2 ||X||_F^2
  /// by sweeps of cyclic coordinate descent, which never raise it. `coefficients` K (k x r) and
  /// `gram` G (k x k) are those of the other side.
  virtual SideSums descend(const double* coefficients, const double* gram, int sweeps) = 0;
  /// Accepts the factor that `descend` led to; once after each.
  virtual void accept() = 0;
  /// Copies the accepted factor out, k x n, row-major.
  virtual void get_factor(double* x) const = 0;
};

struct ProductSideOptions {
  int components = 0;    ///< k
  double l1 = 0.0;       ///< linear penalty on X
  double l2 = 0.0;       ///< ridge on X
  bool float64 = false;  ///< compute type
  int threads = 0;       ///< 0: default_threads()
};

/// Of `basis` U, r x n and row-major, and the singular values s, r numbers. Copies them. The
/// results have the same bits for any number of threads.
[[nodiscard]] std::unique_ptr<ProductSide> make_cpu_product_side(const double* basis,
                                                                 std::int64_t n, std::int64_t r,
                                                                 const double* singular,
                                                                 const ProductSideOptions& options);

}  // namespace cofactor
