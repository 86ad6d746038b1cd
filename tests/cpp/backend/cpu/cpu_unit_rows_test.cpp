// Rows of H_v on the unit sphere, against the row-wise minimiser in float64.

#include "backend/cpu/pass_checks.h"

namespace cofactor {
namespace {

using testing::Coupled;
using testing::Matrix;
using testing::Session;
using testing::Wide;

/// What the solve for rows of one view was given, and t = S_r - sum over l != r of C_rl h_l.
template <class T>
struct RowProblem {
  RowProblem(const Session<T>& session, int view)
      : h(testing::factor_of(*session.backend, session.data.problem, Factor::kSolved, view)),
        c(session.k, session.k),
        s(session.k, h.columns) {
    std::copy_n(session.backend->c(view).begin(), c.values.size(), c.values.begin());
    std::copy_n(session.backend->s(view).begin(), s.values.size(), s.values.begin());
  }
  [[nodiscard]] std::vector<double> without(int r, int first, int rank) const {
    std::vector<double> t;
    for (std::int64_t j = 0; j < h.columns; ++j) {
      Wide sum = s(r, j);
      for (int l = first; l < first + rank; ++l) {
        if (l != r) sum -= Wide{c(r, l)} * h(l, j);
      }
      t.push_back(static_cast<double>(sum));
    }
    return t;
  }

  Matrix h, c, s;
};

double positive_norm(const std::vector<double>& t) {
  Wide squares = 0;
  for (const double value : t) {
    if (value > 0) squares += Wide{value} * value;
  }
  return static_cast<double>(std::sqrt(squares));
}

class CpuUnitRowsTest : public testing::KernelTest {
 protected:
  testing::ScopedEnvironment level{"COFACTOR_SIMD", std::string(name_of(GetParam().level)).c_str()};
};

TEST_P(CpuUnitRowsTest, EveryRowIsTheMinimiserBesideTheOthers) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const std::int64_t rows : {3, 40, 513}) {
      Coupled data(random, rows, {1, 2, 3});
      data.problem.unit_rows = true;
      data.problem.l2_w = 0.1;
      data.problem.views[2].weight = 0;
      Session<T> session(data);
      session.pass(PassMode::kFit);
      // Until the sweeps end by themselves or nearly so, with the sums of the same pass.
      for (int step = 0; step < 30; ++step) {
        for (int fit = 0; fit < 3; ++fit) session.backend->advance(fit, 0.0);
        session.backend->solve_h();
      }
      testing::Comparison comparison;
      for (int v = 0; v < data.problem.num_views(); ++v) {
        // A view of weight 0 is fitted without bounds on its rows.
        if (v == 2) continue;
        const RowProblem<T> problem(session, v);
        const Matrix before = testing::factor_of(*session.backend, data.problem, Factor::kInput, v);
        int first = 0;
        for (const int rank : data.problem.ranks) {
          for (int r = first; r < first + rank; ++r) {
            if (problem.c(r, r) <= 0) continue;
            const std::vector<double> t = problem.without(r, first, rank);
            const double norm = positive_norm(t);
            const auto largest = std::max_element(t.begin(), t.end()) - t.begin();
            // Rows after this one moved since, in the last sweep by 1e-5 at most if that ended the
            // solve, and else by less than in all sweeps of it; so did t, by C_rl times that, and
            // normalising doubles it. T rounds the entries of a unit vector.
            Wide moved = 0;
            for (int l = r + 1; l < first + rank; ++l) {
              Wide squares = 0;
              for (std::int64_t j = 0; j < before.columns; ++j) {
                squares += std::pow(Wide{problem.h(l, j)} - before(l, j), 2);
              }
              moved += std::max(1e-5L, std::sqrt(squares)) * problem.c(r, l);
            }
            const Wide bound = norm > 0 ? 2 * moved / norm + testing::kUnit<T> +
                                              testing::gamma<double>(data.total_columns())
                                        : 0;
            Wide squares = 0;
            for (std::int64_t j = 0; j < problem.h.columns; ++j) {
              const double expected = norm > 0
                                          ? std::max(t[static_cast<std::size_t>(j)], 0.0) / norm
                                          : double(j == largest);
              comparison.check(problem.h(r, j), expected, bound, "view", v, "row", r, "at", j);
              squares += Wide{problem.h(r, j)} * problem.h(r, j);
            }
            comparison.check(squares, 1, 2 * testing::kUnit<T> + testing::gamma<double>(2000), v);
          }
          first += rank;
        }
      }
      EXPECT_TRUE(comparison.result());
      Matrix passive = testing::factor_of(*session.backend, data.problem, Factor::kSolved, 2);
      EXPECT_GT(std::abs(testing::squared_norm(passive) - 6), 1e-3);
    }
  });
}

TEST_P(CpuUnitRowsTest, WhereNothingIsPositiveTheLargestEntryStandsAlone) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const std::int64_t columns : {2, 9, 511, 512, 513, 1100}) {
      // Rows x = a e_at + b u / 2 with u at unit norm: once the second row of H has that norm, b of
      // it is more than there is, and what is left for the first one is negative everywhere.
      const std::int64_t at = random.integer(0, columns - 1);
      Coupled data(random, 8, {2}, 0.0, {{.columns = columns, .dtype = DType::kFloat64}});
      data.problem.unit_rows = true;
      const double extra = random.uniform(0.1, 0.3);
      data.views[0] = {
          testing::make_matrix(8, columns, [&](auto, auto j) { return 1 + (j == at ? extra : 0); }),
          DType::kFloat64, 1.0};
      data.start[0] = testing::make_matrix(2, columns, [&](auto r, auto j) {
        return r == 0 ? double(j == at) : 0.5 / std::sqrt(double(columns));
      });
      Session<T> session(data);
      session.pass(PassMode::kFit);
      session.backend->solve_h();
      const RowProblem<T> problem(session, 0);
      const std::vector<double> t = problem.without(0, 0, 2);
      ASSERT_EQ(positive_norm(t), 0);
      ASSERT_EQ(std::max_element(t.begin(), t.end()) - t.begin(), at);
      for (std::int64_t j = 0; j < columns; ++j) EXPECT_EQ(problem.h(0, j), double(j == at));
      const double norm = positive_norm(problem.without(1, 0, 2));
      for (std::int64_t j = 0; j < columns; ++j) {
        EXPECT_NEAR(problem.h(1, j), problem.without(1, 0, 2)[static_cast<std::size_t>(j)] / norm,
                    double(testing::kUnit<T> + testing::gamma<double>(columns + 20)));
      }
    }
  });
}

TEST_P(CpuUnitRowsTest, ARowThatNoExampleHasStays) {
  typed([&](auto zero) {
    using T = decltype(zero);
    Coupled data(random, 60, {3}, 0.3, {{.columns = 40, .dtype = DType::kFloat32}});
    data.problem.unit_rows = true;
    for (std::int64_t j = 0; j < 40; ++j) data.start[0](1, j) = 0;
    Session<T> session(data);
    session.pass(PassMode::kFit);
    session.backend->solve_h();
    const Matrix h = testing::factor_of(*session.backend, data.problem, Factor::kSolved, 0);
    for (std::int64_t j = 0; j < 40; ++j) EXPECT_EQ(h(1, j), 0);
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(CpuUnitRowsTest);

}  // namespace
}  // namespace cofactor
