#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cofactor {

/// What a problem knows of single rows, by their number in the source. Each part may be empty.
struct RowTerms {
  std::vector<double> weight;  ///< factor of the row's terms in the objective

  /// Which views a row has: entry `pattern[i]` of `patterns`, with one flag a view. What a view
  /// holds in rows that lack it does not matter, be it NaN.
  std::vector<std::int32_t> pattern;
  std::vector<std::vector<bool>> patterns;

  std::vector<std::int32_t> group;  ///< group of every row, for the penalty on groups
  std::int64_t num_groups = 0;

  [[nodiscard]] double weight_of(std::int64_t row) const {
    return weight.empty() ? 1.0 : weight[static_cast<std::size_t>(row)];
  }
  [[nodiscard]] std::int32_t pattern_of(std::int64_t row) const {
    return pattern.empty() ? 0 : pattern[static_cast<std::size_t>(row)];
  }
  [[nodiscard]] bool has(std::int64_t row, int view) const {
    return pattern.empty() ||
           patterns[static_cast<std::size_t>(pattern_of(row))][static_cast<std::size_t>(view)];
  }
  /// Whether every row has the view.
  [[nodiscard]] bool complete(int view) const {
    return std::ranges::all_of(patterns, [view](const std::vector<bool>& present) {
      return present[static_cast<std::size_t>(view)];
    });
  }
  /// The rows from `first` on, at most `limit`, that have the view or lack it as the first one
  /// does.
  [[nodiscard]] std::int64_t run(std::int64_t first, std::int64_t limit, int view) const {
    if (pattern.empty()) return limit;
    std::int64_t length = 1;
    while (length < limit && has(first + length, view) == has(first, view)) ++length;
    return length;
  }
};

}  // namespace cofactor
