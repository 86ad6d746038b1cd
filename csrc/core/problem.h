#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "core/dtype.h"
#include "core/row_terms.h"

namespace cofactor {

/// One view of the coupled problem.
struct ViewSpec {
  std::int64_t columns = 0;
  DType dtype = DType::kFloat32;
  double scale = 1.0;   ///< value = stored number * scale
  double weight = 1.0;  ///< w_v; a view of weight 0 is passive: it does not shape W
  double l1_h = 0.0;    ///< linear penalty on H_v, in the problem 1/2 ||X_v - W H_v||^2
  double l2_h = 0.0;    ///< ridge on H_v, in the same problem
  bool fixed = false;   ///< H_v stays as it is set
};

/// What is factorized. Several fits share one read of the data: their factors are stacked, fit f
/// owning `ranks[f]` consecutive components.
struct Problem {
  std::int64_t rows = 0;
  std::vector<ViewSpec> views;
  std::vector<int> ranks;
  double l1_w = 0.0;  ///< linear penalty on W
  double l2_w = 0.0;  ///< ridge on W
  /// mu in mu * sum of ||W[g, r]||_2 over groups g of rows and components r. Each row's square
  /// counts with the row's weight.
  double group_penalty = 0.0;
  /// Rows of H_v have unit L2 norm, where the view has a weight, in place of a penalty.
  bool unit_rows = false;
  RowTerms row_terms = {};

  [[nodiscard]] int total_rank() const { return std::accumulate(ranks.begin(), ranks.end(), 0); }
  [[nodiscard]] int num_fits() const { return static_cast<int>(ranks.size()); }
  [[nodiscard]] int num_views() const { return static_cast<int>(views.size()); }
  [[nodiscard]] bool penalises_groups() const {
    return group_penalty > 0 && !row_terms.group.empty();
  }
  /// Whether some rows lack some view.
  [[nodiscard]] bool has_missing_views() const {
    for (int view = 0; view < num_views(); ++view) {
      if (!row_terms.complete(view)) return true;
    }
    return false;
  }
};

/// Rows that are summed in the compute type before they join the float64 sums. Fixed and counted
/// from row 0, so that no block size or number of threads changes a bit.
inline constexpr std::int64_t kPanelRows = 512;

}  // namespace cofactor
