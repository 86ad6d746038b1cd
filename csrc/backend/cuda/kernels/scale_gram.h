#pragma once

#include <cmath>
#include <cstdint>

#include "backend/cuda/group.h"

namespace cofactor::cuda {

/// The Gram matrices that NnlsProblem describes, in float64 and rounded to T: for every pattern p
/// the sum over v of weight[p][v] grams[v], with `ridge` added to the diagonal, scaled to a unit
/// diagonal. A warp a row: the grid is divide_up(k, kWarps) by patterns.
template <class T>
struct ScaleGram {
  static constexpr int kThreads = 128;
  static constexpr int kWarps = kThreads / kWarpSize;

  int k = 0;
  const double* grams = nullptr;  ///< k rows of `ld` numbers a matrix
  std::int64_t ld = 0;
  int count = 1;                   ///< of matrices
  std::int64_t stride = 0;         ///< between them
  const double* weight = nullptr;  ///< patterns x count; null: 1
  double ridge = 0;

  std::int64_t gram_stride = 0;  ///< nnls_gram_stride(k)
  double* gram = nullptr;
  double* inv_sqrt_diag = nullptr;
  T* rounded_gram = nullptr;
  T* rounded_inv_sqrt_diag = nullptr;
  T* row_sum = nullptr;

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    const std::int64_t pattern = block.index_y();
    block.each_warp([&](auto& warp) {
      const int r = block.index() * kWarps + warp.index();
      if (r >= k) return;
      const double own = inverse_root(pattern, r);
      const std::int64_t at = (pattern * k + r) * gram_stride;
      typename Block::Warp::template PerLane<double> sum;
      warp.each([&](int lane) {
        sum[lane] = 0;
        for (int l = lane; l < gram_stride; l += kWarpSize) {
          double value = l == r ? 1.0 : 0.0;
          if (l != r && l < k) value = entry(pattern, r, l) * own * inverse_root(pattern, l);
          gram[at + l] = value;
          rounded_gram[at + l] = static_cast<T>(value);
          sum[lane] += value < 0 ? -value : value;
        }
      });
      const double total = warp.sum(sum);
      warp.each([&](int lane) {
        if (lane != 0) return;
        inv_sqrt_diag[pattern * k + r] = own;
        rounded_inv_sqrt_diag[pattern * k + r] = static_cast<T>(own);
        row_sum[pattern * k + r] = static_cast<T>(total);
      });
    });
  }

 private:
  COFACTOR_KERNEL double entry(std::int64_t pattern, int r, int l) const {
    double sum = 0;
    for (int v = 0; v < count; ++v) {
      const double factor = weight == nullptr ? 1.0 : weight[pattern * count + v];
      if (factor != 0) sum += factor * grams[v * stride + r * ld + l];
    }
    return sum;
  }
  COFACTOR_KERNEL double inverse_root(std::int64_t pattern, int r) const {
    const double diagonal = entry(pattern, r, r) + ridge;
    return diagonal > 0 ? 1.0 / sqrt(diagonal) : 0.0;
  }
};

}  // namespace cofactor::cuda
