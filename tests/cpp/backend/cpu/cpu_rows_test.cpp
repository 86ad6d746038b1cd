// Passes over rows with terms of their own: weights, views that they lack, and groups.

#include <limits>
#include <utility>

#include "backend/cpu/pass_checks.h"

namespace cofactor {
namespace {

using testing::block_of;
using testing::Coupled;
using testing::Matrix;
using testing::Session;
using testing::StoredView;
using testing::Wide;

constexpr std::int64_t kGroups = 4;

/// Coupled views whose rows have terms, which are kept apart from those that the core is given.
struct TermedViews {
  TermedViews(testing::Random& random, std::int64_t rows) : data(random, rows, {2, 3}) {
    Problem& problem = data.problem;
    RowTerms& terms = problem.row_terms;
    const auto n = static_cast<std::size_t>(rows);
    has.assign(data.views.size(), std::vector<bool>(n, true));
    for (std::size_t i = 0; i < n; ++i) {
      weight.push_back(random.chance(0.2) ? 0 : random.uniform(0.1, 3));
      group.push_back(static_cast<std::int32_t>(random.integer(0, kGroups - 1)));
      // One view in runs of rows, one here and there, and each row has some.
      has[1][i] = i > 0 && random.chance(0.9) ? has[1][i - 1] : random.chance(0.5);
      has[4][i] = random.chance(0.6);
    }
    terms.weight = weight;
    terms.group = group;
    terms.num_groups = kGroups;
    problem.group_penalty = 0.8;
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<bool> own;
      for (const auto& of_view : has) own.push_back(of_view[i]);
      const auto found = std::find(terms.patterns.begin(), terms.patterns.end(), own);
      terms.pattern.push_back(static_cast<std::int32_t>(found - terms.patterns.begin()));
      if (found == terms.patterns.end()) terms.patterns.push_back(own);
    }
    for (std::size_t v = 0; v < data.views.size(); ++v) {
      StoredView& view = data.views[v];
      Matrix& x = seen.emplace_back(view.values);
      Matrix stored = view.values;
      for (std::int64_t i = 0; i < rows; ++i) {
        if (has[v][static_cast<std::size_t>(i)]) continue;
        for (std::int64_t j = 0; j < x.columns; ++j) {
          x(i, j) = 0;
          stored(i, j) = std::numeric_limits<double>::quiet_NaN();
        }
      }
      view = StoredView(stored, view.dtype, view.scale);
    }
  }
  [[nodiscard]] double weight_of(std::int64_t i) const {
    return weight[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] bool there(std::size_t v, std::int64_t i) const {
    return has[v][static_cast<std::size_t>(i)];
  }

  Coupled data;
  std::vector<Matrix> seen;  ///< the views, and 0 where a row lacks one
  std::vector<double> weight;
  std::vector<std::int32_t> group;
  std::vector<std::vector<bool>> has;  ///< by view and row
};

/// Whether every row of W solves the problem of the views that it has; what groups add to the
/// diagonal is of group x component.
template <class T>
void expect_rows_solved(const Session<T>& session, const TermedViews& views,
                        const Matrix& diagonal) {
  const Problem& problem = session.data.problem;
  const Matrix b = session.b();
  std::vector<Matrix> grams;
  for (std::size_t v = 0; v < views.seen.size(); ++v) {
    const Matrix h =
        testing::factor_of(*session.backend, problem, Factor::kInput, static_cast<int>(v));
    grams.push_back(testing::multiply(h, testing::transpose(h)));
  }
  testing::Comparison comparison;
  for (std::int64_t i = 0; i < problem.rows; ++i) {
    const std::int64_t own_group = views.group[static_cast<std::size_t>(i)];
    const Matrix gram = testing::make_matrix(session.k, session.k, [&](auto r, auto l) {
      double sum = r == l ? problem.l2_w : 0;
      for (std::size_t v = 0; v < grams.size(); ++v) {
        if (views.there(v, i)) sum += problem.views[v].weight * grams[v](r, l);
      }
      return sum;
    });
    int first = 0;
    for (const int rank : problem.ranks) {
      std::vector<double> right, x, own;
      for (int r = first; r < first + rank; ++r) {
        right.push_back(b(i, r));
        x.push_back(session.w(i, r));
        own.push_back(diagonal(own_group, r));
        if (!(x.back() >= 0)) comparison.check(x.back(), 0, -1, "negative", i, r);
      }
      const testing::Optimality found =
          testing::optimality(block_of(gram, first, rank), own, right, problem.l1_w, x,
                              testing::tolerance<T>(), session.column_gamma());
      comparison.check(found.violation, 0, found.allowed, "row", i);
      first += rank;
    }
  }
  EXPECT_TRUE(comparison.result());
}

/// C of all rows and of those that have each view, and S_v, with the rows' weights.
template <class T>
void expect_sums(const Session<T>& session, const TermedViews& views) {
  // Beside the sums of a panel: the weight is rounded to T, and so is what it multiplies.
  const Wide gamma = testing::gamma<T>(kPanelRows + 3) + testing::gamma<double>(100);
  testing::Comparison comparison;
  const auto check = [&](std::span<const double> actual, const Matrix& x, int view) {
    const Matrix weighted = testing::make_matrix(session.k, x.rows, [&](auto r, auto i) {
      const bool there = view == kEveryRow || views.there(static_cast<std::size_t>(view), i);
      return there ? views.weight_of(i) * session.w(i, r) : 0.0;
    });
    // No term is negative, so the sum is its own magnitude.
    const Matrix exact = testing::multiply(weighted, x);
    ASSERT_EQ(actual.size(), exact.values.size());
    for (std::size_t at = 0; at < actual.size(); ++at) {
      comparison.check(actual[at], exact.values[at], gamma * exact.values[at], view, x.columns, at);
    }
  };
  const int num_views = session.data.problem.num_views();
  for (int v = kEveryRow; v < num_views; ++v) check(session.backend->c(v), session.w, v);
  for (int v = 0; v < num_views; ++v) {
    check(session.backend->s(v), views.seen[static_cast<std::size_t>(v)], v);
  }
  EXPECT_TRUE(comparison.result());
}

/// ||W[g, r]||_2 with the rows' weights, groups x K.
template <class T>
Matrix group_norms_of(const Session<T>& session, const TermedViews& views) {
  Matrix squares(kGroups, session.k);
  for (std::int64_t i = 0; i < session.w.rows; ++i) {
    for (int r = 0; r < session.k; ++r) {
      squares(views.group[static_cast<std::size_t>(i)], r) +=
          views.weight_of(i) * session.w(i, r) * session.w(i, r);
    }
  }
  for (double& value : squares.values) value = std::sqrt(value);
  return squares;
}

template <class T>
void expect_row_sums(const Session<T>& session, const TermedViews& views) {
  const auto rows = session.backend->row_sums();
  const Matrix b = session.b(), norms = group_norms_of(session, views);
  testing::Comparison comparison;
  const Wide tiny = testing::gamma<double>(1000 + b.rows);
  int first = 0;
  for (std::size_t f = 0; f < rows.size(); ++f) {
    const int rank = session.data.problem.ranks[f];
    Wide cross = 0, l1 = 0, of_groups = 0;
    for (int r = first; r < first + rank; ++r) {
      for (std::int64_t i = 0; i < b.rows; ++i) {
        cross += Wide{views.weight_of(i)} * b(i, r) * session.w(i, r);
        l1 += Wide{views.weight_of(i)} * session.w(i, r);
      }
      for (std::int64_t g = 0; g < kGroups; ++g) of_groups += norms(g, r);
    }
    comparison.check(rows[f].cross, cross, (session.column_gamma() + tiny) * cross, "<B, W>");
    comparison.check(rows[f].w_l1, l1, tiny * l1, "||W||_1");
    comparison.check(rows[f].group_norms, of_groups, tiny * of_groups, "groups");
    first += rank;
  }
  EXPECT_TRUE(comparison.result());
}

class CpuRowsTest : public testing::KernelTest {
 protected:
  testing::ScopedEnvironment level{"COFACTOR_SIMD", std::string(name_of(GetParam().level)).c_str()};
};

TEST_P(CpuRowsTest, APassSolvesAndSumsRowsByTheirTerms) {
  typed([&](auto zero) {
    using T = decltype(zero);
    // Fewer rows than a panel, whole panels, and panels that end open.
    for (const std::int64_t rows : {1, 5, 511, 512, 513, 1100}) {
      TermedViews views(random, rows);
      views.data.problem.l1_w = 0.05;
      views.data.problem.l2_w = 0.5;
      for (ViewSpec& view : views.data.problem.views) view.l2_h = 0.3;
      Session<T> session(views.data);
      session.operands = views.seen;
      // At first no norm is known, and the penalty adds nothing.
      session.pass(PassMode::kFit, random.pick(std::vector<std::int64_t>{0, 100, 512}));
      expect_rows_solved(session, views, Matrix(kGroups, session.k));
      expect_sums(session, views);
      expect_row_sums(session, views);
      session.backend->solve_h();
      testing::expect_columns_solved(session);
    }
  });
}

TEST_P(CpuRowsTest, GroupsArePenalisedAtTheNormsOfTheLastAcceptedPass) {
  typed([&](auto zero) {
    using T = decltype(zero);
    const TermedViews views(random, 600);
    Session<T> session(views.data);
    session.operands = views.seen;
    const Problem& problem = views.data.problem;
    std::vector<double> norms(static_cast<std::size_t>(kGroups * session.k));
    for (double& norm : norms) norm = random.uniform(0.05, 2);
    norms[1] = 0;
    norms[7] = std::numeric_limits<double>::infinity();
    session.backend->set_group_norms(norms.data());
    session.pass(PassMode::kFit);
    Matrix diagonal(kGroups, session.k);
    // A fit's smallest norm is relative to its own.
    for (const auto& [first, end] : {std::pair{0, 2}, std::pair{2, 5}}) {
      double squares = 0;
      int known = 0;
      for (std::int64_t g = 0; g < kGroups; ++g) {
        for (int r = first; r < end; ++r) {
          const double norm = norms[static_cast<std::size_t>(g * session.k + r)];
          if (std::isinf(norm)) continue;
          squares += norm * norm;
          ++known;
        }
      }
      for (std::int64_t g = 0; g < kGroups; ++g) {
        for (int r = first; r < end; ++r) {
          const double norm = norms[static_cast<std::size_t>(g * session.k + r)];
          diagonal(g, r) =
              problem.group_penalty / std::max(norm, 1e-6 * std::sqrt(squares / known));
        }
      }
    }
    expect_rows_solved(session, views, diagonal);
    // A step that is not accepted leaves them as they are, and one that is takes its own.
    EXPECT_TRUE(std::equal(norms.begin(), norms.end(), session.backend->group_norms().begin()));
    session.backend->solve_h();
    session.backend->restore(0);
    session.backend->advance(1, 0.0);
    const Matrix found = group_norms_of(session, views);
    testing::Comparison comparison;
    for (std::int64_t g = 0; g < kGroups; ++g) {
      for (int r = 0; r < session.k; ++r) {
        const auto at = static_cast<std::size_t>(g * session.k + r);
        const double actual = session.backend->group_norms()[at];
        if (r < 2) {
          EXPECT_EQ(actual, norms[at]);
        } else {
          comparison.check(actual, found(g, r), testing::gamma<double>(1000) * found(g, r), g, r);
        }
      }
    }
    EXPECT_TRUE(comparison.result());
  });
}

TEST_P(CpuRowsTest, ResidualsAreOfTheEntriesThatAreThere) {
  typed([&](auto zero) {
    using T = decltype(zero);
    const TermedViews views(random, 530);
    Session<T> session(views.data);
    session.operands = views.seen;
    session.pass(PassMode::kFit);
    session.backend->solve_h();
    session.pass(PassMode::kResidual, 70);
    const auto terms = session.backend->terms();
    testing::Comparison comparison;
    int first = 0;
    for (std::size_t f = 0; f < 2; ++f) {
      const int rank = views.data.problem.ranks[f];
      for (std::size_t v = 0; v < views.seen.size(); ++v) {
        const Matrix h = testing::factor_of(*session.backend, views.data.problem, Factor::kSolved,
                                            static_cast<int>(v));
        const Matrix& x = views.seen[v];
        // As for the kernel: k + 2 roundings an entry, then up to all columns in one lane.
        const Wide gamma = testing::gamma<T>(rank + 3);
        Wide sum = 0, error = 0, squares = 0;
        for (std::int64_t i = 0; i < x.rows; ++i) {
          if (!views.there(v, i)) continue;
          for (std::int64_t j = 0; j < x.columns; ++j) {
            Wide rest = x(i, j), magnitude = x(i, j);
            for (int r = first; r < first + rank; ++r) {
              rest -= Wide{session.w(i, r)} * h(r, j);
              magnitude += Wide{session.w(i, r)} * h(r, j);
            }
            const Wide off = gamma * magnitude, weight = views.weight_of(i);
            sum += weight * rest * rest;
            error += weight * (2 * std::abs(rest) * off + off * off);
            squares += weight * (std::abs(rest) + off) * (std::abs(rest) + off);
          }
        }
        const Wide lanes = testing::gamma<T>(x.columns + 17) + testing::gamma<double>(x.rows + 20);
        comparison.check(terms[f][v].residual, sum, error + lanes * squares, "fit", f, v);
      }
      first += rank;
    }
    EXPECT_TRUE(comparison.result());
  });
}

TEST_P(CpuRowsTest, LinearPassesTakeTheViewsThatAreThere) {
  typed([&](auto zero) {
    using T = decltype(zero);
    const TermedViews views(random, 530);
    Session<T> session(views.data);
    session.operands = views.seen;
    session.pass(PassMode::kLinear, 90);
    const Matrix b = session.b();
    testing::Comparison comparison;
    for (std::size_t at = 0; at < b.values.size(); ++at) {
      comparison.check(session.w.values[at], b.values[at], session.column_gamma() * b.values[at],
                       at);
    }
    EXPECT_TRUE(comparison.result());
    expect_sums(session, views);
  });
}

TEST_P(CpuRowsTest, StatisticsAreOfTheEntriesThatAreThere) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const std::int64_t rows : {1, 63, 700}) {
      const TermedViews views(random, rows);
      Session<T> session(views.data);
      MatrixSource source = views.data.source(150);
      std::vector<ViewStats> stats(views.seen.size());
      Block block;
      while (source.next(block)) session.backend->scan(block, stats);
      testing::Comparison comparison;
      for (std::size_t v = 0; v < stats.size(); ++v) {
        const Matrix& x = views.seen[v];
        Wide sum = 0;
        for (std::int64_t i = 0; i < rows; ++i) {
          for (std::int64_t j = 0; j < x.columns; ++j) {
            sum += views.weight_of(i) * Wide{x(i, j)} * x(i, j);
          }
        }
        comparison.check(
            stats[v].sum_of_squares, sum,
            (testing::gamma<T>(x.columns + 2) + testing::gamma<double>(rows + 10)) * sum, v);
        // The uint8 view has no NaN, and the others have it only where it does not count.
        EXPECT_EQ(stats[v].nonfinite, 0);
        EXPECT_EQ(stats[v].minimum, 0);
      }
      EXPECT_TRUE(comparison.result());
    }
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(CpuRowsTest);

}  // namespace
}  // namespace cofactor
