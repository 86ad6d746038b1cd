#pragma once

// Batched non-negative least squares by block principal pivoting: J. Kim and H. Park, "Fast
// nonnegative matrix factorization: an active-set-like method and comparisons", SIAM J. Sci.
// Comput. 33(6), 2011.
//
// A few sweeps of coordinate descent guess which coordinates are positive. Then rounds: the
// minimiser on this face, and an exchange of the coordinates that came out infeasible. A lane whose
// column is done takes the next one. A column's numbers never meet those of another: its result
// depends on its own problem alone, and not on which columns are solved beside it.

#include <cstdint>

#include "backend/cpu/kernels.h"
#include "backend/cpu/nnls/tile.h"

namespace cofactor::cpu {
namespace {

template <class V>
class BlockPivoting {
 public:
  using T = typename V::T;

  explicit BlockPivoting(const NnlsArgs<T>& args)
      : args_(args),
        faces_(reinterpret_cast<T*>(args.scratch)),
        tile_(args, faces_ + kNnlsBatch * nnls_stride(args.k)) {}

  /// Solves n columns from `first`; returns the number of unfinished ones.
  std::int64_t solve(std::int64_t first, int n) {
    first_ = first;
    for (int i = 0; i < n; i += V::kLanes) guess(i, n - i < V::kLanes ? n - i : V::kLanes);
    sort_by_size(n);
    next_ = 0;
    waiting_ = n;
    unfinished_ = 0;
    int busy = 0;
    for (int lane = 0; lane < V::kLanes; ++lane) busy += refill(lane) ? 1 : 0;
    while (busy > 0) busy -= advance();
    return unfinished_;
  }

 private:
  /// Sweeps of coordinate descent before the first round: fewer cost more rounds, which are the
  /// dearer the more coordinates there are. A given start is nearer to the solution.
  [[nodiscard]] int sweeps() const {
    return args_.warm ? within(args_.k / 32, 2, 4) : within(args_.k / 12, 4, 10);
  }
  static int within(int x, int least, int most) {
    if (x < least) return least;
    return x < most ? x : most;
  }
  /// Exchanges of all infeasible coordinates that may fail to lower their number before they go one
  /// at a time, which ends in any case.
  static constexpr int kPatience = 3;

  /// Where a lane is in the solution of its column.
  struct Progress {
    std::int32_t column = -1;  ///< counted from first_; -1 for none
    int rounds = 0;
    int fewest = 0;  ///< infeasible coordinates in the best round
    int patience = 0;
  };

  /// The faces to start with, of n columns from the i-th.
  void guess(int i, int n) {
    tile_.load_start(first_ + i, n);
    for (int sweep = sweeps(); sweep > 0; --sweep) tile_.sweep();
    T sizes[V::kLanes];
    tile_.store_faces(faces_ + i, kNnlsBatch, sizes);
    for (int lane = 0; lane < n; ++lane) {
      size_[i + lane] = static_cast<int>(sizes[lane]);
      largest_b_[i + lane] = tile_.largest_b(lane);
    }
  }

  /// Queues columns of like faces one after the other: a tile costs what its largest face does.
  void sort_by_size(int n) {
    constexpr int kBuckets = 32;
    int end[kBuckets + 1] = {};
    const auto bucket = [&](int i) { return size_[i] * kBuckets / (args_.k + 1); };
    for (int i = 0; i < n; ++i) ++end[bucket(i) + 1];
    for (int at = 0; at < kBuckets; ++at) end[at + 1] += end[at];
    for (int i = 0; i < n; ++i) queue_[end[bucket(i)]++] = i;
  }

  /// Gives the next column to a lane, if there is one.
  bool refill(int lane) {
    Progress& progress = progress_[lane];
    if (next_ == waiting_) {
      progress.column = -1;
      tile_.clear_face(lane);
      return false;
    }
    progress = {queue_[next_++], 0, args_.k + 1, kPatience};
    tile_.load(lane, first_ + progress.column, largest_b_[progress.column]);
    tile_.load_face(lane, faces_ + progress.column, kNnlsBatch);
    return true;
  }

  /// A round in every lane; returns the number of lanes that fell idle.
  int advance() {
    tile_.minimise_on_faces();
    const typename Tile<V>::Verdict verdict = tile_.judge();
    T all[V::kLanes] = {};
    bool done[V::kLanes] = {};
    for (int lane = 0; lane < V::kLanes; ++lane) {
      Progress& progress = progress_[lane];
      if (progress.column < 0) continue;
      const int infeasible = static_cast<int>(verdict.infeasible[lane]);
      const bool solved = verdict.open[lane] == 0;
      // A feasible point outside the tolerance is the work of rounding: more rounds do not help.
      done[lane] = solved || infeasible == 0 || ++progress.rounds >= args_.max_exchanges;
      if (done[lane]) {
        finish(lane, solved);
      } else {
        all[lane] = exchanges_all(progress, infeasible) ? 1 : 0;
        if (all[lane] == 0) tile_.exchange_last(lane);
      }
    }
    tile_.exchange(all);
    int idle = 0;
    for (int lane = 0; lane < V::kLanes; ++lane) idle += done[lane] && !refill(lane) ? 1 : 0;
    return idle;
  }

  static bool exchanges_all(Progress& progress, int infeasible) {
    if (infeasible < progress.fewest) {
      progress.fewest = infeasible;
      progress.patience = kPatience;
      return true;
    }
    return progress.patience-- > 0;
  }

  void finish(int lane, bool solved) {
    const std::int64_t column = first_ + progress_[lane].column;
    tile_.write(lane, column);
    unfinished_ += solved ? 0 : 1;
    if (args_.unfinished != nullptr) args_.unfinished[column] = solved ? 0 : 1;
  }

  const NnlsArgs<T>& args_;
  T* faces_;  ///< of all columns, 1 or 0 a coordinate
  Tile<V> tile_;
  std::int64_t first_ = 0;
  std::int64_t unfinished_ = 0;
  Progress progress_[V::kLanes];
  int size_[kNnlsBatch];  ///< coordinates of a column's face
  T largest_b_[kNnlsBatch];
  std::int32_t queue_[kNnlsBatch];
  int next_ = 0, waiting_ = 0;
};

}  // namespace
}  // namespace cofactor::cpu
