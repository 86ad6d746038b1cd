#include "backend/group_norms.h"

#include <algorithm>
#include <limits>

namespace cofactor {
namespace {

/// Norms below this, relative to the root mean square of a fit's norms, majorise the penalty as if
/// they were this large: a group that is nearly gone could never come back otherwise.
constexpr double kLeastGroupNorm = 1e-6;

}  // namespace

GroupNorms::GroupNorms(const Problem& problem)
    : penalty_(problem.group_penalty),
      components_(static_cast<std::size_t>(problem.total_rank())),
      begin_(1, 0) {
  for (const int rank : problem.ranks) {
    begin_.push_back(begin_.back() + static_cast<std::size_t>(rank));
  }
  if (!problem.penalises_groups()) return;
  const auto groups = static_cast<std::size_t>(problem.row_terms.num_groups);
  current_.assign(groups * components_, std::numeric_limits<double>::infinity());
  previous_ = current_;
}

void GroupNorms::set(const double* norms) {
  std::copy_n(norms, current_.size(), current_.data());
  previous_ = current_;
}

std::vector<double> GroupNorms::diagonal() const {
  std::vector<double> result(current_.size());
  for (std::size_t fit = 0; fit + 1 < begin_.size(); ++fit) {
    double squares = 0.0, count = 0.0;
    for_each(static_cast<int>(fit), [&](std::size_t at) {
      if (!std::isfinite(current_[at])) return;
      squares += current_[at] * current_[at];
      ++count;
    });
    const double least = kLeastGroupNorm * std::sqrt(squares / std::max(count, 1.0));
    for_each(static_cast<int>(fit), [&](std::size_t at) {
      const double norm = std::max(current_[at], least);
      result[at] = norm > 0 ? penalty_ / norm : 0.0;
    });
  }
  return result;
}

double GroupNorms::sum(int fit, const double* squares) const {
  double sum = 0.0;
  for_each(fit, [&](std::size_t at) { sum += std::sqrt(squares[at]); });
  return sum;
}

void GroupNorms::accept(int fit, const double* squares) {
  for_each(fit, [&](std::size_t at) { current_[at] = previous_[at] = std::sqrt(squares[at]); });
}

void GroupNorms::restore(int fit) {
  for_each(fit, [&](std::size_t at) { current_[at] = previous_[at]; });
}

void GroupNorms::keep(const std::vector<int>& fits) {
  std::vector<std::size_t> begin(1, 0);
  for (const int fit : fits) {
    const auto f = static_cast<std::size_t>(fit);
    begin.push_back(begin.back() + begin_[f + 1] - begin_[f]);
  }
  for (std::vector<double>* norms : {&current_, &previous_}) {
    std::vector<double> kept;
    for (std::size_t first = 0; first < norms->size(); first += components_) {
      for (const int fit : fits) {
        const auto f = static_cast<std::size_t>(fit);
        const auto from = norms->begin() + static_cast<std::ptrdiff_t>(first);
        kept.insert(kept.end(), from + static_cast<std::ptrdiff_t>(begin_[f]),
                    from + static_cast<std::ptrdiff_t>(begin_[f + 1]));
      }
    }
    *norms = std::move(kept);
  }
  begin_ = std::move(begin);
  components_ = begin_.back();
}

}  // namespace cofactor
