#pragma once

#include <cstdint>

#include "backend/cuda/kernels/active_set.h"
#include "backend/cuda/kernels/nnls_problem.h"

namespace cofactor::cuda {

/// Numbers of float64 that each warp of FinishNnls works in.
[[nodiscard]] constexpr std::int64_t finish_nnls_workspace(int k) {
  return active_set_workspace(k) + std::int64_t{3} * k;
}

/// Solves the rows that SolveNnls has marked as unfinished, from where it left them: components
/// that depend on each other, or nearly so. A row a warp; which warp does not matter to the result.
template <class T>
struct FinishNnls {
  static constexpr int kThreads = 128;
  /// More would take registers that the factorization needs.
  static constexpr int kLeastBlocks = 2;
  static constexpr int kWarps = kThreads / kWarpSize;

  NnlsProblem<T> problem;
  /// problem.gram and problem.inv_sqrt_diag in float64, with the same strides.
  const double* gram = nullptr;
  const double* inv_sqrt_diag = nullptr;
  double* workspace = nullptr;  ///< blocks x kWarps x finish_nnls_workspace(k)
  int blocks = 0;               ///< of the grid

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    block.each_warp([&](auto& warp) {
      const std::int64_t index = std::int64_t{block.index()} * kWarps + warp.index();
      double* const own = workspace + index * finish_nnls_workspace(problem.k);
      const std::int64_t step = std::int64_t{blocks} * kWarps * kWarpSize;
      for (std::int64_t first = index * kWarpSize; first < problem.rows; first += step) {
        typename Block::Warp::template PerLane<bool> open;
        warp.each([&](int lane) {
          open[lane] = first + lane < problem.rows && problem.unfinished[first + lane] != 0;
        });
        const std::uint32_t rows = warp.ballot(open);
        for (int lane = 0; lane < kWarpSize; ++lane) {
          if ((rows >> lane & 1U) != 0) finish(warp, first + lane, own);
        }
      }
    });
  }

 private:
  template <class Warp>
  COFACTOR_KERNEL void finish(Warp& warp, std::int64_t row, double* own) const {
    const int k = problem.k;
    double* const b = own;
    double* const x = b + k;
    double* const d = x + k;
    const std::int64_t pattern = problem.pattern_of(row);
    const double* const scales = inv_sqrt_diag + pattern * k;
    T* const out = problem.x + row * problem.ld_x;
    typename Warp::template PerLane<double> largest;
    warp.each([&](int lane) {
      largest[lane] = 0;
      for (int r = lane; r < k; r += kWarpSize) {
        const double scale = scales[r];
        b[r] = (static_cast<double>(problem.b[row * problem.ld_b + r]) -
                static_cast<double>(problem.shift)) *
               scale;
        x[r] = scale > 0 ? static_cast<double>(out[r]) / scale : 0;
        d[r] = problem.diagonal == nullptr
                   ? 0
                   : static_cast<double>(problem.scaled_diagonal(row, r, static_cast<T>(scale)));
        largest[lane] = larger(largest[lane], b[r] < 0 ? -b[r] : b[r]);
      }
    });
    warp.sync();
    // Far below what is asked for, far above the rounding of float64.
    const double tolerance = static_cast<double>(problem.tolerance) / 100 * warp.max(largest);
    ActiveSet<Warp> solver(warp, k, gram + pattern * k * problem.gram_stride, problem.gram_stride,
                           d, tolerance, d + k);
    solver.solve(b, x);
    warp.each([&](int lane) {
      for (int r = lane; r < k; r += kWarpSize) out[r] = static_cast<T>(x[r] * scales[r]);
    });
    warp.sync();
  }
};

}  // namespace cofactor::cuda
