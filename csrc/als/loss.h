#pragma once

#include <vector>

#include "backend/backend.h"
#include "core/problem.h"

namespace cofactor {

/// Loss of one fit at one pair (W, H).
struct Loss {
  double relative = 0.0;        ///< sum_v w_v ||X_v - W H_v||^2 / sum_v w_v ||X_v||^2
  double objective = 0.0;       ///< half the weighted residual plus all penalties
  std::vector<double> by_view;  ///< ||X_v - W H_v||^2 / ||X_v||^2
  bool trusted = true;          ///< false: cancellation may have eaten more than 1 % of it
};

/// Relative losses below this may have lost more than 1 % to cancellation in the Gram identity,
/// with numbers of `compute_size` bytes.
[[nodiscard]] double identity_limit(int compute_size);

/// Turns the sums of a pass into losses; knows the data only by its sums of squares.
class LossFunction {
 public:
  LossFunction(const Problem& problem, std::vector<double> sum_of_squares, int compute_size);

  /// Of W and the solved H, from the Gram identity ||X||^2 - 2 <S, H> + <C, H H^T>.
  /// `trace_c` is ||W||_F^2.
  [[nodiscard]] Loss from_sums(const std::vector<ViewTerms>& terms, const RowSums& rows,
                               double trace_c) const;
  /// The same with the residual norms of an explicit pass in place of the identity.
  [[nodiscard]] Loss from_residual(const std::vector<ViewTerms>& terms, const RowSums& rows,
                                   double trace_c) const;
  /// ||X||^2 - 2 <B, W> + <G, C> relative to ||X||^2, for W and the H it was solved with; by view
  /// it is not known.
  [[nodiscard]] double from_rows(double cross, double model) const;

  /// sum_v w_v ||X_v||^2
  [[nodiscard]] double total() const { return total_; }

 private:
  [[nodiscard]] Loss make(const std::vector<double>& residual, const std::vector<ViewTerms>& terms,
                          const RowSums& rows, double trace_c) const;

  const Problem& problem_;
  std::vector<double> sum_of_squares_;
  double total_ = 0.0;
  double identity_limit_;
};

}  // namespace cofactor
