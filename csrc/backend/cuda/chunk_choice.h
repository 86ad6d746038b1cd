#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace cofactor::cuda {

/// How many panels of rows go through all steps of a pass together. Fewer find the rows in the
/// device's cache when they are read again; more keep its multiprocessors busier. The first passes
/// try a few sizes and measure them; the sums are the same.
class ChunkChoice {
 public:
  /// Panels that the cache holds, that memory holds at most, and that a pass has; 0: not known.
  ChunkChoice(std::int64_t cached, std::int64_t most, std::int64_t available) {
    if (available > 0) most = std::min(most, available);
    const std::int64_t first = std::clamp<std::int64_t>(cached, 1, most);
    sizes_.push_back(first);
    for (std::int64_t size = 2 * first; size <= std::min(most, kFactor * first); size *= 2) {
      sizes_.push_back(size);
    }
    seconds_.assign(sizes_.size(), 0.0);
    panels_.assign(sizes_.size(), 0);
    tries_.assign(sizes_.size(), 0);
    measured_ = sizes_.size() == 1;
  }

  [[nodiscard]] std::int64_t largest() const {
    return *std::max_element(sizes_.begin(), sizes_.end());
  }
  /// The size to stay with, once measured.
  [[nodiscard]] std::int64_t chosen() const { return sizes_[chosen_]; }
  /// Whether sizes are still being tried.
  [[nodiscard]] bool measures() const { return !measured_; }
  /// Of the next chunk, where so many panels are left of the rows at hand. A pass begins with the
  /// size that was tried least, so that each has its turn, however short passes are.
  [[nodiscard]] std::int64_t next(std::int64_t left) {
    if (measured_) return sizes_[chosen_];
    std::size_t least = 0;
    for (std::size_t at = 1; at < sizes_.size() && sizes_[at] <= left; ++at) {
      if (tries_[at] <= tries_[least]) least = at;
    }
    if (sizes_[least] <= left) ++tries_[least];
    return sizes_[least];
  }
  /// What a chunk of so many whole panels took. The first of each size is not counted.
  void add(std::int64_t panels, double seconds) {
    const auto found = std::find(sizes_.begin(), sizes_.end(), panels);
    if (measured_ || found == sizes_.end()) return;
    const auto at = static_cast<std::size_t>(found - sizes_.begin());
    if (panels_[at] > 0) seconds_[at] += seconds;
    panels_[at] += panels;
  }
  /// After a pass: takes the fastest, if all were tried often enough.
  void decide() {
    if (measured_) return;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t at = 0; at < sizes_.size(); ++at) {
      if (panels_[at] < (kRounds + 1) * sizes_[at]) return;
      const double by_panel = seconds_[at] / static_cast<double>(panels_[at] - sizes_[at]);
      // Of equal ones the smallest, which takes the least memory.
      if (by_panel >= least) continue;
      least = by_panel;
      chosen_ = at;
    }
    measured_ = true;
  }

 private:
  static constexpr std::int64_t kFactor = 4;
  static constexpr std::int64_t kRounds = 4;  ///< that each size is measured

  std::vector<std::int64_t> sizes_;
  std::vector<double> seconds_;
  std::vector<std::int64_t> panels_, tries_;
  std::size_t chosen_ = 0;
  bool measured_ = false;
};

}  // namespace cofactor::cuda
