#pragma once

// What holds after any pass and its solves, whatever rows it was over.

#include "backend/cpu/session.h"

namespace cofactor::testing {

/// Rows of one fit's block of components.
inline Matrix block_of(const Matrix& g, int first, int rank) {
  return make_matrix(rank, rank, [&](auto r, auto l) { return g(first + r, first + l); });
}

template <class T>
double tolerance() {
  return sizeof(T) == 4 ? 1e-5 : 1e-10;
}

/// Whether every column of the solved H solves its problem for the sums C and S_v.
template <class T>
void expect_columns_solved(const Session<T>& session) {
  const Problem& problem = session.data.problem;
  Comparison comparison;
  for (int v = 0; v < problem.num_views(); ++v) {
    const ViewSpec& spec = session.spec(static_cast<std::size_t>(v));
    const Matrix h = factor_of(*session.backend, problem, Factor::kSolved, v);
    Matrix c(session.k, session.k);
    std::copy_n(session.backend->c(v).begin(), c.values.size(), c.values.begin());
    const auto s = session.backend->s(v);
    int first = 0;
    for (const int rank : problem.ranks) {
      Matrix g = block_of(c, first, rank);
      for (int r = 0; r < rank; ++r) g(r, r) += spec.l2_h;
      for (std::int64_t j = 0; j < spec.columns; ++j) {
        std::vector<double> right, x;
        for (int r = first; r < first + rank; ++r) {
          right.push_back(s[static_cast<std::size_t>(r * spec.columns + j)]);
          x.push_back(h(r, j));
        }
        const Optimality found =
            optimality(g, {}, right, spec.l1_h, x, tolerance<T>(), gamma<T>(rank + 16));
        comparison.check(found.violation, 0, found.allowed, "view", v, "column", j);
      }
      first += rank;
    }
  }
  EXPECT_TRUE(comparison.result());
}

}  // namespace cofactor::testing
