#pragma once

// What the kernels of the non-negative solves share: the problems, and the shapes in which a warp
// solves them.

#include <cstdint>
#include <limits>

#include "backend/cuda/group.h"

namespace cofactor::cuda {

/// Most components that SolveNnls has shapes for; FinishNnls takes any number.
inline constexpr int kMostNnlsComponents = 512;

/// Rows that are solved alike: row i minimises 1/2 x'(G + diag(d))x - (b - shift)'x over x >= 0, in
/// the scaling of x by sqrt(G_rr) and b by 1 / sqrt(G_rr) to a unit diagonal. A row's result
/// depends on its own numbers alone.
template <class T>
struct NnlsProblem {
  int k = 0;
  std::int64_t rows = 0;

  /// Scaled Gram matrices, as ScaleGram writes them, by pattern: k rows of `gram_stride` numbers,
  /// of which those from k on are 0.
  const T* gram = nullptr;
  std::int64_t gram_stride = 0;           ///< nnls_gram_stride(k)
  const T* inv_sqrt_diag = nullptr;       ///< 1 / sqrt(G_rr) by pattern, 0 where G_rr = 0
  const T* row_sum = nullptr;             ///< by pattern, sums of |numbers| in the rows of G
  const std::int32_t* pattern = nullptr;  ///< of every row; null: 0

  /// d of row i is `diagonal + group[i] * ld_diagonal`; null: 0.
  const T* diagonal = nullptr;
  std::int64_t ld_diagonal = 0;
  const std::int32_t* group = nullptr;

  T shift = 0;
  /// A row is done when max_r |min(x_r, g_r)| with the gradient g is at most this times the largest
  /// |b_r|, in the scaled problem.
  T tolerance = 0;

  T* b = nullptr;  ///< rows x k
  std::int64_t ld_b = 0;
  T* x = nullptr;  ///< rows x k, out; with `warm` also the start
  std::int64_t ld_x = 0;
  bool warm = false;
  /// Set to 1 for rows that SolveNnls leaves outside the tolerance, else to 0.
  unsigned char* unfinished = nullptr;

  [[nodiscard]] COFACTOR_DEVICE std::int64_t pattern_of(std::int64_t row) const {
    return pattern == nullptr ? 0 : pattern[row];
  }
  /// d_r / G_rr, kept in range so that an enormous one gives 0 and not NaN.
  [[nodiscard]] COFACTOR_DEVICE T scaled_diagonal(std::int64_t row, int r, T scale) const {
    const T d = diagonal[group[row] * ld_diagonal + r] * scale * scale;
    constexpr T kLargest = std::numeric_limits<T>::max() / 4;
    return d < kLargest ? d : kLargest;
  }
};

/// How a warp is divided: `kLanes` lanes own a row, and each has `kSlots` of its coordinates.
template <int kLanesOfRow, int kSlotsOfLane>
struct NnlsShape {
  static constexpr int kLanes = kLanesOfRow;
  static constexpr int kSlots = kSlotsOfLane;
  static constexpr int kWidth = kLanes * kSlots;
  static constexpr int kRows = kWarpSize / kLanes;
};

/// Calls f(NnlsShape) with the narrowest shape that k components fit in. Returns whether there is
/// one. Few lanes a row, so that what every move of a row costs besides arithmetic is shared by
/// many rows; few slots, so that their numbers stay in registers.
template <class F>
constexpr bool with_nnls_shape(int k, const F& f) {
  if (k <= 8) return f(NnlsShape<4, 2>{}), true;
  if (k <= 16) return f(NnlsShape<4, 4>{}), true;
  if (k <= 24) return f(NnlsShape<4, 6>{}), true;
  if (k <= 32) return f(NnlsShape<4, 8>{}), true;
  if (k <= 64) return f(NnlsShape<8, 8>{}), true;
  if (k <= 128) return f(NnlsShape<16, 8>{}), true;
  if (k <= 256) return f(NnlsShape<32, 8>{}), true;
  if (k <= kMostNnlsComponents) return f(NnlsShape<32, 16>{}), true;
  return false;
}

/// Row stride of scaled Gram matrices of k components: what the shape for k reads.
[[nodiscard]] constexpr std::int64_t nnls_gram_stride(int k) {
  std::int64_t stride = round_up(k, 4);
  with_nnls_shape(k, [&](auto shape) { stride = decltype(shape)::kWidth; });
  return stride;
}

}  // namespace cofactor::cuda
