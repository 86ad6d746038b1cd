// Coordinate descent alone.

#include "backend/cpu/nnls_batch.h"

namespace cofactor {
namespace {

using testing::Batch;
using testing::gamma;
using testing::Matrix;
using testing::random_gram;
using testing::Wide;

/// Numbers, each with a bound on how far a computation in T may be off.
struct Bounded {
  std::vector<Wide> x, error;
};

class NnlsSweepsTest : public testing::NnlsTest {
 protected:
  /// Gram matrix whose scaled rows have at most 1/2 beside their 1: what rounding does to one
  /// coordinate changes later ones by half of that, and errors stay small.
  Matrix dominant_gram(int k) {
    std::vector<double> size(static_cast<std::size_t>(k));
    for (double& value : size) value = std::exp(random.uniform(-3, 3));
    Matrix gram(k, k);
    for (std::size_t r = 0; r < size.size(); ++r) {
      for (std::size_t l = 0; l <= r; ++l) {
        const double scaled = l == r ? 1 : random.uniform(-0.5, 0.5) / k;
        const auto i = static_cast<std::int64_t>(r), j = static_cast<std::int64_t>(l);
        gram(i, j) = gram(j, i) = size[r] * size[l] * scaled;
      }
    }
    return gram;
  }

  template <class T>
  static void draw(testing::Random& random, Batch<T>& batch) {
    batch.draw_b(random);
    batch.warm = random.chance(0.7);
    for (std::int64_t i = 0; i < batch.count; ++i) {
      for (int r = 0; r < batch.k; ++r) {
        const double unit = 1 / std::sqrt(batch.gram(r, r));
        batch.at(batch.x, r, i) = static_cast<T>(random.chance(0.5) ? random.uniform(0, unit) : 0);
      }
    }
    batch.shift = static_cast<T>(random.chance(0.5) ? random.uniform(0, 0.2) : 0);
    if (random.chance(0.5)) return;
    batch.diagonal.resize(batch.b.size());
    for (T& d : batch.diagonal) d = static_cast<T>(random.uniform(0, 2));
  }

  /// The same sweeps, plainly, on the original problem. A coordinate takes over the errors of the
  /// others by |G_rl| / G_rr; its own rounding is that of a gradient, of the scaling of the matrix,
  /// of b and of x, and of the step, relative to the magnitudes of the terms.
  template <class T>
  static Bounded descend(const Batch<T>& batch, std::int64_t i, const std::vector<T>& start) {
    const Matrix g = batch.full_gram(i);
    const std::vector<double> b = batch.full_rhs(i);
    const Wide rounding = gamma<T>(batch.k + 16);
    Bounded at;
    for (int r = 0; r < batch.k; ++r) {
      Wide x = batch.get(start, r, i);
      if (!batch.warm) {
        Wide row = 0;
        for (int l = 0; l < batch.k; ++l) {
          row += std::abs(Wide{g(r, l)}) / std::sqrt(Wide{batch.gram(r, r)} * batch.gram(l, l));
        }
        const Wide root = std::sqrt(Wide{batch.gram(r, r)});
        x = std::max(Wide{0}, b[static_cast<std::size_t>(r)] / root / row) / root;
      }
      at.x.push_back(x);
      const Wide shift = std::abs(Wide{batch.shift}) / g(r, r);
      at.error.push_back(rounding * (x + shift));
    }
    for (int sweep = 0; sweep < batch.sweeps; ++sweep) {
      for (int r = 0; r < batch.k; ++r) {
        const auto own = static_cast<std::size_t>(r);
        Wide step = b[own];
        Wide size = std::abs(Wide{batch.get(batch.b, r, i)}) + std::abs(Wide{batch.shift});
        Wide error = 0;
        for (int l = 0; l < batch.k; ++l) {
          const auto other = static_cast<std::size_t>(l);
          size += std::abs(g(r, l)) * at.x[other];
          if (l == r) continue;
          step -= g(r, l) * at.x[other];
          error += std::abs(g(r, l)) * at.error[other];
        }
        at.x[own] = std::max(Wide{0}, step / g(r, r));
        at.error[own] = (error + rounding * (size + error)) / g(r, r);
      }
    }
    return at;
  }
};

TEST_P(NnlsSweepsTest, AreThoseOfAPlainLoop) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : {1, 2, 3, 4, 5, 8, 9, 20, 33, 64, 130}) {
      for (const std::int64_t count : {1, 7, 16, 37, 131}) {
        Batch<T> batch(dominant_gram(k), count);
        draw(random, batch);
        batch.sweeps = static_cast<int>(random.integer(1, 6));
        const std::vector<T> start = batch.x;
        batch.solve(GetParam().level);
        testing::Comparison comparison;
        for (std::int64_t i = 0; i < count; ++i) {
          const Bounded expected = descend(batch, i, start);
          for (int r = 0; r < k; ++r) {
            const auto at = static_cast<std::size_t>(r);
            comparison.check(batch.get(batch.x, r, i), expected.x[at], expected.error[at],
                             "component", r, "column", i);
          }
        }
        EXPECT_TRUE(comparison.result()) << "k = " << k << ", " << count << " columns";
      }
    }
  });
}

TEST_P(NnlsSweepsTest, NeverRaiseTheObjective) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : {2, 5, 20, 50}) {
      Batch<T> batch(random_gram(random, k, 0.3), 40);
      draw(random, batch);
      batch.warm = true;
      batch.sweeps = 1;
      for (int sweep = 0; sweep < 5; ++sweep) {
        const std::vector<T> before = batch.x;
        batch.solve(GetParam().level);
        for (std::int64_t i = 0; i < batch.count; ++i) {
          const Matrix g = batch.full_gram(i);
          const std::vector<double> b = batch.full_rhs(i);
          // 1/2 x'Gx - b'x, and the sum of the magnitudes of its terms. A coordinate's step is
          // rounded relative to the terms of its gradient, and what it gains is quadratic in it.
          const auto objective = [&](const std::vector<T>& x) {
            std::pair<Wide, Wide> sum{0, 0};
            for (int r = 0; r < k; ++r) {
              const auto add = [&](Wide term) {
                sum.first += term;
                sum.second += std::abs(term);
              };
              for (int l = 0; l < k; ++l) {
                add(Wide{g(r, l)} / 2 * batch.get(x, r, i) * batch.get(x, l, i));
              }
              add(-b[static_cast<std::size_t>(r)] * Wide{batch.get(x, r, i)});
            }
            return sum;
          };
          const auto [was, terms] = objective(before);
          const auto [is, terms_now] = objective(batch.x);
          EXPECT_LE(is, was + gamma<T>(k + 16) * (terms + terms_now)) << "k = " << k;
        }
      }
    }
  });
}

TEST_P(NnlsSweepsTest, ADeadComponentStaysZero) {
  typed([&](auto zero) {
    using T = decltype(zero);
    Matrix gram = dominant_gram(5);
    for (int r = 0; r < 5; ++r) gram(2, r) = gram(r, 2) = 0;
    Batch<T> batch(gram, 19);
    for (T& b : batch.b) b = 1;
    batch.x.assign(batch.x.size(), T{1});
    batch.warm = true;
    batch.sweeps = 2;
    batch.solve(GetParam().level);
    for (std::int64_t i = 0; i < batch.count; ++i) EXPECT_EQ(batch.at(batch.x, 2, i), 0);
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(NnlsSweepsTest);

}  // namespace
}  // namespace cofactor
