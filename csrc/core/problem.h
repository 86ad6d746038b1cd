#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "core/dtype.h"

namespace cofactor {

/// One view of the coupled problem.
struct ViewSpec {
  std::int64_t columns = 0;
  DType dtype = DType::kFloat32;
  double scale = 1.0;   ///< value = stored number * scale
  double weight = 1.0;  ///< w_v; a view of weight 0 is passive: it does not shape W
  double l1_h = 0.0;    ///< linear penalty on H_v, in the problem 1/2 ||X_v - W H_v||^2
  double l2_h = 0.0;    ///< ridge on H_v, in the same problem
};

/// What is factorized. Several fits share one read of the data: their factors are stacked, fit f
/// owning `ranks[f]` consecutive components.
struct Problem {
  std::int64_t rows = 0;
  std::vector<ViewSpec> views;
  std::vector<int> ranks;
  double l1_w = 0.0;  ///< linear penalty on W
  double l2_w = 0.0;  ///< ridge on W
  /// Without missing views every C_v is the same matrix, kept once.
  bool views_share_c = true;

  [[nodiscard]] int total_rank() const { return std::accumulate(ranks.begin(), ranks.end(), 0); }
  [[nodiscard]] int num_fits() const { return static_cast<int>(ranks.size()); }
  [[nodiscard]] int num_views() const { return static_cast<int>(views.size()); }
  [[nodiscard]] int num_c() const { return views_share_c ? 1 : num_views(); }
};

/// Rows that are summed in the compute type before they join the float64 sums. Fixed and counted
/// from row 0, so that no block size or number of threads changes a bit.
inline constexpr std::int64_t kPanelRows = 512;

}  // namespace cofactor
