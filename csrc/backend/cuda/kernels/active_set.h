#pragma once

// The active-set method of backend/cpu/nnls/active_set.h by one warp, in memory of its own: one
// problem, min 1/2 x'Gx - b'x over x >= 0, whatever its condition, in float64. Components are added
// to the passive set one at a time, and with each the factor gains a row.

#include <cmath>
#include <cstdint>

#include "backend/cuda/group.h"

namespace cofactor::cuda {

/// Numbers of float64 that ActiveSet works in.
[[nodiscard]] constexpr std::int64_t active_set_workspace(int k) {
  return std::int64_t{k} * k + std::int64_t{8} * k;
}

template <class Warp>
class ActiveSet {
 public:
  /// `gram` has k rows of `stride` numbers, to which `diagonal` is added, k numbers of the
  /// caller's. The solution violates the conditions of optimality by at most `tolerance`.
  COFACTOR_KERNEL ActiveSet(Warp& warp, int k, const double* gram, std::int64_t stride,
                            const double* diagonal, double tolerance, double* workspace)
      : warp_(warp),
        k_(k),
        gram_(gram),
        stride_(stride),
        diagonal_(diagonal),
        tolerance_(tolerance),
        factor_(workspace),
        right_(workspace + std::int64_t{k} * k),
        last_(right_ + k),
        minimiser_(last_ + k),
        rest_(minimiser_ + k),
        forward_(rest_ + k),
        gradient_(forward_ + k),
        passive_(reinterpret_cast<std::int32_t*>(gradient_ + k)),
        is_passive_(passive_ + k) {}

  /// Improves x >= 0 in place; its support is the first guess, unless x = 0 is a better point.
  COFACTOR_KERNEL void solve(const double* b, double* x) {
    clear_if_worse_than_zero(b, x);
    for (int step = 0; step < kMostSteps; ++step) {
      each_of(k_, [&](int r) {
        last_[r] = x[r];
        right_[r] = b[r] + kRidge * x[r];
      });
      warp_.sync();
      solve_definite(x);
      // What the ridge adds to the gradient is what the problem itself still lacks.
      const double moved = largest_of(k_, 0.0, [&](int r) {
        const double way = x[r] - last_[r];
        return way < 0 ? -way : way;
      });
      warp_.sync();
      if (!(kRidge * moved > tolerance_)) return;
    }
  }

 private:
  /// Far above what rounding leaves of a pivot that should be 0, far below the curvature of
  /// components that matter.
  static constexpr double kRidge = 1e-8;
  static constexpr int kMostSteps = 100;
  template <class Value>
  using PerLane = typename Warp::template PerLane<Value>;

  /// f(i) for all i < n. A lane has the same i every time.
  template <class F>
  COFACTOR_KERNEL void each_of(int n, const F& f) {
    warp_.each([&](int lane) {
      for (int i = lane; i < n; i += kWarpSize) f(i);
    });
  }
  /// The largest of `least` and f(i) for all i < n.
  template <class F>
  COFACTOR_KERNEL double largest_of(int n, double least, const F& f) {
    PerLane<double> largest;
    warp_.each([&](int lane) {
      largest[lane] = least;
      for (int i = lane; i < n; i += kWarpSize) largest[lane] = larger(largest[lane], f(i));
    });
    return warp_.max(largest);
  }
  template <class F>
  COFACTOR_KERNEL void alone(const F& f) {
    warp_.each([&](int lane) {
      if (lane == 0) f();
    });
    warp_.sync();
  }

  /// (G + diag(d) + ridge)_rl
  COFACTOR_KERNEL double entry(int r, int l) const {
    const double value = gram_[r * stride_ + l];
    return r == l ? value + diagonal_[r] + kRidge : value;
  }

  COFACTOR_KERNEL void clear_if_worse_than_zero(const double* b, double* x) {
    PerLane<double> part;
    warp_.each([&](int lane) {
      part[lane] = 0;
      for (int r = lane; r < k_; r += kWarpSize) {
        if (!(x[r] > 0)) continue;
        double product = diagonal_[r] * x[r];
        for (int l = 0; l < k_; ++l) product += gram_[r * stride_ + l] * x[l];
        part[lane] += x[r] * (product / 2 - b[r]);
      }
    });
    const bool better = warp_.sum(part) < 0;
    each_of(k_, [&](int r) {
      if (!better || !(x[r] > 0)) x[r] = 0;
    });
    warp_.sync();
  }

  COFACTOR_KERNEL void solve_definite(double* x) {
    alone([&] {
      std::int32_t size = 0;
      for (int r = 0; r < k_; ++r) {
        is_passive_[r] = x[r] > 0 ? 1 : 0;
        if (x[r] > 0) passive_[size++] = r;
      }
    });
    PerLane<int> positive;
    warp_.each([&](int lane) {
      positive[lane] = 0;
      for (int r = lane; r < k_; r += kWarpSize) positive[lane] += is_passive_[r];
    });
    size_ = warp_.sum(positive);
    factored_ = 0;
    // Every round adds a coordinate after the first; the method ends, the limit guards against
    // cycling by rounding.
    for (int round = 0; round < 3 * k_ + 10; ++round) {
      descend(x);
      const int best = steepest(x);
      if (best == k_) return;
      alone([&] {
        passive_[size_] = best;
        is_passive_[best] = 1;
      });
      ++size_;
    }
  }

  /// Moves x to the minimiser over the passive set, and drops what becomes 0 on the way.
  COFACTOR_KERNEL void descend(double* x) {
    for (;;) {
      minimise_on_passive();
      const double step = -largest_of(size_, -1.0, [&](int at) {
        const int r = passive_[at];
        const bool leaves = minimiser_[r] <= 0 && x[r] > minimiser_[r];
        return leaves ? -x[r] / (x[r] - minimiser_[r]) : -1.0;
      });
      warp_.sync();
      each_of(size_, [&](int at) {
        const int r = passive_[at];
        x[r] += step * (minimiser_[r] - x[r]);
      });
      warp_.sync();
      if (!drop(x)) return;
    }
  }

  /// Takes coordinates that have become 0 out of the passive set. Returns whether there are any.
  COFACTOR_KERNEL bool drop(double* x) {
    PerLane<int> kept, intact;
    warp_.each([&](int lane) {
      kept[lane] = size_;
      intact[lane] = size_;
      if (lane != 0) return;
      kept[lane] = 0;
      for (int at = 0; at < size_; ++at) {
        const std::int32_t r = passive_[at];
        if (minimiser_[r] <= 0 && x[r] <= tolerance_) {
          intact[lane] = smaller(intact[lane], at);
          is_passive_[r] = 0;
          x[r] = 0;
        } else {
          passive_[kept[lane]++] = r;
        }
      }
    });
    warp_.sync();
    const int before = size_;
    size_ = warp_.broadcast(kept, 0);
    factored_ = smaller(factored_, warp_.broadcast(intact, 0));
    return size_ != before;
  }

  /// The minimiser over the passive set, by Cholesky; 0 elsewhere.
  COFACTOR_KERNEL void minimise_on_passive() {
    for (; factored_ < size_; ++factored_) factor_row(factored_);
    each_of(k_, [&](int r) { minimiser_[r] = 0; });
    each_of(size_, [&](int i) { rest_[i] = right_[passive_[i]]; });
    warp_.sync();
    for (int j = 0; j < size_; ++j) {
      const double value = rest_[j] / factor(j, j);
      warp_.each([&](int lane) {
        if (lane == 0) forward_[j] = value;
        for (int i = j + 1 + lane; i < size_; i += kWarpSize) rest_[i] -= value * factor(i, j);
      });
      warp_.sync();
    }
    for (int j = size_; j-- > 0;) {
      const double value = forward_[j] / factor(j, j);
      warp_.each([&](int lane) {
        if (lane == 0) minimiser_[passive_[j]] = value;
        for (int i = lane; i < j; i += kWarpSize) forward_[i] -= value * factor(j, i);
      });
      warp_.sync();
    }
  }

  COFACTOR_KERNEL void factor_row(int i) {
    each_of(i + 1, [&](int j) { rest_[j] = entry(passive_[i], passive_[j]); });
    warp_.sync();
    for (int j = 0; j < i; ++j) {
      const double value = rest_[j] / factor(j, j);
      warp_.each([&](int lane) {
        if (lane == 0) factor(i, j) = value;
        for (int l = j + 1 + lane; l <= i; l += kWarpSize) {
          rest_[l] -= value * (l == i ? value : factor(l, j));
        }
      });
      warp_.sync();
    }
    alone([&] { factor(i, i) = sqrt(larger(rest_[i], kRidge / 2)); });
  }
  /// Column by column, so that lanes read consecutive numbers.
  COFACTOR_KERNEL double& factor(int i, int j) { return factor_[std::int64_t{j} * k_ + i]; }

  /// The coordinate outside the passive set along which the descent is steepest; k if it is within
  /// the tolerance along all of them.
  COFACTOR_KERNEL int steepest(const double* x) {
    each_of(k_, [&](int r) { gradient_[r] = right_[r]; });
    for (int at = 0; at < size_; ++at) {
      const int p = passive_[at];
      const double value = x[p];
      each_of(k_, [&](int r) { gradient_[r] -= entry(p, r) * value; });
    }
    const auto descent = [&](int r) {
      return x[r] > 0 || is_passive_[r] != 0 ? tolerance_ : gradient_[r];
    };
    const double most = largest_of(k_, tolerance_, descent);
    if (!(most > tolerance_)) return k_;
    PerLane<int> first;
    warp_.each([&](int lane) {
      first[lane] = -k_;
      for (int r = lane; r < k_; r += kWarpSize) {
        if (descent(r) == most) first[lane] = larger(first[lane], -r);
      }
    });
    return -warp_.max(first);
  }

  Warp& warp_;
  int k_;
  const double* gram_;
  std::int64_t stride_;
  const double* diagonal_;
  double tolerance_;
  double *factor_, *right_, *last_, *minimiser_, *rest_, *forward_, *gradient_;
  std::int32_t *passive_, *is_passive_;
  int size_ = 0;      ///< of the passive set
  int factored_ = 0;  ///< its first coordinates, whose rows of the factor are known
};

}  // namespace cofactor::cuda
