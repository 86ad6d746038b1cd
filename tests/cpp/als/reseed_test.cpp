#include "als/reseed.h"

#include <algorithm>
#include <memory>
#include <thread>

#include "als/loop_fixture.h"
#include "als/pair_reducer.h"

namespace cofactor {
namespace {

using testing::Coupled;
using testing::Matrix;
using testing::StoredView;

class ReseedTest : public testing::LoopFixture {
 protected:
  static void kill(Coupled& data, std::int64_t component) {
    for (Matrix& h : data.start) {
      for (std::int64_t j = 0; j < h.columns; ++j) h(component, j) = 0;
    }
  }
  static FitResult fit(const Coupled& data, Backend& backend, int iterations,
                       std::int64_t block_rows = 0) {
    MatrixSource source = data.source(block_rows);
    Reducer reducer;
    return als_fit(backend, data.problem, source, reducer, options_for(data, iterations));
  }
  /// sum_v w_v ||x_v - w H_v||^2 of every row.
  static std::vector<double> row_residuals(const Coupled& data, const Matrix& w,
                                           const std::vector<Matrix>& h) {
    std::vector<double> result(static_cast<std::size_t>(data.problem.rows));
    for (std::size_t v = 0; v < h.size(); ++v) {
      const Matrix model = testing::multiply(w, h[v]);
      for (std::int64_t i = 0; i < w.rows; ++i) {
        for (std::int64_t j = 0; j < model.columns; ++j) {
          const double rest = data.views[v].values(i, j) - model(i, j);
          result[static_cast<std::size_t>(i)] += data.problem.views[v].weight * rest * rest;
        }
      }
    }
    return result;
  }
};

TEST_P(ReseedTest, ADeadComponentIsGivenTheRowOfLargestResidual) {
  Coupled data(random, 600, {3});
  kill(data, 1);
  const auto backend = backend_for(data);
  fit(data, *backend, 1);
  EXPECT_EQ(dead_components(*backend, data.problem, 0), std::vector<int>{1});
  std::vector<Matrix> before;
  for (int v = 0; v < 5; ++v) before.push_back(factor(*backend, data.problem, v));
  EncodeResult encoded;
  const Matrix w = encode(*backend, data, encoded, false);
  const auto residuals = row_residuals(data, w, before);
  const auto worst = std::max_element(residuals.begin(), residuals.end()) - residuals.begin();

  MatrixSource source = data.source(100);
  Reducer reducer;
  const Reseeding found = reseed(*backend, data.problem, source, reducer, 0, {1});
  EXPECT_EQ(found.reseeded, 1);
  EXPECT_EQ(found.passes, 1);
  for (int v = 0; v < 5; ++v) {
    Matrix expected = before[static_cast<std::size_t>(v)];
    for (std::int64_t j = 0; j < expected.columns; ++j) {
      expected(1, j) = data.views[static_cast<std::size_t>(v)].values(worst, j);
      if (!GetParam()) expected(1, j) = static_cast<float>(expected(1, j));
    }
    EXPECT_EQ(factor(*backend, data.problem, v).values, expected.values) << "view " << v;
    for (const Factor which : {Factor::kSolved, Factor::kPrevious}) {
      Matrix copy = expected;
      backend->get_factor(which, v, copy.values.data());
      EXPECT_TRUE(std::equal(copy.values.begin() + copy.columns,
                             copy.values.begin() + 2 * copy.columns,
                             expected.values.begin() + expected.columns));
    }
  }
}

TEST_P(ReseedTest, WeightsDoNotRankRowsAndNoneOfWeightZeroIsGiven) {
  Coupled data(random, 600, {3});
  kill(data, 1);
  std::vector<double>& weight = data.problem.row_terms.weight;
  for (int i = 0; i < 600; ++i) weight.push_back(random.uniform(0.01, 1));
  const auto backend = backend_for(data);
  std::vector<Matrix> h;
  for (int v = 0; v < 5; ++v) h.push_back(factor(*backend, data.problem, v));
  EncodeResult encoded;
  auto residuals = row_residuals(data, encode(*backend, data, encoded, false), h);
  const auto worst_of = [&] {
    return std::max_element(residuals.begin(), residuals.end()) - residuals.begin();
  };
  const auto worst = worst_of();
  residuals[static_cast<std::size_t>(worst)] = 0;
  const auto second = worst_of();
  const auto expect_given = [&](std::int64_t row) {
    const auto weighted = backend_for(data);
    MatrixSource source = data.source(100);
    Reducer reducer;
    EXPECT_EQ(reseed(*weighted, data.problem, source, reducer, 0, {1}).reseeded, 1);
    const Matrix found = factor(*weighted, data.problem, 0);
    for (std::int64_t j = 0; j < found.columns; ++j) {
      const double expected = data.views[0].values(row, j);
      EXPECT_EQ(found(1, j), GetParam() ? expected : double(static_cast<float>(expected)));
    }
  };
  weight[static_cast<std::size_t>(worst)] = 0.001;
  expect_given(worst);
  weight[static_cast<std::size_t>(worst)] = 0;
  expect_given(second);
}

TEST_P(ReseedTest, EqualRowsAreGivenOnce) {
  Coupled data(random, 300, {3});
  kill(data, 0);
  kill(data, 1);
  Coupled twice = data;
  twice.problem.rows = 600;
  for (StoredView& view : twice.views) {
    const Matrix& x = view.values;
    view = {testing::make_matrix(600, x.columns, [&](auto i, auto j) { return x(i / 2, j); }),
            view.dtype, view.scale};
  }
  std::vector<std::vector<double>> found;
  for (const Coupled* each : {&data, &twice}) {
    const auto backend = backend_for(*each);
    MatrixSource source = each->source(0);
    Reducer reducer;
    EXPECT_EQ(reseed(*backend, each->problem, source, reducer, 0, {0, 1}).reseeded, 2);
    found.push_back(factor(*backend, each->problem, 4).values);
  }
  EXPECT_EQ(found[0], found[1]);
}

TEST_P(ReseedTest, TheLoopRevivesComponentsAndTheLossKeepsFalling) {
  Coupled data(random, 600, {3});
  kill(data, 0);
  kill(data, 2);
  const auto backend = backend_for(data);
  const FitResult result = fit(data, *backend, 12);
  const FitTrace& trace = result.fits[0];
  EXPECT_EQ(trace.reseeded, 2);
  EXPECT_EQ(trace.iterations, 12);
  EXPECT_EQ(result.passes, 12 + 1);
  for (std::size_t i = 1; i < trace.losses.size(); ++i) {
    EXPECT_LE(trace.losses[i], trace.losses[i - 1] + 2 * double(identity_bound(data))) << i;
  }
  // Two components more take much of what one left.
  EXPECT_LT(trace.losses[1], 0.7 * trace.losses[0]);
  EXPECT_TRUE(dead_components(*backend, data.problem, 0).empty());
}

TEST_P(ReseedTest, BitsDoNotDependOnBlocksOrThreads) {
  Coupled data(random, 600, {3, 2});
  kill(data, 1);
  kill(data, 4);
  BackendOptions single;
  single.threads = 1;
  const auto expected = backend_for(data, single);
  const FitResult reference = fit(data, *expected, 6);
  EXPECT_EQ(reference.fits[0].reseeded, 1);
  EXPECT_EQ(reference.fits[1].reseeded, 1);
  for (const int threads : {2, 3}) {
    for (const int rows : {1, 70, 0}) {
      BackendOptions options;
      options.threads = threads;
      const auto backend = backend_for(data, options);
      const FitResult result = fit(data, *backend, 6, rows);
      for (std::size_t f = 0; f < 2; ++f) {
        EXPECT_EQ(result.fits[f].losses, reference.fits[f].losses);
      }
      for (int v = 0; v < 5; ++v) {
        EXPECT_EQ(factor(*backend, data.problem, v).values,
                  factor(*expected, data.problem, v).values);
      }
    }
  }
}

TEST_P(ReseedTest, OtherFitsAreLeftAlone) {
  Coupled data(random, 600, {3, 2});
  const auto undisturbed = backend_for(data);
  const FitResult expected = fit(data, *undisturbed, 8);
  kill(data, 1);
  const auto backend = backend_for(data);
  const FitResult result = fit(data, *backend, 8);
  EXPECT_EQ(result.fits[0].reseeded, 1);
  EXPECT_EQ(result.fits[1].reseeded, 0);
  EXPECT_EQ(result.fits[1].losses, expected.fits[1].losses);
  EXPECT_EQ(result.fits[1].rejected_losses, expected.fits[1].rejected_losses);
}

TEST_P(ReseedTest, PenaltiesMayKillComponents) {
  Coupled data(random, 300, {3});
  kill(data, 1);
  data.problem.l1_w = 1e-3;
  const auto backend = backend_for(data);
  const FitResult result = fit(data, *backend, 4);
  EXPECT_EQ(result.fits[0].reseeded, 0);
  EXPECT_EQ(result.passes, 4);
  EXPECT_TRUE(dead_components(*backend, data.problem, 0).empty());
}

TEST_P(ReseedTest, TheLastPassDoesNotLeaveARowOfTheData) {
  Coupled data(random, 300, {3});
  kill(data, 1);
  const auto backend = backend_for(data);
  const FitResult result = fit(data, *backend, 1);
  EXPECT_EQ(result.fits[0].reseeded, 0);
  EXPECT_EQ(result.passes, 1);
}

TEST_P(ReseedTest, DataThatAreFittedNeedNoMoreComponents) {
  // Rank 1 with two components: after the first pass every residual is rounding.
  Coupled data(random, 600, {2}, 0.0, {{.columns = 40}});
  const Matrix w =
      testing::make_matrix(600, 1, [&](auto, auto) { return double(random.integer(1, 9)); });
  const Matrix h =
      testing::make_matrix(1, 40, [&](auto, auto) { return double(random.integer(1, 9)); });
  data.views[0] = {testing::multiply(w, h), DType::kFloat32, 1.0};
  kill(data, 1);
  const auto backend = backend_for(data);
  const FitResult result = fit(data, *backend, 5);
  EXPECT_EQ(result.fits[0].reseeded, 0);
  // Five passes, five residuals, and one vain search that is not repeated.
  EXPECT_EQ(result.passes, 5 + 5 + 1);
}

TEST_P(ReseedTest, AFitThatConvergedOnADeadComponentGoesOn) {
  Coupled data(random, 600, {3});
  kill(data, 1);
  const auto backend = backend_for(data);
  MatrixSource source = data.source(0);
  Reducer reducer;
  AlsOptions options = options_for(data, 30);
  options.tolerance = 1e-2;
  const FitResult result = als_fit(*backend, data.problem, source, reducer, options);
  EXPECT_EQ(result.fits[0].stop_reason, "converged");
  EXPECT_EQ(result.fits[0].reseeded, 1);
  EXPECT_TRUE(dead_components(*backend, data.problem, 0).empty());
}

TEST_P(ReseedTest, TwoProcessesGiveTheRowsThatOneGives) {
  Coupled data(random, 600, {4});
  kill(data, 1);
  kill(data, 3);
  // The worst row is one that both have, and is given once.
  for (StoredView& view : data.views) {
    Matrix x = view.values;
    for (std::int64_t j = 0; j < x.columns; ++j) {
      if (view.dtype == DType::kFloat64) x(20, j) *= 50;
      x(500, j) = x(20, j);
    }
    view = {x, view.dtype, view.scale};
  }
  const auto expected = backend_for(data);
  MatrixSource whole = data.source(100);
  Reducer alone;
  EXPECT_EQ(reseed(*expected, data.problem, whole, alone, 0, {1, 3}).reseeded, 2);
  testing::PairReducer::Shared shared;
  std::unique_ptr<Backend> backends[2] = {backend_for(data), backend_for(data)};
  const auto run = [&](int rank) {
    std::vector<std::vector<MatrixView>> pieces;
    for (const StoredView& view : data.views) {
      pieces.push_back({view.view().slice(rank == 0 ? 0 : 350, rank == 0 ? 350 : 250)});
    }
    MatrixSource part(pieces, 100);
    testing::PairReducer reducer(shared, rank);
    EXPECT_EQ(reseed(*backends[rank], data.problem, part, reducer, 0, {1, 3}).reseeded, 2);
  };
  std::thread other(run, 1);
  run(0);
  other.join();
  for (const auto& backend : backends) {
    for (int v = 0; v < data.problem.num_views(); ++v) {
      EXPECT_EQ(factor(*backend, data.problem, v).values,
                factor(*expected, data.problem, v).values);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, ReseedTest, ::testing::Bool(), testing::name_of_type);

}  // namespace
}  // namespace cofactor
