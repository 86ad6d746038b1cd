#pragma once

// Non-negative least-squares problems side by side, one a lane, in the scaling to a unit diagonal:
// x <- sqrt(G_rr) x and b <- b / sqrt(G_rr).

#include <cstdint>
#include <limits>

#include "backend/cpu/kernels.h"
#include "backend/cpu/nnls/cholesky.h"

namespace cofactor::cpu {
namespace {

/// An array of a tile has a vector of lanes for each coordinate; rows from k on belong to the
/// identity that extends the Gram matrix, and stay 0.
template <class V>
class Tile {
 public:
  using T = typename V::T;
  using Reg = typename V::Reg;
  static constexpr int kLanes = V::kLanes;
  /// What a lane's point lacks to be the solution.
  struct Verdict {
    T infeasible[kLanes];  ///< number of coordinates on the wrong side of their constraint
    T open[kLanes];        ///< not 0 where one is negative or the violation beyond the tolerance
  };

  Tile(const NnlsArgs<T>& args, T* numbers)
      : args_(args),
        stride_(nnls_stride(args.k)),
        b_(take(numbers, stride_)),
        x_(take(numbers, stride_)),
        face_(take(numbers, stride_)),
        infeasible_(take(numbers, stride_)),
        rhs_(take(numbers, stride_)),
        diagonal_(args.diagonal == nullptr ? nullptr : take(numbers, stride_)),
        cholesky_(take(numbers, Cholesky<V>::size(stride_)), stride_),
        index_(reinterpret_cast<std::int32_t*>(numbers)) {
    for (std::int64_t i = 0; i < stride_ * kLanes; ++i) b_[i] = x_[i] = face_[i] = 0;
    for (std::int64_t i = 0; diagonal_ != nullptr && i < stride_ * kLanes; ++i) diagonal_[i] = 0;
    for (int lane = 0; lane < kLanes; ++lane) largest_b_[lane] = 0;
  }

  /// Puts a column into a lane; `largest` is its largest scaled |b|.
  void load(int lane, std::int64_t column, T largest) {
    largest_b_[lane] = largest;
    for (int r = 0; r < args_.k; ++r) {
      const T s = args_.inv_sqrt_diag[r];
      const std::int64_t at = std::int64_t{r} * kLanes + lane;
      b_[at] = (args_.b[r * args_.ldb + column] - args_.shift) * s;
      if (diagonal_ == nullptr) continue;
      diagonal_[at] = within_range(args_.diagonal[r * args_.ld_diagonal + column] * s * s);
    }
  }

  /// Puts n consecutive columns into the lanes, and the start into x: the given one, or b over the
  /// row sums of G, which is the solution where all coordinates are alike.
  void load_start(std::int64_t first, int n) {
    Reg largest = V::zero();
    for (int r = 0; r < args_.k; ++r) {
      const std::int64_t at = std::int64_t{r} * kLanes;
      const T s = args_.inv_sqrt_diag[r];
      const Reg scale = V::broadcast(s);
      const Reg b =
          V::mul(V::sub(consecutive(args_.b + r * args_.ldb + first, n), V::broadcast(args_.shift)),
                 scale);
      V::store(b_ + at, b);
      largest = V::max(largest, V::abs(b));
      Reg sum = V::broadcast(args_.row_sum[r]);
      if (diagonal_ != nullptr) {
        for (int lane = 0; lane < n; ++lane) {
          const T d = args_.diagonal[r * args_.ld_diagonal + first + lane];
          diagonal_[at + lane] = within_range(d * s * s);
        }
        sum = V::add(sum, V::load(diagonal_ + at));
      }
      if (!args_.warm) {
        V::store(x_ + at, V::max(V::div(b, sum), V::zero()));
      } else if (s > 0) {
        V::store(x_ + at, V::div(consecutive(args_.x + r * args_.ldx + first, n), scale));
      } else {
        V::store(x_ + at, V::zero());
      }
    }
    V::storeu(largest_b_, largest);
  }
  [[nodiscard]] T largest_b(int lane) const { return largest_b_[lane]; }

  /// A sweep of cyclic coordinate descent in every lane.
  void sweep() {
    each_block([&]<int kRows>(int r0) {
      Reg g[kRows];
      gradient(r0, g);
      for (int i = 0; i < kRows; ++i) {
        const std::int64_t r = r0 + i;
        const Reg old = V::load(x_ + r * kLanes);
        Reg step = g[i];
        if (diagonal_ != nullptr) step = V::div(step, diagonal(r));
        const Reg next = V::max(V::sub(old, step), V::zero());
        const Reg change = V::sub(next, old);
        V::store(x_ + r * kLanes, next);
        for (int j = i + 1; j < kRows; ++j) {
          g[j] = V::fma(V::broadcast(args_.gram[r * stride_ + r0 + j]), change, g[j]);
        }
      }
    });
  }

  /// Writes n consecutive columns, the first of which is in lane 0.
  void store(std::int64_t first, int n) const {
    for (int r = 0; r < args_.k; ++r) {
      const Reg x = V::mul(V::load(x_ + r * kLanes), V::broadcast(args_.inv_sqrt_diag[r]));
      T* const to = args_.x + r * args_.ldx + first;
      if (n == kLanes) {
        V::storeu(to, x);
        continue;
      }
      T numbers[kLanes];
      V::storeu(numbers, x);
      for (int lane = 0; lane < n; ++lane) to[lane] = numbers[lane];
    }
  }

  /// Writes for every coordinate where the lanes are positive, as 1 or 0, `ld` numbers apart, and
  /// how many of a lane are.
  void store_faces(T* faces, std::int64_t ld, T* sizes) const {
    Reg size = V::zero();
    for (int r = 0; r < args_.k; ++r) {
      const Reg positive = V::greater(V::load(x_ + r * kLanes), V::zero());
      V::storeu(faces + r * ld, positive);
      size = V::add(size, positive);
    }
    V::storeu(sizes, size);
  }
  void load_face(int lane, const T* face, std::int64_t ld) {
    for (int r = 0; r < args_.k; ++r) face_[r * kLanes + lane] = face[r * ld];
  }
  void clear_face(int lane) {
    for (int r = 0; r < args_.k; ++r) face_[r * kLanes + lane] = 0;
  }

  /// x <- the minimiser on each lane's face.
  void minimise_on_faces() {
    if (args_.k <= kMaskedRank) {
      minimise_masked();
    } else {
      minimise_listed();
    }
    // What is below 0 by a rounding error is 0.
    const Reg tiny = V::mul(V::broadcast(T{-1} / 8), limit());
    for (int r = 0; r < args_.k; ++r) {
      const Reg x = V::load(x_ + r * kLanes);
      const Reg rounded = V::mul(V::greater(V::zero(), x), V::greater(x, tiny));
      V::store(x_ + r * kLanes, V::fnma(rounded, x, x));
    }
  }

  /// Compares the points with the conditions of optimality.
  Verdict judge() {
    Reg violation = V::zero(), infeasible = V::zero(), negative = V::zero(), nothing = V::zero();
    const Reg zero = V::zero(), one = V::broadcast(T{1});
    // Below the limit, so that a round which is needed anyway takes what is nearly infeasible.
    const Reg slack = V::mul(V::broadcast(T{-1} / 2), limit());
    each_block([&]<int kRows>(int r0) {
      Reg g[kRows];
      gradient(r0, g);
      for (int i = 0; i < kRows; ++i) {
        const std::int64_t at = std::int64_t{r0 + i} * kLanes;
        const Reg x = V::load(x_ + at);
        const Reg below = V::greater(zero, x);
        const Reg descends = V::mul(V::sub(one, V::load(face_ + at)), V::greater(slack, g[i]));
        const Reg wrong = V::add(below, descends);
        V::store(infeasible_ + at, wrong);
        infeasible = V::add(infeasible, wrong);
        negative = V::max(negative, below);
        nothing = V::fma(x, zero, nothing);
        violation = V::max(violation, V::abs(V::max(V::sub(zero, x), V::sub(zero, g[i]))));
      }
    });
    // 0 unless x is infinite or not a number, which other comparisons would let pass.
    const Reg broken = V::sub(one, V::greater(one, nothing));
    Verdict verdict;
    V::storeu(verdict.infeasible, infeasible);
    V::storeu(verdict.open, V::add(V::add(negative, broken), V::greater(violation, limit())));
    return verdict;
  }

  /// Takes infeasible coordinates into the face or out of it, in lanes where `all` is 1.
  void exchange(const T* all) {
    const Reg lanes = V::loadu(all);
    for (int r = 0; r < args_.k; ++r) {
      const Reg change = V::mul(lanes, V::load(infeasible_ + r * kLanes));
      V::store(face_ + r * kLanes, V::abs(V::sub(V::load(face_ + r * kLanes), change)));
    }
  }
  /// The same for a lane's last infeasible coordinate.
  void exchange_last(int lane) {
    int r = args_.k - 1;
    while (infeasible_[r * kLanes + lane] == 0) --r;
    face_[r * kLanes + lane] = 1 - face_[r * kLanes + lane];
  }

  /// Writes a lane's point, without what is negative.
  void write(int lane, std::int64_t column) const {
    for (int r = 0; r < args_.k; ++r) {
      const T value = x_[r * kLanes + lane];
      args_.x[r * args_.ldx + column] = (value < 0 ? T{0} : value) * args_.inv_sqrt_diag[r];
    }
  }

 private:
  static constexpr T kLargest = std::numeric_limits<T>::max() / 4;
  /// Up to here a factor of k rows costs less than lists of the coordinates of each face.
  static constexpr int kMaskedRank = 32;

  static constexpr int kBlock = Cholesky<V>::kBlock;

  /// So that an enormous diagonal term gives 0 and not NaN.
  static T within_range(T x) { return x < kLargest ? x : kLargest; }

  /// n numbers, and copies of the first.
  static Reg consecutive(const T* from, int n) {
    if (n == kLanes) return V::loadu(from);
    T numbers[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) numbers[lane] = from[lane < n ? lane : 0];
    return V::loadu(numbers);
  }

  /// 1 + d_r
  [[nodiscard]] Reg diagonal(std::int64_t r) const {
    const Reg one = V::broadcast(T{1});
    return diagonal_ == nullptr ? one : V::add(one, V::load(diagonal_ + r * kLanes));
  }

  static T* take(T*& numbers, std::int64_t rows) {
    T* const taken = numbers;
    numbers += rows * kLanes;
    return taken;
  }

  /// What the computed violation may be: the other half is left to the rounding of the gradient.
  [[nodiscard]] Reg limit() const {
    return V::mul(V::broadcast(args_.tolerance / 2), V::loadu(largest_b_));
  }

  /// body<rows>(first) for all coordinates, eight at a time: enough sums in flight for the latency
  /// of a multiply-add.
  template <class Body>
  void each_block(const Body& body) const {
    int r = 0;
    for (; args_.k - r > 4; r += 8) body.template operator()<8>(r);
    if (r < args_.k) body.template operator()<4>(r);
  }

  /// g = G x - b for kRows coordinates from r0. G is symmetric: its columns are read as rows.
  template <int kRows>
  void gradient(int r0, Reg (&g)[kRows]) const {
    for (int i = 0; i < kRows; ++i) {
      g[i] = V::sub(V::zero(), V::load(b_ + std::int64_t{r0 + i} * kLanes));
    }
    for (int l = 0; l < args_.k; ++l) {
      const T* const row = args_.gram + l * stride_ + r0;
      const Reg x = V::load(x_ + std::int64_t{l} * kLanes);
      for (int i = 0; i < kRows; ++i) g[i] = V::fma(V::broadcast(row[i]), x, g[i]);
    }
    if (diagonal_ == nullptr) return;
    for (int i = 0; i < kRows; ++i) {
      const std::int64_t at = std::int64_t{r0 + i} * kLanes;
      g[i] = V::fma(V::load(diagonal_ + at), V::load(x_ + at), g[i]);
    }
  }

  /// On all coordinates, with a row of an identity for those outside a lane's face.
  void minimise_masked() {
    const auto matrix = [this](std::int64_t i, std::int64_t j, typename Cholesky<V>::Block& block) {
      for (int a = 0; a < kBlock; ++a) {
        const std::int64_t row = i * kBlock + a;
        const Reg own = V::load(face_ + row * kLanes);
        for (int b = 0; b < kBlock; ++b) {
          const std::int64_t column = j * kBlock + b;
          const Reg both = V::mul(own, V::load(face_ + column * kLanes));
          block[a][b] = V::mul(both, V::broadcast(args_.gram[row * stride_ + column]));
        }
        if (i == j) block[a][a] = diagonal(row);
      }
    };
    const std::int64_t blocks = (args_.k + kBlock - 1) / kBlock;
    for (std::int64_t row = 0; row < blocks * kBlock; ++row) {
      const std::int64_t at = row * kLanes;
      V::store(x_ + at, V::mul(V::load(face_ + at), V::load(b_ + at)));
    }
    for (std::int64_t i = 0; i < blocks; ++i) cholesky_.factor_row(i, matrix, x_);
    cholesky_.backward(blocks, x_);
  }

  /// On a list of each lane's coordinates, as long as the longest.
  void minimise_listed() {
    const auto matrix = [this](std::int64_t i, std::int64_t j, typename Cholesky<V>::Block& block) {
      for (int a = 0; a < kBlock; ++a) {
        const std::int32_t* const row = index_ + (i * kBlock + a) * kLanes;
        for (int b = 0; b < kBlock; ++b) {
          const std::int32_t* const column = index_ + (j * kBlock + b) * kLanes;
          block[a][b] = gather(args_.gram, row, column, static_cast<std::int32_t>(stride_));
        }
        if (i != j || diagonal_ == nullptr) continue;
        block[a][a] = V::add(block[a][a], gather(diagonal_, row, lanes(), kLanes));
      }
    };
    const std::int64_t blocks = list_faces();
    for (std::int64_t row = 0; row < blocks * kBlock; ++row) {
      V::store(rhs_ + row * kLanes, gather(b_, index_ + row * kLanes, lanes(), kLanes));
    }
    for (std::int64_t i = 0; i < blocks; ++i) cholesky_.factor_row(i, matrix, rhs_);
    cholesky_.backward(blocks, rhs_);
    for (std::int64_t i = 0; i < stride_ * kLanes; ++i) x_[i] = 0;
    for (std::int64_t row = 0; row < blocks * kBlock; ++row) {
      const std::int32_t* const at = index_ + row * kLanes;
      for (int lane = 0; lane < kLanes; ++lane) {
        x_[at[lane] * kLanes + lane] = rhs_[row * kLanes + lane];
      }
    }
  }

  /// Lists each lane's face in index_, and fills up with coordinate k, whose row of the matrix and
  /// right-hand side are 0 but for the diagonal: it changes nothing in those before it. Returns the
  /// length in blocks.
  std::int64_t list_faces() {
    std::int32_t size[kLanes] = {};
    for (int r = 0; r < args_.k; ++r) {
      for (int lane = 0; lane < kLanes; ++lane) {
        index_[size[lane] * kLanes + lane] = r;
        size[lane] += face_[r * kLanes + lane] != 0 ? 1 : 0;
      }
    }
    std::int32_t longest = 0;
    for (int lane = 0; lane < kLanes; ++lane) longest = size[lane] > longest ? size[lane] : longest;
    const std::int64_t blocks = (longest + kBlock - 1) / kBlock;
    for (int lane = 0; lane < kLanes; ++lane) {
      for (std::int64_t n = size[lane]; n < blocks * kBlock; ++n) {
        index_[n * kLanes + lane] = args_.k;
      }
    }
    return blocks;
  }

  /// from[rows[lane] * stride + columns[lane]] in every lane, rows and columns aligned as vectors.
  static Reg gather(const T* from, const std::int32_t* rows, const std::int32_t* columns,
                    std::int32_t stride) {
    if constexpr (requires { V::gather(from, rows, columns, stride); }) {
      return V::gather(from, rows, columns, stride);
    } else {
      alignas(64) T numbers[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) {
        numbers[lane] = from[rows[lane] * stride + columns[lane]];
      }
      return V::load(numbers);
    }
  }

  /// 0, 1, 2, ...
  static const std::int32_t* lanes() {
    alignas(64) static constexpr std::int32_t kNumbers[] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                            8, 9, 10, 11, 12, 13, 14, 15};
    static_assert(kLanes <= std::ssize(kNumbers));
    return kNumbers;
  }

  const NnlsArgs<T>& args_;
  std::int64_t stride_;
  T *b_, *x_, *face_, *infeasible_, *rhs_, *diagonal_;
  Cholesky<V> cholesky_;
  std::int32_t* index_;
  T largest_b_[kLanes];
};

}  // namespace
}  // namespace cofactor::cpu
