#include "als/loss.h"

#include <cmath>
#include <utility>

namespace cofactor {

namespace {

/// What is left of a difference of large numbers; NaN stays NaN.
double at_least_zero(double value) { return value < 0.0 ? 0.0 : value; }

}  // namespace

double identity_limit(int compute_size) {
  // S, C and H H^T are sums of at most kPanelRows products in the compute type, then float64: each
  // is off by at most about that many roundings. Of ||X||^2 - 2 <S, H> + <C, H H^T> that makes four
  // times as much, and the loss should be a hundred times that. Roundings mostly average out, but
  // not those of equal rows.
  const double unit = compute_size == 4 ? std::ldexp(1.0, -24) : std::ldexp(1.0, -53);
  return 100.0 * 4.0 * static_cast<double>(kPanelRows + 16) * unit;
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
  double penalties = problem_.l1_w * rows.w_l1 + 0.5 * problem_.l2_w * trace_c +
                     problem_.group_penalty * rows.group_norms;
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
    residual.push_back(at_least_zero(sum_of_squares_[v] - 2.0 * terms[v].cross + terms[v].model));
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
  return total_ > 0 ? at_least_zero(total_ - 2.0 * cross + model) / total_ : 0.0;
}

}  // namespace cofactor
