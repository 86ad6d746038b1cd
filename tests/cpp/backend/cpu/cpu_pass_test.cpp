// Passes over mixed dtypes and the solves between them, against float64 references.

#include "backend/cpu/pass_checks.h"
#include "backend/cpu/tiling.h"

namespace cofactor {
namespace {

using testing::block_of;
using testing::Coupled;
using testing::expect_columns_solved;
using testing::Matrix;
using testing::Session;
using testing::tolerance;
using testing::Wide;

/// Whether every row of W solves its problem, for every fit; `diagonal` may be null. `rounding` is
/// by how much, relative to its size, W was rounded after the solve.
template <class T>
void expect_rows_solved(const Session<T>& session, const T* diagonal = nullptr, Wide rounding = 0) {
  const Problem& problem = session.data.problem;
  const Matrix b = session.b(), gram = session.gram();
  testing::Comparison comparison;
  int first = 0;
  for (const int rank : problem.ranks) {
    Matrix g = block_of(gram, first, rank);
    for (int r = 0; r < rank; ++r) g(r, r) += problem.l2_w;
    for (std::int64_t i = 0; i < problem.rows; ++i) {
      std::vector<double> right, x, own;
      for (int r = first; r < first + rank; ++r) {
        right.push_back(b(i, r));
        x.push_back(session.w(i, r));
        if (!(x.back() >= 0)) comparison.check(x.back(), 0, -1, "negative", i, r);
        if (diagonal != nullptr) own.push_back(double{diagonal[i * session.k + r]});
      }
      const testing::Optimality found = testing::optimality(
          g, own, right, problem.l1_w, x, tolerance<T>(), session.column_gamma() + rounding);
      comparison.check(found.violation, 0, found.allowed, "row", i);
    }
    first += rank;
  }
  EXPECT_TRUE(comparison.result());
}

/// C = W^T W and S_v = W^T X_v: in T within a panel, one multiply-add a row, then in float64.
template <class T>
void expect_sums(const Session<T>& session) {
  const auto abs_of = [](Matrix a) {
    for (double& value : a.values) value = std::abs(value);
    return a;
  };
  const Wide gamma = testing::gamma<T>(kPanelRows + 1) + testing::gamma<double>(100);
  testing::Comparison comparison;
  const auto check = [&](std::span<const double> actual, const Matrix& x, const char* what) {
    const Matrix exact = testing::multiply(testing::transpose(session.w), x);
    const Matrix size = testing::multiply(testing::transpose(abs_of(session.w)), abs_of(x));
    ASSERT_EQ(actual.size(), exact.values.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      comparison.check(actual[i], exact.values[i], gamma * size.values[i], what, i);
    }
  };
  check(session.backend->c(0), session.w, "C");
  for (std::size_t v = 0; v < session.data.views.size(); ++v) {
    check(session.backend->s(static_cast<int>(v)), session.operands[v], "S");
  }
  EXPECT_TRUE(comparison.result());
}

/// The scalars of W: <B, W>, with B as the products left it, and ||W||_1.
template <class T>
void expect_row_sums(const Session<T>& session) {
  const auto rows = session.backend->row_sums();
  const Matrix b = session.b();
  testing::Comparison comparison;
  const Wide tiny = testing::gamma<double>(1000 + b.rows);
  int first = 0;
  for (std::size_t f = 0; f < rows.size(); ++f) {
    const int rank = session.data.problem.ranks[f];
    Wide cross = 0, l1 = 0;
    for (std::int64_t i = 0; i < b.rows; ++i) {
      for (int r = first; r < first + rank; ++r) {
        cross += Wide{b(i, r)} * session.w(i, r);
        l1 += session.w(i, r);
      }
    }
    comparison.check(rows[f].cross, cross, (session.column_gamma() + tiny) * cross, "<B, W>");
    comparison.check(rows[f].w_l1, l1, tiny * l1, "||W||_1");
    first += rank;
  }
  EXPECT_TRUE(comparison.result());
}

void round_to_bf16(Matrix& a) {
  for (double& value : a.values) value = testing::rounded_to_bf16(static_cast<float>(value));
}

class CpuPassTest : public testing::KernelTest {
 protected:
  testing::ScopedEnvironment level{"COFACTOR_SIMD", std::string(name_of(GetParam().level)).c_str()};
};

TEST_P(CpuPassTest, APassSolvesRowsAndSumsAndThenColumns) {
  typed([&](auto zero) {
    using T = decltype(zero);
    // Fewer rows than a panel, whole panels, and panels that end open.
    for (const std::int64_t rows : {1, 5, 511, 512, 513, 1100}) {
      Coupled data(random, rows, {2, 3});
      if (rows % 2 == 0) {
        data.problem.l1_w = 0.05;
        data.problem.l2_w = 0.5;
        for (ViewSpec& view : data.problem.views) {
          view.l1_h = 0.02;
          view.l2_h = 0.3;
        }
      }
      Session<T> session(data);
      session.pass(PassMode::kFit, random.pick(std::vector<std::int64_t>{0, 100, 512}));
      expect_rows_solved(session);
      expect_sums(session);
      session.backend->solve_h();
      expect_columns_solved(session);
    }
  });
}

TEST_P(CpuPassTest, APassInBFloat16IsThatOfRoundedDataAndFactors) {
  if (GetParam().float64) return;
  for (const std::int64_t rows : {1, 7, 513, 1100}) {
    Coupled data(random, rows, {2, 3});
    Session<float> session(data, {.precision = Precision::kBFloat16});
    session.pass(PassMode::kFit, random.pick(std::vector<std::int64_t>{0, 7, 100}));
    for (int v = 0; v < data.problem.num_views(); ++v) {
      Matrix rounded = data.start[static_cast<std::size_t>(v)];
      round_to_bf16(rounded);
      EXPECT_EQ(testing::factor_of(*session.backend, data.problem, Factor::kInput, v).values,
                rounded.values);
    }
    Matrix rounded = session.w;
    round_to_bf16(rounded);
    EXPECT_EQ(session.w.values, rounded.values);
    // Half a unit of 8 significant bits.
    expect_rows_solved<float>(session, nullptr, 0x1p-8L);
    expect_sums(session);
    expect_row_sums(session);
    session.backend->solve_h();
    expect_columns_solved(session);
  }
}

TEST_P(CpuPassTest, ThePrecisionIsThatOfThePassesToCome) {
  if (GetParam().float64) return;
  const Coupled data(random, 200, {2, 3});
  Session<float> full(data), switched(data);
  full.pass(PassMode::kFit);
  switched.backend->set_precision(Precision::kBFloat16);
  switched.pass(PassMode::kFit);
  EXPECT_NE(switched.w.values, full.w.values);
  switched.backend->set_precision(Precision::kFull);
  switched.set_inputs();
  switched.pass(PassMode::kFit);
  EXPECT_TRUE(testing::same_bits_of(switched.w.values, full.w.values));
  EXPECT_TRUE(testing::same_bits_of(switched.sums, full.sums));
}

TEST_P(CpuPassTest, BlocksAndThreadsDoNotChangeABit) {
  typed([&](auto zero) {
    using T = decltype(zero);
    // Several groups of rows in the largest blocks.
    const Coupled data(random, 4000, {2, 3}, 0.3,
                       {{.columns = 7, .dtype = DType::kFloat64},
                        {.columns = 40, .dtype = DType::kUInt8, .scale = 1.0 / 64},
                        {.columns = 33, .dtype = DType::kFloat16},
                        {.columns = 2, .dtype = DType::kBFloat16, .weight = 2.0},
                        {.columns = 70, .dtype = DType::kFloat32, .weight = 0.1}});
    for (const Precision precision : {Precision::kFull, Precision::kBFloat16}) {
      if (precision == Precision::kBFloat16 && sizeof(T) == 8) continue;
      std::vector<double> w, sums;
      for (const int threads : {1, 2, 3}) {
        Session<T> session(data, {.threads = threads, .precision = precision});
        for (const std::int64_t block_rows : {0, 1, 7, 64}) {
          // Blocks of one row are slow; once is enough.
          if (block_rows == 1 && threads != 2) continue;
          session.set_inputs();
          session.pass(PassMode::kFit, block_rows);
          if (w.empty()) {
            w = session.w.values;
            sums = session.sums;
          }
          ASSERT_TRUE(testing::same_bits_of(session.w.values, w))
              << threads << " threads, blocks of " << block_rows;
          ASSERT_TRUE(testing::same_bits_of(session.sums, sums))
              << threads << " threads, blocks of " << block_rows;
        }
      }
    }
  });
}

TEST_P(CpuPassTest, ADiagonalPerRow) {
  typed([&](auto zero) {
    using T = decltype(zero);
    Coupled data(random, 600, {2, 3});
    testing::give_each_row_a_group(data.problem);
    std::vector<T> diagonal(600 * 5);
    for (T& d : diagonal) d = static_cast<T>(random.chance(0.3) ? 0 : random.uniform(0, 30));
    Session<T> session(data);
    session.backend->set_group_norms(testing::norms_for(diagonal).data());
    session.pass(PassMode::kFit, 70);
    expect_rows_solved(session, diagonal.data());
    expect_sums(session);
  });
}

TEST_P(CpuPassTest, TermsAreThoseOfTheSolvedFactor) {
  typed([&](auto zero) {
    using T = decltype(zero);
    Coupled data(random, 300, {2, 3});
    data.problem.views[2].weight = 0;
    Session<T> session(data);
    session.pass(PassMode::kFit);
    session.backend->solve_h();
    const auto terms = session.backend->terms();
    expect_row_sums(session);
    testing::Comparison comparison;
    const Wide tiny = testing::gamma<double>(1000);
    int first = 0;
    for (std::size_t f = 0; f < 2; ++f) {
      const int rank = data.problem.ranks[f];
      for (int v = 0; v < data.problem.num_views(); ++v) {
        const Matrix h = testing::factor_of(*session.backend, data.problem, Factor::kSolved, v);
        Wide sh = 0, h_l1 = 0, h_l2 = 0, model = 0;
        for (int r = first; r < first + rank; ++r) {
          for (std::int64_t j = 0; j < h.columns; ++j) {
            sh +=
                Wide{h(r, j)} * session.backend->s(v)[static_cast<std::size_t>(r * h.columns + j)];
            h_l1 += h(r, j);
            h_l2 += Wide{h(r, j)} * h(r, j);
            for (int l = first; l < first + rank; ++l) {
              model += Wide{session.backend->c(v)[static_cast<std::size_t>(r * session.k + l)]} *
                       h(r, j) * h(l, j);
            }
          }
        }
        const ViewTerms& actual = terms[f][static_cast<std::size_t>(v)];
        // Gram matrices add up to kProjectColumns products in T: at most one lane's, and the lanes.
        const Wide gram = testing::gamma<T>(std::min(h.columns, cpu::kProjectColumns) + 16) + tiny;
        comparison.check(actual.cross, sh, tiny * sh, "<S, H>", v);
        comparison.check(actual.h_l1, h_l1, tiny * h_l1, "||H||_1", v);
        comparison.check(actual.h_l2, h_l2, gram * h_l2, "||H||^2", v);
        comparison.check(actual.model, model, gram * model, "<C, H H^T>", v);
      }
      first += rank;
    }
    EXPECT_TRUE(comparison.result());
  });
}

TEST_P(CpuPassTest, EncodingGivesTheRowsAndSumsOfAFit) {
  typed([&](auto zero) {
    using T = decltype(zero);
    const Coupled data(random, 700, {2, 3});
    Session<T> fit(data), encode(data);
    fit.pass(PassMode::kFit);
    // On a backend that has fitted before, too.
    for (Session<T>* session : {&encode, &encode, &fit}) {
      const std::vector<double> w = fit.w.values;
      const std::vector<double> c(fit.backend->c(0).begin(), fit.backend->c(0).end());
      const auto rows = fit.backend->row_sums();
      session->pass(PassMode::kEncode, 64);
      EXPECT_TRUE(testing::same_bits_of(session->w.values, w));
      EXPECT_TRUE(testing::same_bits_of(session->backend->c(0), c));
      for (std::size_t f = 0; f < 2; ++f) {
        EXPECT_EQ(session->backend->row_sums()[f].cross, rows[f].cross);
        EXPECT_EQ(session->backend->row_sums()[f].w_l1, rows[f].w_l1);
      }
    }
  });
}

TEST_P(CpuPassTest, LinearPassesOfSignedFactors) {
  typed([&](auto zero) {
    using T = decltype(zero);
    Coupled data(random, 530, {5});
    for (Matrix& q : data.start) {
      for (double& value : q.values) value = static_cast<float>(random.uniform(-1, 1));
    }
    Session<T> session(data);
    session.pass(PassMode::kLinear);
    const Matrix y = session.b();
    // |X| |Q|^T bounds the terms of Y.
    Coupled magnitudes = data;
    for (Matrix& q : magnitudes.start) {
      for (double& value : q.values) value = std::abs(value);
    }
    const Matrix size = Session<double>(magnitudes).b();
    testing::Comparison comparison;
    for (std::size_t i = 0; i < y.values.size(); ++i) {
      comparison.check(session.w.values[i], y.values[i], session.column_gamma() * size.values[i],
                       i);
    }
    EXPECT_TRUE(comparison.result());
    expect_sums(session);
  });
}

TEST_P(CpuPassTest, ResidualPassesAreExplicit) {
  typed([&](auto zero) {
    using T = decltype(zero);
    const Coupled data(random, 530, {2, 3});
    Session<T> session(data);
    session.pass(PassMode::kFit);
    session.backend->solve_h();
    session.pass(PassMode::kResidual);
    const auto terms = session.backend->terms();
    testing::Comparison comparison;
    int first = 0;
    for (std::size_t f = 0; f < 2; ++f) {
      const int rank = data.problem.ranks[f];
      for (int v = 0; v < data.problem.num_views(); ++v) {
        const Matrix h = testing::factor_of(*session.backend, data.problem, Factor::kSolved, v);
        const Matrix& x = data.views[static_cast<std::size_t>(v)].values;
        // As for the kernel: k + 2 roundings an entry, then up to all columns in one lane.
        const Wide gamma = testing::gamma<T>(rank + 3);
        Wide sum = 0, error = 0, squares = 0;
        for (std::int64_t i = 0; i < x.rows; ++i) {
          for (std::int64_t j = 0; j < x.columns; ++j) {
            Wide rest = x(i, j), magnitude = x(i, j);
            for (int r = first; r < first + rank; ++r) {
              rest -= Wide{session.w(i, r)} * h(r, j);
              magnitude += Wide{session.w(i, r)} * h(r, j);
            }
            const Wide off = gamma * magnitude;
            sum += rest * rest;
            error += 2 * std::abs(rest) * off + off * off;
            squares += (std::abs(rest) + off) * (std::abs(rest) + off);
          }
        }
        comparison.check(terms[f][static_cast<std::size_t>(v)].residual, sum,
                         error + testing::gamma<T>(x.columns + 17) * squares, "fit", f, v);
      }
      first += rank;
    }
    EXPECT_TRUE(comparison.result());
  });
}

TEST_P(CpuPassTest, LinearPassesInBFloat16SumTheRowsThatTheyGive) {
  if (GetParam().float64) return;
  const Coupled data(random, 530, {5});
  Session<float> session(data, {.precision = Precision::kBFloat16});
  session.pass(PassMode::kLinear);
  expect_sums(session);
}

TEST_P(CpuPassTest, RanksAboveAChunkAndAboveTheColumns) {
  typed([&](auto zero) {
    using T = decltype(zero);
    const Coupled data(random, 40, {270}, 0.3, {{.columns = 300, .dtype = DType::kFloat32}});
    Session<T> session(data);
    session.pass(PassMode::kLinear);
    expect_sums(session);
  });
}

TEST_P(CpuPassTest, GramMatricesOfVeryWideViews) {
  typed([&](auto zero) {
    using T = decltype(zero);
    // Beyond 32 parts of kProjectColumns columns, parts become longer.
    const std::int64_t columns = 33 * cpu::kProjectColumns + 5;
    const Coupled data(random, 2, {3}, 0.3, {{.columns = columns, .dtype = DType::kFloat32}});
    Session<T> session(data);
    session.backend->begin_pass(PassMode::kFit);
    const Matrix exact = session.gram();
    testing::Comparison comparison;
    for (std::size_t i = 0; i < 9; ++i) {
      comparison.check(session.backend->gram(0)[i], exact.values[i],
                       testing::gamma<T>(cpu::kProjectColumns + 20) * exact.values[i], i);
    }
    EXPECT_TRUE(comparison.result());
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(CpuPassTest);

}  // namespace
}  // namespace cofactor
