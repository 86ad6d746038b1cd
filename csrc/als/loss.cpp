#include "als/loss.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace cofactor {

double identity_limit(int compute_size) {
  // The identity subtracts numbers of the size of ||X||^2 that carry the rounding of products:
  // single terms are off by a few units, and their errors mostly average out over k d entries.
  // Eight units bound what was observed; the loss should be a hundred times that.
  const double unit = compute_size == 4 ? std::ldexp(1.0, -24) : std::ldexp(1.0, -53);
  return 100.0 * 8.0 * unit;
}

LossFunction::LossFunction(const Problem& problem, std::vector<double> sum_of_squares,
                           int compute_size)
    : problem_(problem),
      sum_of_squares_(std::move(sum_of_squares)),
      identity_limit_(identity_limit(compute_size)) {
  for (std::size_t v = 0; v < problem.views.size(); ++v) {
    total_ += problem.views[v].weight * sum_of_squares_[v];
  }
}

Loss LossFunction::make(const std::vector<double>& residual, const std::vector<ViewTerms>& terms,
                        const RowSums& rows, double trace_c) const {
  Loss loss;
  double weighted = 0.0;
  double penalties = problem_.l1_w * rows.w_l1 + 0.5 * problem_.l2_w * trace_c;
  for (std::size_t v = 0; v < terms.size(); ++v) {
    const ViewSpec& view = problem_.views[v];
    weighted += view.weight * residual[v];
    penalties += view.weight * (view.l1_h * terms[v].h_l1 + 0.5 * view.l2_h * terms[v].h_l2);
    loss.by_view.push_back(sum_of_squares_[v] > 0 ? residual[v] / sum_of_squares_[v] : 0.0);
  }
  loss.relative = total_ > 0 ? weighted / total_ : 0.0;
  loss.objective = 0.5 * weighted + penalties;
  return loss;
}

Loss LossFunction::from_sums(const std::vector<ViewTerms>& terms, const RowSums& rows,
                             double trace_c) const {
  std::vector<double> residual;
  for (std::size_t v = 0; v < terms.size(); ++v) {
    residual.push_back(std::max(0.0, sum_of_squares_[v] - 2.0 * terms[v].cross + terms[v].model));
  }
  Loss loss = make(residual, terms, rows, trace_c);
  loss.trusted = total_ <= 0 || loss.relative >= identity_limit_;
  return loss;
}

Loss LossFunction::from_residual(const std::vector<ViewTerms>& terms, const RowSums& rows,
                                 double trace_c) const {
  std::vector<double> residual;
  for (const ViewTerms& view : terms) residual.push_back(view.residual);
  return make(residual, terms, rows, trace_c);
}

double LossFunction::from_rows(double cross, double model) const {
  return total_ > 0 ? std::max(0.0, total_ - 2.0 * cross + model) / total_ : 0.0;
}

}  // namespace cofactor
