// One iteration against exact ALS in float64. loop_bits_test.cpp shows that n iterations are n
// times one.

#include "als/loop_fixture.h"

namespace cofactor {
namespace {

using testing::Coupled;
using testing::Matrix;
using testing::Wide;

/// Half-steps of exact ALS in float64, with bounds on what an inexact one may differ by.
class Reference {
 public:
  Reference(const Coupled& data, const std::vector<Matrix>& h, double tolerance, Wide unit)
      : data_(data), tolerance_(tolerance), unit_(unit), w(data.problem.rows, h[0].rows) {
    const std::int64_t k = h[0].rows;
    const Problem& problem = data.problem;
    Matrix g(k, k), b(problem.rows, k);
    for (std::size_t v = 0; v < h.size(); ++v) {
      const double weight = problem.views[v].weight;
      add(g, weight, testing::multiply(h[v], testing::transpose(h[v])));
      add(b, weight, testing::multiply(data.views[v].values, testing::transpose(h[v])));
    }
    for (std::int64_t r = 0; r < k; ++r) g(r, r) += problem.l2_w;
    Wide error = 0;
    for (std::int64_t i = 0; i < problem.rows; ++i) {
      const auto [x, bound] = solve(g, row(b, i), problem.l1_w, data.total_columns());
      for (std::int64_t r = 0; r < k; ++r) w(i, r) = x[static_cast<std::size_t>(r)];
      w_bounds.push_back(bound);
      error += bound * bound;
    }
    const Wide w_error = std::sqrt(error), w_norm = std::sqrt(Wide{testing::squared_norm(w)});
    const Matrix c = testing::multiply(testing::transpose(w), w);
    // |W'W - V'V| <= (|W| + |V|) |W - V|, and the rounding of the sum.
    const Wide c_error = w_error * (2 * w_norm + w_error) +
                         rounding(kPanelRows) * (w_norm + w_error) * (w_norm + w_error);
    for (std::size_t v = 0; v < h.size(); ++v) {
      const ViewSpec& spec = problem.views[v];
      const Matrix& x = data.views[v].values;
      const Matrix s = testing::multiply(testing::transpose(w), x);
      Matrix cv = c;
      for (std::int64_t r = 0; r < k; ++r) cv(r, r) += spec.l2_h;
      const Wide convexity = testing::eigenvalue_range(cv).first - c_error;
      Matrix solved(k, spec.columns);
      std::vector<Wide> bounds;
      const Matrix xt = testing::transpose(x);
      for (std::int64_t j = 0; j < spec.columns; ++j) {
        const auto [y, bound] = solve(cv, column(s, j), spec.l1_h, 0);
        Wide y_norm = 0, x_norm = 0;
        for (std::int64_t r = 0; r < k; ++r) {
          solved(r, j) = y[static_cast<std::size_t>(r)];
          y_norm += Wide{solved(r, j)} * solved(r, j);
        }
        for (const double value : row(xt, j)) x_norm += Wide{value} * value;
        // A solution moves by at most what its gradient is off by, over the convexity.
        const Wide s_error =
            std::sqrt(x_norm) * (w_error + rounding(kPanelRows) * (w_norm + w_error));
        bounds.push_back(2 * bound + (c_error * std::sqrt(y_norm) + s_error) / convexity);
      }
      h_solved.push_back(solved);
      h_bounds.push_back(bounds);
    }
  }

 private:
  static void add(Matrix& to, double weight, const Matrix& from) {
    for (std::size_t i = 0; i < to.values.size(); ++i) to.values[i] += weight * from.values[i];
  }
  static std::vector<double> row(const Matrix& a, std::int64_t i) {
    return {a.values.begin() + i * a.columns, a.values.begin() + (i + 1) * a.columns};
  }
  static std::vector<double> column(const Matrix& a, std::int64_t j) {
    return row(testing::transpose(a), j);
  }
  [[nodiscard]] Wide rounding(std::int64_t n) const { return static_cast<Wide>(n + 2) * 2 * unit_; }

  /// The minimiser, and how far from it an answer within the solver's tolerance may be: the bound
  /// on the violation times (1 + L) / m in the problem scaled to a unit diagonal (Pang 1987).
  [[nodiscard]] std::pair<std::vector<double>, Wide> solve(const Matrix& g, std::vector<double> b,
                                                           double shift, std::int64_t terms) const {
    const std::vector<double> raw = b;
    for (double& value : b) value -= shift;
    const std::vector<double> x = testing::nnls_by_enumeration(g, b);
    const Wide allowed =
        testing::optimality(g, {}, raw, shift, x, tolerance_, rounding(terms + g.rows + 20))
            .allowed;
    double least = g(0, 0);
    for (std::int64_t r = 1; r < g.rows; ++r) least = std::min(least, g(r, r));
    const auto [low, high] = testing::eigenvalue_range(testing::make_matrix(
        g.rows, g.rows, [&](auto r, auto l) { return g(r, l) / std::sqrt(g(r, r) * g(l, l)); }));
    return {x, (1 + high) / low * std::sqrt(Wide(g.rows)) * allowed / std::sqrt(Wide{least})};
  }

  const Coupled& data_;
  double tolerance_;
  Wide unit_;

 public:
  Matrix w;
  std::vector<Wide> w_bounds;  ///< by row
  std::vector<Matrix> h_solved;
  std::vector<std::vector<Wide>> h_bounds;  ///< by view and column
};

class LoopStepTest : public testing::LoopFixture {};

TEST_P(LoopStepTest, AnIterationIsAnExactStepOfAls) {
  for (const bool penalised : {false, true}) {
    Coupled data(random, 700, {3});
    if (penalised) {
      data.problem.l1_w = 0.1;
      data.problem.l2_w = 1;
      for (ViewSpec& view : data.problem.views) {
        view.l1_h = 0.5;
        view.l2_h = 2;
      }
    }
    const auto backend = backend_for(data);
    MatrixSource source = data.source(200);
    Reducer reducer;
    EncodeResult encoded;
    const Matrix w = encode(*backend, data, encoded, false);
    const FitResult result = als_fit(*backend, data.problem, source, reducer, options_for(data, 1));
    std::vector<Matrix> h;
    for (int v = 0; v < data.problem.num_views(); ++v)
      h.push_back(factor(*backend, data.problem, v));
    // In float32 these bounds, which grow with condition numbers, are as wide as the factors; there
    // cpu_pass_test.cpp checks that each half-step is optimal.
    if (GetParam()) {
      const Reference reference(data, data.start, solver_tolerance(), gamma(1));
      testing::Comparison comparison;
      for (int r = 0; r < 3; ++r) {
        for (std::int64_t i = 0; i < w.rows; ++i) {
          comparison.check(w(i, r), reference.w(i, r), reference.w_bounds[std::size_t(i)], "W", i,
                           r);
        }
        for (std::size_t v = 0; v < h.size(); ++v) {
          for (std::int64_t j = 0; j < h[v].columns; ++j) {
            comparison.check(h[v](r, j), reference.h_solved[v](r, j),
                             reference.h_bounds[v][std::size_t(j)], "H", v, r, j);
          }
        }
      }
      EXPECT_TRUE(comparison.result());
      EXPECT_LT(reference.h_bounds[4][0], 1e-4) << "the bounds say nothing";
    }

    // The loss is of W for the old H, and of the new H.
    const auto squares = data.sum_of_squares();
    const auto rest = residuals(data, w, h);
    double weighted = 0, total = 0;
    testing::Comparison losses;
    for (std::size_t v = 0; v < rest.size(); ++v) {
      weighted += data.problem.views[v].weight * rest[v];
      total += data.problem.views[v].weight * squares[v];
      losses.check(result.fits[0].view_losses[0][v], rest[v] / squares[v], identity_bound(data), v);
    }
    losses.check(result.fits[0].losses[0], weighted / total, identity_bound(data), "relative");
    EXPECT_TRUE(losses.result());
    // Encoding gave the loss of W and the old H.
    const auto before = residuals(data, w, data.start);
    double weighted_before = 0;
    for (std::size_t v = 0; v < before.size(); ++v) {
      weighted_before += data.problem.views[v].weight * before[v];
    }
    EXPECT_NEAR(encoded.losses[0], weighted_before / total, double(identity_bound(data)));
  }
}

TEST_P(LoopStepTest, ADiagonalPerRowIsAddedToItsGramMatrix) {
  Coupled data(random, 530, {3});
  testing::give_each_row_a_group(data.problem);
  const Matrix diagonal = testing::make_matrix(530, 3, [&](auto, auto) {
    return static_cast<float>(random.chance(0.3) ? 0 : random.uniform(0, 50));
  });
  const auto backend = backend_for(data);
  backend->set_group_norms(testing::norms_for(diagonal.values).data());
  EncodeResult encoded;
  const Matrix w = encode(*backend, data, encoded, false);
  Matrix g(3, 3), b(530, 3);
  for (std::size_t v = 0; v < 5; ++v) {
    const double weight = data.problem.views[v].weight;
    const Matrix ht = testing::transpose(data.start[v]);
    const Matrix gv = testing::multiply(data.start[v], ht);
    const Matrix bv = testing::multiply(data.views[v].values, ht);
    for (std::size_t i = 0; i < 9; ++i) g.values[i] += weight * gv.values[i];
    for (std::size_t i = 0; i < b.values.size(); ++i) b.values[i] += weight * bv.values[i];
  }
  testing::Comparison comparison;
  for (std::int64_t i = 0; i < 530; ++i) {
    Matrix own = g;
    std::vector<double> d, right;
    for (int r = 0; r < 3; ++r) {
      own(r, r) += diagonal(i, r);
      d.push_back(diagonal(i, r));
      right.push_back(b(i, r));
    }
    const std::vector<double> x = testing::nnls_by_enumeration(own, right);
    const Wide allowed =
        testing::optimality(g, d, right, 0, x, solver_tolerance(), gamma(data.total_columns() + 30))
            .allowed;
    // Where the violation is scaled by G_rr, so is the distance (Pang 1987).
    const auto [low, high] = testing::eigenvalue_range(testing::make_matrix(
        3, 3, [&](auto r, auto l) { return own(r, l) / std::sqrt(g(r, r) * g(l, l)); }));
    for (int r = 0; r < 3; ++r) {
      comparison.check(w(i, r), x[std::size_t(r)],
                       (1 + high) / low * std::sqrt(Wide{3}) * allowed / std::sqrt(Wide{g(r, r)}),
                       "row", i, "component", r);
    }
  }
  EXPECT_TRUE(comparison.result());
}

INSTANTIATE_TEST_SUITE_P(Types, LoopStepTest, ::testing::Bool(), testing::name_of_type);

}  // namespace
}  // namespace cofactor
