#include "backend/product_side.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "reference.h"

namespace cofactor {
namespace {

using testing::gamma;
using testing::make_matrix;
using testing::Matrix;
using testing::multiply;
using testing::Wide;

/// A side of random numbers, and the numbers of the other side that steer it.
struct Case {
  Case(testing::Random& random, int components, std::int64_t rank, std::int64_t columns)
      : k(components), r(rank), n(columns) {
    basis = make_matrix(r, n, [&](auto, auto) { return random.uniform(-1, 1); });
    for (std::int64_t i = 0; i < r; ++i) singular.push_back(std::exp(random.uniform(-2, 2)));
    x = make_matrix(k, n, [&](auto, auto) {
      return random.chance(0.5) ? static_cast<float>(random.uniform(0, 1)) : 0.0;
    });
    coefficients = make_matrix(k, r, [&](auto, auto) { return random.uniform(-0.2, 1); });
    // A unit diagonal and little beside it, so that errors of sweeps stay small.
    gram = make_matrix(k, k,
                       [&](auto c, auto d) { return c == d ? random.uniform(1, 1.5) : 0.3 / k; });
    l1 = random.chance(0.5) ? random.uniform(0, 0.1) : 0;
    l2 = random.chance(0.5) ? random.uniform(0, 1) : 0;
  }
  [[nodiscard]] std::unique_ptr<ProductSide> side(bool float64, int threads = 2) const {
    return make_cpu_product_side(basis.values.data(), n, r, singular.data(),
                                 {k, l1, l2, float64, threads});
  }
  /// What coordinate descent multiplies, K diag(s) U.
  [[nodiscard]] Matrix right_hand_side() const {
    const Matrix scaled = make_matrix(k, r, [&](auto c, auto i) {
      return coefficients(c, i) * singular[static_cast<std::size_t>(i)];
    });
    return multiply(scaled, basis);
  }
  [[nodiscard]] Matrix descended(const Matrix& start, int sweeps) const {
    const Matrix b = right_hand_side();
    Matrix result = start;
    for (std::int64_t j = 0; j < n; ++j) {
      for (int sweep = 0; sweep < sweeps; ++sweep) {
        for (int c = 0; c < k; ++c) {
          double step = b(c, j) - l1;
          for (int d = 0; d < k; ++d) step -= c == d ? 0 : gram(c, d) * result(d, j);
          result(c, j) = std::max(0.0, step / (gram(c, c) + l2));
        }
      }
    }
    return result;
  }

  int k;
  std::int64_t r, n;
  Matrix basis, x, coefficients, gram;
  std::vector<double> singular;
  double l1, l2;
};

Matrix factor_of(const ProductSide& side, const Case& given) {
  Matrix x(given.k, given.n);
  side.get_factor(x.values.data());
  return x;
}

class ProductSideTest : public testing::KernelTest {
 protected:
  testing::ScopedEnvironment level{"COFACTOR_SIMD", std::string(name_of(GetParam().level)).c_str()};
  static Wide unit(std::int64_t terms) {
    return GetParam().float64 ? gamma<double>(terms) : gamma<float>(terms);
  }

  /// Of `x` and the factor accepted before. Numbers of a panel are summed in the compute type, and
  /// panels in float64: as many roundings as a panel has columns, and those of the operands.
  static void expect_sums(const SideSums& found, const Case& given, const Matrix& x,
                          const Matrix& before) {
    const Wide rounding = unit(std::min<std::int64_t>(given.n, 512) + 8);
    testing::Comparison comparison;
    const auto compare = [&](const std::vector<double>& sums, const Matrix& a, const Matrix& b,
                             const char* name) {
      ASSERT_EQ(std::ssize(sums), a.rows * b.rows) << name;
      for (std::int64_t c = 0; c < a.rows; ++c) {
        for (std::int64_t d = 0; d < b.rows; ++d) {
          Wide sum = 0, terms = 0;
          for (std::int64_t j = 0; j < a.columns; ++j) {
            sum += Wide{a(c, j)} * b(d, j);
            terms += std::abs(Wide{a(c, j)} * b(d, j));
          }
          comparison.check(sums[static_cast<std::size_t>(c * b.rows + d)], sum, rounding * terms,
                           name, c, d);
        }
      }
    };
    compare(found.coefficients, x, given.basis, "coefficients");
    compare(found.gram, x, x, "gram");
    compare(found.cross, before, x, "cross");
    Wide penalty = 0;
    for (const double value : x.values) {
      penalty += given.l1 * Wide{value} + given.l2 / 2 * Wide{value} * value;
    }
    comparison.check(found.penalty, penalty, rounding * penalty, "penalty");
    EXPECT_TRUE(comparison.result()) << given.k << " x " << given.n << ", rank " << given.r;
  }
};

TEST_P(ProductSideTest, SumsOfAStart) {
  for (const std::int64_t n : {1, 15, 511, 512, 513, 1500}) {
    const Case given(random, static_cast<int>(random.integer(1, 20)), random.integer(1, 40), n);
    const auto side = given.side(GetParam().float64);
    expect_sums(side->start(given.x.values.data()), given, given.x, given.x);
    EXPECT_EQ(factor_of(*side, given).values, given.x.values);
  }
}

TEST_P(ProductSideTest, ManyPanels) {
  // More than there are parts, and more sums than one task adds up.
  const Case given(random, 40, 70, 512 * 33 + 5);
  const auto side = given.side(GetParam().float64);
  expect_sums(side->start(given.x.values.data()), given, given.x, given.x);
}

TEST_P(ProductSideTest, DescendsFromTheAcceptedFactor) {
  for (const std::int64_t n : {1, 127, 128, 129, 600}) {
    const Case given(random, static_cast<int>(random.integer(1, 40)), random.integer(1, 40), n);
    const auto side = given.side(GetParam().float64);
    const int sweeps = static_cast<int>(random.integer(1, 5));
    const auto descend = [&] {
      return side->descend(given.coefficients.values.data(), given.gram.values.data(), sweeps);
    };
    // Bound on the magnitudes that a right-hand side sums.
    Wide size = 0;
    for (const double value : given.singular) size += 2 * Wide{value};
    // From zeros, from a start, and from where that led.
    for (const int round : {0, 1, 2}) {
      if (round == 1) side->start(given.x.values.data());
      const Matrix before = factor_of(*side, given);
      const SideSums not_accepted = descend();
      EXPECT_EQ(factor_of(*side, given).values, before.values);
      const SideSums sums = descend();
      EXPECT_EQ(sums.coefficients, not_accepted.coefficients) << "not from the accepted factor";
      side->accept();
      const Matrix found = factor_of(*side, given);
      expect_sums(sums, given, found, before);
      // X is at most the right-hand side or 1, a gradient sums at most 2.3 times that, and beside a
      // diagonal of at least 1 the matrix has rows of at most 0.3, which hand errors on.
      const Matrix expected = given.descended(before, sweeps);
      testing::Comparison comparison;
      for (std::size_t i = 0; i < found.values.size(); ++i) {
        comparison.check(found.values[i], expected.values[i],
                         4 * unit(given.r + given.k + 24) * (size + 1), "number", i);
      }
      EXPECT_TRUE(comparison.result()) << given.k << " x " << n << ", rank " << given.r;
    }
  }
}

TEST_P(ProductSideTest, SameBitsForAnyNumberOfThreads) {
  const Case given(random, 40, 40, 512 * 40 + 100);
  std::vector<std::vector<double>> bits;
  for (const int threads : {1, 2, 5}) {
    const auto side = given.side(GetParam().float64, threads);
    side->start(given.x.values.data());
    const SideSums sums =
        side->descend(given.coefficients.values.data(), given.gram.values.data(), 3);
    side->accept();
    std::vector<double>& all = bits.emplace_back(factor_of(*side, given).values);
    for (const auto* part : {&sums.coefficients, &sums.gram, &sums.cross}) {
      all.insert(all.end(), part->begin(), part->end());
    }
    all.push_back(sums.penalty);
  }
  EXPECT_EQ(bits[0], bits[1]);
  EXPECT_EQ(bits[0], bits[2]);
}

COFACTOR_INSTANTIATE_KERNEL_TEST(ProductSideTest);

}  // namespace
}  // namespace cofactor
