#pragma once

#include <cstdint>
#include <limits>

#include "core/dtype.h"

namespace cofactor::cpu {

/// Every row of a packed tile, and every row of H, is zero-filled to a multiple of this, which
/// every level's vector length divides. 16 numbers of 4 bytes are one cache line.
inline constexpr std::int64_t kColumnAlign = 16;

// Sizes of what stays in cache while a kernel runs. They steer the traversal and never the order
// of a sum.

/// Columns that the first product takes at a time, between loading its partial sums and storing
/// them.
inline constexpr std::int64_t kProjectColumns = 512;
/// Rows and columns of the second product's tile; its sums are loaded and stored once a tile.
inline constexpr int kAccumulateRows = 64;
inline constexpr std::int64_t kAccumulateColumns = 256;
/// Numbers that a kernel converts before it uses them.
inline constexpr std::int64_t kPackedSize = kAccumulateRows * kAccumulateColumns;

/// Statistics of packed rows, merged in a fixed order.
struct RowStats {
  double sum_of_squares = 0.0;
  double minimum = std::numeric_limits<double>::infinity();  ///< infinity for no numbers
  std::int64_t nonfinite = 0;
};

/// Stored rows, as a kernel reads them.
template <class T>
struct StoredRows {
  const char* data = nullptr;
  std::int64_t stride = 0;    ///< bytes from row to row
  std::int64_t itemsize = 0;  ///< bytes of a number
  /// Converts n numbers and zero-fills dst up to `padded`; null for rows that need no conversion:
  /// of type T, zero-filled to a multiple of kColumnAlign.
  void (*pack)(const void* src, std::int64_t n, T* dst, std::int64_t padded) = nullptr;
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
  /// A column is done when no step of a sweep was larger than this times its largest |b|, in the
  /// problem scaled to a unit diagonal, where a step is a coordinate's |min(x, gradient)|.
  T tolerance = 0;
  int max_sweeps = 0;
  /// Set to 1 for columns that were not done after max_sweeps, else to 0; may be null.
  unsigned char* unfinished = nullptr;
  T* scratch = nullptr;  ///< nnls_scratch_size(k) numbers, aligned
};

/// The instruction-set dependent part of the backend, for compute type T.
template <class T>
struct Kernels {
  int lanes;

  /// Converts n stored numbers and zero-fills dst up to `padded`.
  using Pack = void (*)(const void* src, std::int64_t n, T* dst, std::int64_t padded);
  Pack pack[kNumDTypes];

  /// acc[i][r][lane] += sum over j = lane (mod lanes) of x[i][j] h[r][j], in order of j < n;
  /// acc is rows x k x lanes, h is zero-filled to a multiple of kColumnAlign, h and acc are
  /// aligned. n is at most kProjectColumns where x needs conversion; `packed` holds kPackedSize
  /// numbers.
  void (*project)(const StoredRows<T>& x, int rows, const T* h, std::int64_t ldh, int k,
                  std::int64_t n, T* acc, T* packed);
  /// b[r][i] = sum over lanes of acc[i][r], with b at stride ldb.
  void (*project_sum)(const T* acc, int rows, int k, T* b, std::int64_t ldb);

  /// s[r][j] += sum over i of w[r][i] x[i][j], in order of i; rows is at most kAccumulateRows,
  /// s is aligned and has room for n rounded up to kColumnAlign.
  void (*accumulate)(const StoredRows<T>& x, int rows, const T* w, std::int64_t ldw, int k,
                     std::int64_t n, T* s, std::int64_t lds, T* packed);

  /// out[i] += sum over j of (scale x[i][j] - sum_r w[r][i] h[r][j])^2, summed in float64 across
  /// calls.
  void (*residual)(const T* x, std::int64_t ldx, int rows, T scale, const T* w, std::int64_t ldw,
                   const T* h, std::int64_t ldh, int k, std::int64_t n, double* out);

  /// Returns the number of unfinished columns.
  std::int64_t (*nnls)(const NnlsArgs<T>& args);

  /// Statistics of n packed numbers, in units of the packed numbers.
  RowStats (*stats)(const T* x, std::int64_t n);
};

/// Numbers of scratch space that nnls needs, at any level.
[[nodiscard]] constexpr std::int64_t nnls_scratch_size(int k) {
  return std::int64_t{3} * 2 * 16 * k;
}

}  // namespace cofactor::cpu
