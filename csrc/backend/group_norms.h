#pragma once

// The norms of W by group and component that the penalty on groups is majorised at. They are few,
// and kept by the host.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/problem.h"

namespace cofactor {

class GroupNorms {
 public:
  /// At first infinity, for all groups and components; none where groups are not penalised.
  explicit GroupNorms(const Problem& problem);

  void set(const double* norms);
  [[nodiscard]] std::span<const double> current() const { return current_; }
  /// What the penalty adds to the diagonal of a row's problem, by group and component.
  [[nodiscard]] std::vector<double> diagonal() const;

  /// From here on, `squares` are those of W by group and component in the last pass.
  [[nodiscard]] double sum(int fit, const double* squares) const;
  void accept(int fit, const double* squares);
  void restore(int fit);
  /// Drops all components of fits but these.
  void keep(const std::vector<int>& fits);

 private:
  /// Calls work(index) for the norms of a fit's groups and components.
  template <class Work>
  void for_each(int fit, const Work& work) const {
    for (std::size_t group = 0; group * components_ < current_.size(); ++group) {
      for (std::size_t r = begin_[static_cast<std::size_t>(fit)];
           r < begin_[static_cast<std::size_t>(fit) + 1]; ++r) {
        work(group * components_ + r);
      }
    }
  }

  double penalty_;
  std::size_t components_;
  std::vector<std::size_t> begin_;  ///< first component of every fit, and behind them all
  std::vector<double> current_, previous_;
};

}  // namespace cofactor
