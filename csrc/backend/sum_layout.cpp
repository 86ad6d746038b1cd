#include "backend/sum_layout.h"

namespace cofactor {

SumLayout::SumLayout(const Problem& problem)
    : num_views_(problem.num_views()),
      c_size_(std::int64_t{problem.total_rank()} * problem.total_rank()),
      residual_(std::int64_t{2} * problem.num_fits()),
      groups_(residual_ + std::int64_t{problem.num_fits()} * num_views_) {
  for (int view = 0; view < num_views_; ++view) {
    const bool complete = problem.row_terms.complete(view);
    if (!complete) incomplete_.push_back(view);
    c_index_.push_back(complete ? 0 : static_cast<int>(incomplete_.size()));
  }
  const std::int64_t groups = problem.penalises_groups() ? problem.row_terms.num_groups : 0;
  c_ = groups_ + groups * problem.total_rank();
  size_ = c_ + num_c() * c_size_;
  for (const ViewSpec& view : problem.views) {
    s_.push_back(size_);
    size_ += problem.total_rank() * view.columns;
  }
}

}  // namespace cofactor
