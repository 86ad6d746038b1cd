#include "backend/cpu/nnls/active_set.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cpu/nnls_batch.h"
#include "backend/cpu/session.h"
#include "testing.h"

namespace cofactor {
namespace {

using testing::Matrix;
using testing::Wide;

class ActiveSetTest : public testing::RandomTest {
 protected:
  /// Scaled to a unit diagonal, as the solver gets it.
  Matrix unit_gram(int k, double spread) {
    const Matrix g = testing::random_gram(random, k, spread);
    return testing::make_matrix(k, k, [&](auto r, auto l) {
      return r == l ? 1.0 : g(r, l) / std::sqrt(g(r, r) * g(l, l));
    });
  }

  /// max_r |min(x_r, (Gx - b)_r)| over max_r |b_r|.
  static Wide violation(const Matrix& g, const std::vector<double>& b,
                        const std::vector<double>& x) {
    Wide worst = 0, largest = 0;
    for (std::int64_t r = 0; r < g.rows; ++r) {
      Wide gradient = -b[static_cast<std::size_t>(r)];
      for (std::int64_t l = 0; l < g.rows; ++l) {
        gradient += Wide{g(r, l)} * x[static_cast<std::size_t>(l)];
      }
      worst = std::max(worst, std::abs(std::min(Wide{x[static_cast<std::size_t>(r)]}, gradient)));
      largest = std::max(largest, std::abs(Wide{b[static_cast<std::size_t>(r)]}));
    }
    return largest > 0 ? worst / largest : worst;
  }
};

TEST_F(ActiveSetTest, SolvesWhateverTheConditionAndTheStart) {
  for (const int k : {1, 2, 3, 7, 20, 40}) {
    for (const double spread : {1.0, 1e-1, 1e-2, 1e-3}) {
      for (int repeat = 0; repeat < 5; ++repeat) {
        const Matrix g = unit_gram(k, spread);
        std::vector<double> b(static_cast<std::size_t>(k)), x(b.size());
        for (double& value : b) value = random.uniform(-0.2, 1);
        for (double& value : x) value = random.chance(0.5) ? random.uniform(0, 1) : 0;
        cpu::ActiveSetSolver(g.values.data(), k).solve(b.data(), x.data());
        for (const double value : x) EXPECT_GE(value, 0);
        // Cholesky is backward stable: a residual of about k units of float64, far below this.
        EXPECT_LE(violation(g, b, x), 1e-10) << "k = " << k << ", spread " << spread;
      }
    }
  }
}

TEST_F(ActiveSetTest, EqualComponentsAreNoTrouble) {
  const int k = 6;
  const Matrix half = unit_gram(k / 2, 1.0);
  const Matrix g =
      testing::make_matrix(k, k, [&](auto r, auto l) { return half(r % (k / 2), l % (k / 2)); });
  std::vector<double> b(k), x(k);
  for (int r = 0; r < k; ++r) {
    b[static_cast<std::size_t>(r)] = r < k / 2 ? random.uniform(0.1, 1) : b[r - k / 2];
  }
  cpu::ActiveSetSolver(g.values.data(), k).solve(b.data(), x.data());
  EXPECT_LE(violation(g, b, x), 1e-10);
}

TEST_F(ActiveSetTest, NothingPositiveGivesZero) {
  const Matrix g = unit_gram(5, 1.0);
  const std::vector<double> b(5, -1.0);
  std::vector<double> x(5, 0.3);
  cpu::ActiveSetSolver(g.values.data(), 5).solve(b.data(), x.data());
  EXPECT_EQ(x, std::vector<double>(5, 0.0));
}

TEST_F(ActiveSetTest, FinishesWhatTheRoundsLeave) {
  // One round is not enough for many rows, which go through the active-set solver, and end where
  // many rounds end.
  testing::Coupled data(random, 70, {2, 5});
  testing::give_each_row_a_group(data.problem);
  testing::Session<double> pivoted(data), finished(data, 1);
  for (const double added : {0.0, 0.25}) {
    const std::vector<double> norms = testing::norms_for(std::vector<double>(70 * 7, added));
    for (const auto* session : {&pivoted, &finished}) {
      session->backend->set_group_norms(norms.data());
    }
    pivoted.pass(PassMode::kFit);
    finished.pass(PassMode::kFit);
    const double largest = *std::max_element(pivoted.w.values.begin(), pivoted.w.values.end());
    for (std::size_t i = 0; i < pivoted.w.values.size(); ++i) {
      EXPECT_NEAR(finished.w.values[i], pivoted.w.values[i], 1e-6 * largest);
    }
  }
}

}  // namespace
}  // namespace cofactor
