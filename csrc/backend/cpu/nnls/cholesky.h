#pragma once

// Factors of many small symmetric matrices at once, one matrix a lane.

#include <cstdint>
#include <limits>

namespace cofactor::cpu {
namespace {

/// A = L D L' with a unit lower triangle L: Cholesky's factorization without its square roots.
/// L is kept in blocks of kBlock x kBlock vectors, row of blocks after row of blocks: the order in
/// which it comes about, and in which later rows read it.
template <class V>
class Cholesky {
 public:
  using T = typename V::T;
  using Reg = typename V::Reg;
  static constexpr int kBlock = V::kCholeskyBlock;
  using Block = Reg[kBlock][kBlock];

  /// Numbers in each lane for matrices of up to n rows.
  static constexpr std::int64_t size(std::int64_t n) {
    const std::int64_t blocks = (n + kBlock - 1) / kBlock;
    return index(blocks, 0) * kBlock * kBlock + blocks * (kBlock * kBlock + kBlock);
  }

  /// `numbers` has room for size(n) vectors.
  Cholesky(T* numbers, std::int64_t n)
      : inverse_(numbers),
        row_(inverse_ + (n + kBlock - 1) / kBlock * kBlock * V::kLanes),
        factor_(row_ + (n + kBlock - 1) / kBlock * kBlock * kBlock * V::kLanes) {}

  /// Factors block row i, given those above, and replaces block i of z by that of L^-1 z.
  /// matrix(i, j, block) fetches a block of the matrix.
  template <class Matrix>
  void factor_row(std::int64_t i, const Matrix& matrix, T* z) {
    Block sums;
    for (std::int64_t j = 0; j < i; ++j) {
      matrix(i, j, sums);
      subtract<false>(j, sums);
      solve_block(j, sums);
      for (int b = 0; b < kBlock; ++b) {
        const Reg inverse = V::load(inverse_ + (j * kBlock + b) * V::kLanes);
        for (int a = 0; a < kBlock; ++a) {
          V::store(row_at(j, a, b), sums[a][b]);
          V::store(at(i, j, a, b), V::mul(sums[a][b], inverse));
        }
      }
    }
    matrix(i, i, sums);
    Reg smallest[kBlock];
    for (int b = 0; b < kBlock; ++b) {
      smallest[b] = V::mul(V::broadcast(kSmallestPivot), sums[b][b]);
    }
    subtract<true>(i, sums);
    factor_block(i, sums, smallest);
    forward(i, z);
  }

  /// z <- L'^-1 D^-1 z, for a factor of n block rows.
  void backward(std::int64_t n, T* z) const {
    for (std::int64_t row = 0; row < n * kBlock; ++row) {
      T* const own = z + row * V::kLanes;
      V::store(own, V::mul(V::load(own), V::load(inverse_ + row * V::kLanes)));
    }
    for (std::int64_t i = n; i-- > 0;) {
      T* const own = z + i * kBlock * V::kLanes;
      Reg x[kBlock];
      for (int a = kBlock; a-- > 0;) {
        x[a] = V::load(own + a * V::kLanes);
        for (int c = a + 1; c < kBlock; ++c) x[a] = V::fnma(V::load(at(i, i, c, a)), x[c], x[a]);
        V::store(own + a * V::kLanes, x[a]);
      }
      for (std::int64_t j = 0; j < i; ++j) {
        for (int b = 0; b < kBlock; ++b) {
          T* const above = z + (j * kBlock + b) * V::kLanes;
          Reg sum = V::load(above);
          for (int a = 0; a < kBlock; ++a) sum = V::fnma(V::load(at(i, j, a, b)), x[a], sum);
          V::store(above, sum);
        }
      }
    }
  }

 private:
  /// A pivot below this, relative to its diagonal entry, is rounding: the coordinate depends on
  /// those before it, and is left at 0 by a reciprocal of 0.
  static constexpr T kSmallestPivot = 64 * std::numeric_limits<T>::epsilon();

  static constexpr std::int64_t index(std::int64_t i, std::int64_t j) {
    return i * (i + 1) / 2 + j;
  }
  [[nodiscard]] T* at(std::int64_t i, std::int64_t j, int a, int b) const {
    return factor_ + (index(i, j) * kBlock * kBlock + std::int64_t{a} * kBlock + b) * V::kLanes;
  }
  [[nodiscard]] T* row_at(std::int64_t j, int a, int b) const {
    return row_ + ((j * kBlock + a) * kBlock + b) * V::kLanes;
  }

  /// sums -= (L D) L_j' for the block row L D in work, summed over the block columns before j, in
  /// the lower triangle alone for a block on the diagonal.
  template <bool kDiagonal>
  void subtract(std::int64_t j, Block& sums) const {
    for (std::int64_t l = 0; l < j; ++l) {
      for (int c = 0; c < kBlock; ++c) {
        Reg right[kBlock];
        for (int b = 0; b < kBlock; ++b) right[b] = V::load(at(j, l, b, c));
        for (int a = 0; a < kBlock; ++a) {
          const Reg left = V::load(row_at(l, a, c));
          for (int b = 0; b < (kDiagonal ? a + 1 : kBlock); ++b) {
            sums[a][b] = V::fnma(left, right[b], sums[a][b]);
          }
        }
      }
    }
  }

  /// sums <- sums L_jj'^-1
  void solve_block(std::int64_t j, Block& sums) const {
    for (int b = 1; b < kBlock; ++b) {
      for (int c = 0; c < b; ++c) {
        const Reg factor = V::load(at(j, j, b, c));
        for (int a = 0; a < kBlock; ++a) sums[a][b] = V::fnma(sums[a][c], factor, sums[a][b]);
      }
    }
  }

  /// Stores the factor of a block on the diagonal.
  void factor_block(std::int64_t i, Block& sums, const Reg (&smallest)[kBlock]) const {
    for (int b = 0; b < kBlock; ++b) {
      const Reg kept = V::greater(sums[b][b], smallest[b]);
      const Reg inverse = V::div(kept, V::max(sums[b][b], smallest[b]));
      V::store(inverse_ + (i * kBlock + b) * V::kLanes, inverse);
      for (int a = b + 1; a < kBlock; ++a) {
        const Reg factor = V::mul(sums[a][b], inverse);
        V::store(at(i, i, a, b), factor);
        // The part of row a that lies right of column b loses (L D)_cb L_ab.
        for (int c = b + 1; c <= a; ++c) sums[a][c] = V::fnma(sums[c][b], factor, sums[a][c]);
      }
    }
  }

  void forward(std::int64_t i, T* z) const {
    Reg sums[kBlock];
    for (int a = 0; a < kBlock; ++a) sums[a] = V::load(z + (i * kBlock + a) * V::kLanes);
    for (std::int64_t j = 0; j < i; ++j) {
      for (int b = 0; b < kBlock; ++b) {
        const Reg known = V::load(z + (j * kBlock + b) * V::kLanes);
        for (int a = 0; a < kBlock; ++a) sums[a] = V::fnma(V::load(at(i, j, a, b)), known, sums[a]);
      }
    }
    for (int a = 0; a < kBlock; ++a) {
      for (int c = 0; c < a; ++c) sums[a] = V::fnma(V::load(at(i, i, a, c)), sums[c], sums[a]);
      V::store(z + (i * kBlock + a) * V::kLanes, sums[a]);
    }
  }

  T* inverse_;  ///< reciprocals of D
  T* row_;      ///< the block row of L D that is being worked on
  T* factor_;
};

}  // namespace
}  // namespace cofactor::cpu
