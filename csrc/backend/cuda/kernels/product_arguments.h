#pragma once

// What the two products are asked, whichever kernel answers.

#include "backend/cuda/kernels/copy_tile.h"
#include "core/problem.h"

namespace cofactor::cuda {

/// Columns that one sum of the first product runs over. Part of the result.
inline constexpr int kSliceColumns = 1024;

/// b[slice][row][component] = factor * sum of x[row][j] h[component][j] over the slice's columns j,
/// and 0 for rows that lack the view, whatever it holds there.
template <class T>
struct ProjectArguments {
  Lines x;
  const std::uint8_t* present = nullptr;  ///< by row; null where every row has the view
  std::int64_t rows = 0, columns = 0;
  T factor = 1;
  int components = 0;
  T* b = nullptr;
  std::int64_t slice_stride = 0, row_stride = 0;  ///< of b
};

/// sums[panel][component][column] = sum of w[i][component] x[i][column] over the panel's rows i
/// that have the view. The first row is the first of a panel.
template <class T>
struct AccumulateArguments {
  Lines x;
  const std::uint8_t* present = nullptr;  ///< by row; null where every row has the view
  std::int64_t rows = 0, columns = 0;
  int components = 0;
  T* sums = nullptr;
  std::int64_t panel_stride = 0, component_stride = 0;  ///< of sums
};

}  // namespace cofactor::cuda
