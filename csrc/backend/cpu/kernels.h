#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace cofactor::cpu {

/// Every row of a packed tile, and every row of H, is zero-filled to a multiple of this, which
/// every level's vector length divides. 16 numbers of 4 bytes are one cache line.
inline constexpr std::int64_t kColumnAlign = 16;

/// Statistics of packed rows, merged in a fixed order.
struct RowStats {
  double sum_of_squares = 0.0;
  double minimum = 0.0;
  std::int64_t nonfinite = 0;
};

/// Non-negative least squares for many right-hand sides that share a Gram matrix:
/// column i minimises 1/2 x'(G + diag(d_i)) x - (b_i - shift)'x over x >= 0.
/// Arrays are k x count with unit stride along count.
template <class T>
struct NnlsArgs {
  int k = 0;
  std::int64_t count = 0;
  const T* gram = nullptr;           ///< k x k, scaled to unit diagonal (0 where G_rr = 0)
  const T* inv_sqrt_diag = nullptr;  ///< 1 / sqrt(G_rr), 0 where G_rr = 0
  const T* b = nullptr;
  std::int64_t ldb = 0;
  T shift = 0;
  const T* diagonal = nullptr;  ///< optional d, k x count
  std::int64_t ld_diagonal = 0;
  T* x = nullptr;  ///< out; with `warm` also the start
  std::int64_t ldx = 0;
  bool warm = false;
  T tolerance = 0;  ///< largest |min(x, gradient)| over largest |b|, both in the scaled problem
  int max_sweeps = 0;
  T* scratch = nullptr;  ///< nnls_scratch_size(k) numbers, aligned
};

/// The instruction-set dependent part of the backend, for compute type T.
template <class T>
struct Kernels {
  int lanes;

  /// Converts n stored numbers and zero-fills dst up to `padded`.
  using Pack = void (*)(const void* src, std::int64_t n, T* dst, std::int64_t padded);
  Pack pack[kNumDTypes];

  /// acc[i][r][lane] += sum over j = lane (mod lanes) of x[i][j] h[r][j], in order of j;
  /// acc is rows x k x lanes. `n` is a multiple of kColumnAlign, h and acc are aligned.
  void (*project)(const T* x, std::int64_t ldx, int rows, const T* h, std::int64_t ldh, int k,
                  std::int64_t n, T* acc);
  /// b[r][i] = sum over lanes of acc[i][r], with b at stride ldb.
  void (*project_sum)(const T* acc, int rows, int k, T* b, std::int64_t ldb);

  /// s[r][j] += sum over i of w[r][i] x[i][j], in order of i; n is a multiple of kColumnAlign,
  /// x and s are aligned.
  void (*accumulate)(const T* x, std::int64_t ldx, std::int64_t rows, const T* w, std::int64_t ldw,
                     int k, std::int64_t n, T* s, std::int64_t lds);

  /// out[i] += sum over j of (scale x[i][j] - sum_r w[r][i] h[r][j])^2, summed in float64 across
  /// calls.
  void (*residual)(const T* x, std::int64_t ldx, int rows, T scale, const T* w, std::int64_t ldw,
                   const T* h, std::int64_t ldh, int k, std::int64_t n, double* out);

  void (*nnls)(const NnlsArgs<T>& args);

  /// Statistics of n packed numbers, in units of the packed numbers.
  RowStats (*stats)(const T* x, std::int64_t n);
};

/// Numbers of scratch space that nnls needs, at any level.
[[nodiscard]] constexpr std::int64_t nnls_scratch_size(int k) {
  return std::int64_t{3} * 2 * 16 * k;
}

}  // namespace cofactor::cpu
