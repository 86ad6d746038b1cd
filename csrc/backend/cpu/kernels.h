#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/dtype.h"

namespace cofactor::cpu {

template <class T>
inline constexpr DType kComputeType = sizeof(T) == 4 ? DType::kFloat32 : DType::kFloat64;

/// Every row of a packed tile, and every row of H, is zero-filled to a multiple of this, which
/// every level's vector length divides. 16 numbers of 4 bytes are one cache line.
inline constexpr std::int64_t kColumnAlign = 16;

/// Columns that the first product sums in registers before they join B. Part of the result.
inline constexpr std::int64_t kProjectColumns = 512;

// Sizes of what stays in cache while a kernel runs. They steer the traversal and never the order
// of a sum.

/// Rows of the second product's tile, and columns of S that a task owns.
inline constexpr int kAccumulateRows = 64;
inline constexpr std::int64_t kAccumulateColumns = 256;
/// Rows that the second product fetches ahead: no more, since rows a power of two apart share a
/// handful of cache sets.
inline constexpr int kPrefetchRows = 16;
/// Bytes of a packed tile.
inline constexpr std::int64_t kTileBytes = std::int64_t{32} * 1024;

/// Bytes of scratch space that a product with k components needs, aligned.
[[nodiscard]] constexpr std::int64_t product_scratch_bytes(int k) {
  return kTileBytes + std::int64_t{4} * kAccumulateRows * k;
}

/// Statistics of packed rows, merged in a fixed order.
struct RowStats {
  double sum_of_squares = 0.0;
  double minimum = std::numeric_limits<double>::infinity();  ///< infinity for no numbers
  std::int64_t nonfinite = 0;
};

/// Stored rows, as a kernel reads them.
struct StoredRows {
  const char* data = nullptr;
  std::int64_t stride = 0;  ///< bytes from row to row
};

/// Row stride of a scaled Gram matrix of k components, which is extended to a square by an
/// identity: coordinates that fill up tiles and blocks.
[[nodiscard]] constexpr std::int64_t nnls_stride(int k) { return (std::int64_t{k} + 9) / 8 * 8; }

/// Non-negative least squares for many right-hand sides that share a Gram matrix:
/// column i minimises 1/2 x'(G + diag(d_i)) x - (b_i - shift)'x over x >= 0.
/// Arrays are k x count with unit stride along count.
template <class T>
struct NnlsArgs {
  int k = 0;
  std::int64_t count = 0;
  /// Scaled to unit diagonal (0 beside it where G_rr = 0), extended, nnls_stride(k) numbers a row.
  const T* gram = nullptr;
  const T* inv_sqrt_diag = nullptr;  ///< 1 / sqrt(G_rr), 0 where G_rr = 0
  const T* row_sum = nullptr;        ///< sums of |numbers| in the rows of the scaled matrix
  const T* b = nullptr;
  std::int64_t ldb = 0;
  T shift = 0;
  const T* diagonal = nullptr;  ///< optional d, k x count
  std::int64_t ld_diagonal = 0;
  T* x = nullptr;  ///< out; with `warm` also the start
  std::int64_t ldx = 0;
  bool warm = false;
  /// If positive, x takes so many sweeps of cyclic coordinate descent from the start, and that is
  /// all: nothing is asked of it by `tolerance`, and nothing said in `unfinished`.
  int sweeps = 0;
  /// A column is done when its violation of the optimality conditions, max_r |min(x_r, g_r)| with
  /// the gradient g, is within this times its largest |b|, in the problem scaled to a unit
  /// diagonal.
  T tolerance = 0;
  /// Rounds of exchanges between the positive coordinates and those at 0.
  int max_exchanges = 0;
  /// Set to 1 for columns that end outside the tolerance, else to 0; may be null.
  unsigned char* unfinished = nullptr;
  std::byte* scratch = nullptr;  ///< nnls_scratch_size bytes, on a cache line
};

/// The two products, for one way of multiplying.
template <class T>
struct Products {
  /// Bytes of a number of the packed factor.
  int factor_size = 0;
  /// Converts n numbers of the factor: a multiple of kColumnAlign and at most kProjectColumns.
  void (*pack_factor)(const T* h, std::int64_t n, void* packed) = nullptr;
  /// Rounds n numbers of a factor to what the products multiply; null where they take any.
  void (*round)(T* x, std::int64_t n) = nullptr;

  /// b[i][r] += scale * sum over j < n of x[i][j] h[r][j], with n at most kProjectColumns; h is a
  /// packed factor with kProjectColumns numbers from component to component.
  using Project = void (*)(const StoredRows& x, int rows, const void* h, int k, std::int64_t n,
                           T scale, T* b, std::int64_t ldb, void* scratch);
  Project project[kNumDTypes] = {};

  /// s[r][j] += sum over i of w[r][i] x[i][j], in order of i; s is aligned and has room for n
  /// rounded up to kColumnAlign.
  using Accumulate = void (*)(const StoredRows& x, int rows, const T* w, std::int64_t ldw, int k,
                              std::int64_t n, T* s, std::int64_t lds, void* scratch);
  Accumulate accumulate[kNumDTypes] = {};
};

/// The instruction-set dependent part of the backend, for compute type T.
template <class T>
struct Kernels {
  int lanes;

  /// Converts n stored numbers and zero-fills dst up to `padded`.
  using Pack = void (*)(const void* src, std::int64_t n, T* dst, std::int64_t padded);
  Pack pack[kNumDTypes];

  /// In the compute type, and with operands rounded to bfloat16 (float only).
  Products<T> exact, rounded;

  /// out[i] += sum over j of (scale x[i][j] - sum_r w[r][i] h[r][j])^2, summed in float64 across
  /// calls.
  void (*residual)(const T* x, std::int64_t ldx, int rows, T scale, const T* w, std::int64_t ldw,
                   const T* h, std::int64_t ldh, int k, std::int64_t n, double* out);

  /// Returns the number of unfinished columns.
  std::int64_t (*nnls)(const NnlsArgs<T>& args);

  /// Statistics of n packed numbers, in units of the packed numbers.
  RowStats (*stats)(const T* x, std::int64_t n);
};

/// Columns that nnls takes at a time.
inline constexpr std::int64_t kNnlsBatch = 128;

/// Bytes of scratch space that nnls needs at a level of `lanes` numbers of `itemsize` bytes.
[[nodiscard]] constexpr std::int64_t nnls_scratch_size(int k, int lanes, std::int64_t itemsize) {
  // A tile of lanes has six numbers a coordinate, a list of coordinates, and a factor: a triangle
  // and a few rows. A batch has a face a column.
  const std::int64_t n = nnls_stride(k);
  const std::int64_t factor = (n + 3) * (n + 4) / 2 + 5 * (n + 3);
  return lanes * ((6 * n + factor) * itemsize + n * std::int64_t{sizeof(std::int32_t)}) +
         kNnlsBatch * n * itemsize;
}

}  // namespace cofactor::cpu
