#pragma once

#include <cmath>

namespace cofactor {

/// Momentum of one fit: H is extrapolated along its last step by a factor that grows as in
/// Nesterov's method and starts over when the objective rises (A. Ang and N. Gillis,
/// "Accelerating nonnegative matrix factorization algorithms using extrapolation",
/// arXiv:1805.06604). The test is free: exact ALS knows its objective after every pass.
class Momentum {
 public:
  /// `t` is where the sequence of factors stands; it begins with 1.
  explicit Momentum(bool enabled, double t = 1.0) : enabled_(enabled), t_(t) {}

  [[nodiscard]] bool enabled() const { return enabled_; }
  [[nodiscard]] double t() const { return t_; }

  /// Factor for the step that follows an accepted one.
  double next() {
    if (!enabled_) return 0.0;
    const double after = 0.5 * (1.0 + std::sqrt(1.0 + 4.0 * t_ * t_));
    const double factor = (t_ - 1.0) / after;
    t_ = after;
    return factor;
  }
  void restart() { t_ = 1.0; }

 private:
  bool enabled_;
  double t_;
};

}  // namespace cofactor
