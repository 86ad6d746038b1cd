#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "core/problem.h"

namespace cofactor {

/// Where each sum lies in the one array that processes add up.
class SumLayout {
 public:
  explicit SumLayout(const Problem& problem);
  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] std::int64_t row_sums(int fit) const { return std::int64_t{2} * fit; }
  [[nodiscard]] std::int64_t residual(int fit, int view) const {
    return residual_ + std::int64_t{fit} * num_views_ + view;
  }
  /// Squares of W by group, K a group.
  [[nodiscard]] std::int64_t group_squares() const { return groups_; }
  /// Number 0 is C of every row; one for each view that some rows lack follows.
  [[nodiscard]] int num_c() const { return 1 + static_cast<int>(incomplete_.size()); }
  [[nodiscard]] int c_index(int view) const {
    return view == kEveryRow ? 0 : c_index_[static_cast<std::size_t>(view)];
  }
  [[nodiscard]] int view_of_c(int index) const {
    return incomplete_[static_cast<std::size_t>(index - 1)];
  }
  [[nodiscard]] std::int64_t c(int index) const { return c_ + index * c_size_; }
  [[nodiscard]] std::int64_t s(int view) const { return s_[static_cast<std::size_t>(view)]; }

 private:
  int num_views_;
  std::vector<int> c_index_;     ///< by view
  std::vector<int> incomplete_;  ///< views that some rows lack
  std::int64_t c_size_;
  std::int64_t residual_;
  std::int64_t groups_;
  std::int64_t c_;
  std::vector<std::int64_t> s_;
  std::int64_t size_;
};

}  // namespace cofactor
