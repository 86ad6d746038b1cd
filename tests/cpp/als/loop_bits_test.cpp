// Bits depend on the data and the problem, and not on block sizes, pieces, threads, or on what else
// is fitted beside.

#include <memory>
#include <thread>

#include "als/loop.h"
#include "als/pair_reducer.h"
#include "backend/device.h"
#include "reference.h"

namespace cofactor {
namespace {

using testing::Coupled;
using testing::Matrix;

/// All that a fit and an encoding of it give.
struct Outcome {
  FitResult fit;
  EncodeResult encoded;
  std::vector<Matrix> h;
  std::vector<double> w;
};

struct Settings {
  int threads = 2;
  bool float64 = false;
  int max_iterations = 5;
  double tolerance = 0;
  bool extrapolate = true;
};

std::unique_ptr<Backend> backend_for(const Coupled& data, const Settings& settings) {
  BackendOptions options;
  options.threads = settings.threads;
  options.float64 = settings.float64;
  auto backend = testing::make_backend(data.problem, options);
  for (int v = 0; v < data.problem.num_views(); ++v) {
    backend->set_input(v, data.start[static_cast<std::size_t>(v)].values.data());
  }
  return backend;
}

AlsOptions als_options(const Coupled& data, const Settings& settings) {
  AlsOptions options;
  options.max_iterations = settings.max_iterations;
  options.tolerance = settings.tolerance;
  options.extrapolate = settings.extrapolate;
  options.sum_of_squares = data.sum_of_squares();
  return options;
}

std::vector<Matrix> input_factors(const Backend& backend, const Problem& problem) {
  std::vector<Matrix> result;
  for (int v = 0; v < problem.num_views(); ++v) {
    Matrix h(problem.total_rank(), problem.views[static_cast<std::size_t>(v)].columns);
    backend.get_factor(Factor::kInput, v, h.values.data());
    result.push_back(std::move(h));
  }
  return result;
}

template <class T>
std::vector<double> encode(Backend& backend, const Coupled& data, BlockSource& source,
                           EncodeResult& result) {
  Reducer reducer;
  std::vector<T> w(static_cast<std::size_t>(data.problem.rows * data.problem.total_rank()));
  MemorySink out(w.data(), static_cast<std::size_t>(data.problem.total_rank()) * sizeof(T));
  result = als_encode(backend, data.problem, source, reducer, data.sum_of_squares(), false, &out);
  return {w.begin(), w.end()};
}

Outcome fit(const Coupled& data, BlockSource& source, const Settings& settings) {
  const auto backend = backend_for(data, settings);
  Reducer reducer;
  Outcome outcome;
  outcome.fit = als_fit(*backend, data.problem, source, reducer, als_options(data, settings));
  outcome.h = input_factors(*backend, data.problem);
  outcome.w = settings.float64 ? encode<double>(*backend, data, source, outcome.encoded)
                               : encode<float>(*backend, data, source, outcome.encoded);
  return outcome;
}

void expect_same(const Outcome& a, const Outcome& b) {
  ASSERT_EQ(a.fit.fits.size(), b.fit.fits.size());
  for (std::size_t f = 0; f < a.fit.fits.size(); ++f) {
    const FitTrace &x = a.fit.fits[f], &y = b.fit.fits[f];
    EXPECT_TRUE(testing::same_bits_of(x.losses, y.losses));
    EXPECT_TRUE(testing::same_bits_of(x.rejected_losses, y.rejected_losses));
    EXPECT_TRUE(testing::same_bits_of(x.view_losses.back(), y.view_losses.back()));
    EXPECT_EQ(x.iterations, y.iterations);
    EXPECT_EQ(x.stop_reason, y.stop_reason);
    EXPECT_TRUE(testing::same_bits(a.encoded.losses[f], b.encoded.losses[f]));
  }
  EXPECT_EQ(a.fit.passes, b.fit.passes);
  for (std::size_t v = 0; v < a.h.size(); ++v) {
    EXPECT_TRUE(testing::same_bits_of(a.h[v].values, b.h[v].values)) << "H of view " << v;
  }
  EXPECT_TRUE(testing::same_bits_of(a.w, b.w));
}

class LoopBitsTest : public testing::RandomTest, public ::testing::WithParamInterface<bool> {};

TEST_P(LoopBitsTest, BlockSizesAndThreadsChangeNothing) {
  const Coupled data(random, 1100, {2, 3});
  Settings settings{.float64 = GetParam()};
  MatrixSource whole = data.source(0);
  const Outcome expected = fit(data, whole, settings);
  for (const int threads : {1, 2, 3}) {
    for (const std::int64_t block_rows : {1, 7, 64, 512, 700, 0}) {
      // One row a block is slow; once is enough.
      if (block_rows == 1 && threads != 2) continue;
      settings.threads = threads;
      MatrixSource source = data.source(block_rows);
      SCOPED_TRACE(std::to_string(threads) + " threads, blocks of " + std::to_string(block_rows));
      expect_same(fit(data, source, settings), expected);
    }
  }
}

TEST_P(LoopBitsTest, LargeGroupsOfRowsChangeNothing) {
  // More threads take more rows at a time: several panels in one group, and tiles cut differently.
  const Coupled data(random, 3000, {2}, 0.3, {{.columns = 20}});
  Settings settings{.threads = 1, .float64 = GetParam()};
  MatrixSource source = data.source(0);
  const Outcome expected = fit(data, source, settings);
  settings.threads = 16;
  expect_same(fit(data, source, settings), expected);
}

TEST_P(LoopBitsTest, PiecesOfViewsChangeNothing) {
  const Coupled data(random, 900, {3});
  const Settings settings{.float64 = GetParam()};
  MatrixSource whole = data.source(0);
  const Outcome expected = fit(data, whole, settings);
  for (int repeat = 0; repeat < 3; ++repeat) {
    std::vector<std::vector<MatrixView>> pieces;
    for (const testing::StoredView& view : data.views) {
      auto& of_view = pieces.emplace_back();
      for (std::int64_t row = 0; row < 900;) {
        const std::int64_t count = std::min(std::int64_t{900} - row, random.integer(0, 300));
        of_view.push_back(view.view().slice(row, count));
        row += count;
      }
    }
    MatrixSource source(pieces, random.pick(std::vector<std::int64_t>{0, 50}));
    expect_same(fit(data, source, settings), expected);
  }
}

TEST_P(LoopBitsTest, PaddedRowsChangeNothing) {
  const Coupled data(random, 600, {2}, 0.3, {{.columns = 37}});
  const Settings settings{.float64 = GetParam()};
  MatrixSource dense = data.source(0);
  const Outcome expected = fit(data, dense, settings);
  std::vector<float> padded(600 * 41, std::numeric_limits<float>::quiet_NaN());
  for (std::int64_t i = 0; i < 600; ++i) {
    std::memcpy(padded.data() + i * 41, data.views[0].view().row(i), 37 * sizeof(float));
  }
  MatrixSource source({{{padded.data(), DType::kFloat32, 600, 37, 41}}}, 90);
  expect_same(fit(data, source, settings), expected);
}

TEST_P(LoopBitsTest, SeveralFitsEqualSingleFits) {
  // They stop after different numbers of passes, and the first to stop must stay as it is.
  const Coupled both(random, 700, {2, 3});
  const Settings settings{.float64 = GetParam(), .max_iterations = 60, .tolerance = 1e-3};
  MatrixSource source = both.source(100);
  const Outcome together = fit(both, source, settings);
  int first = 0;
  for (std::size_t f = 0; f < 2; ++f) {
    Coupled one = both;
    one.problem.ranks = {both.problem.ranks[f]};
    const int rank = one.problem.ranks[0];
    for (std::size_t v = 0; v < one.start.size(); ++v) {
      one.start[v] = testing::make_matrix(
          rank, one.start[v].columns, [&](auto r, auto j) { return both.start[v](first + r, j); });
    }
    const Outcome alone = fit(one, source, settings);
    EXPECT_TRUE(testing::same_bits_of(alone.fit.fits[0].losses, together.fit.fits[f].losses));
    EXPECT_EQ(alone.fit.fits[0].stop_reason, together.fit.fits[f].stop_reason);
    EXPECT_EQ(alone.fit.fits[0].iterations, together.fit.fits[f].iterations);
    for (std::size_t v = 0; v < one.start.size(); ++v) {
      for (int r = 0; r < rank; ++r) {
        for (std::int64_t j = 0; j < one.start[v].columns; ++j) {
          ASSERT_EQ(alone.h[v](r, j), together.h[v](first + r, j));
        }
      }
    }
    for (std::int64_t i = 0; i < 700; ++i) {
      for (int r = 0; r < rank; ++r) {
        ASSERT_EQ(alone.w[static_cast<std::size_t>(i * rank + r)],
                  together.w[static_cast<std::size_t>(i * 5 + first + r)]);
      }
    }
    first += rank;
  }
}

TEST_P(LoopBitsTest, APassiveViewDoesNotShapeTheFit) {
  const Coupled active(random, 600, {3}, 0.3, {{.columns = 20}, {.columns = 33}});
  const Settings settings{.float64 = GetParam()};
  MatrixSource source = active.source(64);
  const Outcome expected = fit(active, source, settings);
  const Coupled extra(random, 600, {3}, 0.3, {{.columns = 50, .weight = 0}});
  Coupled with = active;
  with.problem.views.insert(with.problem.views.begin() + 1, extra.problem.views[0]);
  with.views.insert(with.views.begin() + 1, extra.views[0]);
  with.start.insert(with.start.begin() + 1, extra.start[0]);
  MatrixSource wider = with.source(64);
  const Outcome outcome = fit(with, wider, settings);
  EXPECT_TRUE(testing::same_bits_of(outcome.w, expected.w));
  EXPECT_TRUE(testing::same_bits_of(outcome.h[0].values, expected.h[0].values));
  EXPECT_TRUE(testing::same_bits_of(outcome.h[2].values, expected.h[1].values));
  EXPECT_TRUE(testing::same_bits_of(outcome.fit.fits[0].losses, expected.fit.fits[0].losses));
  // It is fitted all the same.
  EXPECT_NE(outcome.h[1].values, extra.start[0].values);
  EXPECT_GT(outcome.fit.fits[0].view_losses.back()[1], 0);
  EXPECT_LT(outcome.fit.fits[0].view_losses.back()[1], 1);
}

TEST_P(LoopBitsTest, IterationsOneByOneAreIterationsInOneGo) {
  const Coupled data(random, 530, {2, 3});
  Settings settings{.float64 = GetParam(), .max_iterations = 6, .extrapolate = false};
  MatrixSource source = data.source(0);
  const Outcome expected = fit(data, source, settings);
  settings.max_iterations = 1;
  const auto backend = backend_for(data, settings);
  Reducer reducer;
  std::vector<std::vector<double>> losses(2);
  for (int iteration = 0; iteration < 6; ++iteration) {
    const FitResult result =
        als_fit(*backend, data.problem, source, reducer, als_options(data, settings));
    for (std::size_t f = 0; f < 2; ++f) losses[f].push_back(result.fits[f].losses.at(0));
  }
  for (std::size_t f = 0; f < 2; ++f) {
    EXPECT_TRUE(testing::same_bits_of(losses[f], expected.fit.fits[f].losses));
  }
  const auto h = input_factors(*backend, data.problem);
  for (std::size_t v = 0; v < h.size(); ++v) {
    EXPECT_TRUE(testing::same_bits_of(h[v].values, expected.h[v].values));
  }
}

TEST_P(LoopBitsTest, TwoProcessesThatReduceTheirSumsEqualOne) {
  // The second holds the last panel alone, so that the panels add up in the same order.
  const Coupled data(random, 1300, {2, 3});
  const Settings settings{.float64 = GetParam()};
  MatrixSource source = data.source(0);
  const Outcome expected = fit(data, source, settings);
  testing::PairReducer::Shared shared;
  FitResult results[2];
  std::vector<Matrix> factors[2];
  const auto run = [&](int rank) {
    std::vector<std::vector<MatrixView>> pieces;
    for (const testing::StoredView& view : data.views) {
      pieces.push_back({rank == 0 ? view.view().slice(0, 1024) : view.view().slice(1024, 276)});
    }
    MatrixSource part(pieces, 100);
    const auto backend = backend_for(data, settings);
    testing::PairReducer reducer(shared, rank);
    results[rank] = als_fit(*backend, data.problem, part, reducer, als_options(data, settings));
    factors[rank] = input_factors(*backend, data.problem);
  };
  std::thread other(run, 1);
  run(0);
  other.join();
  for (const int rank : {0, 1}) {
    for (std::size_t f = 0; f < 2; ++f) {
      EXPECT_TRUE(testing::same_bits_of(results[rank].fits[f].losses, expected.fit.fits[f].losses));
    }
    for (std::size_t v = 0; v < data.views.size(); ++v) {
      EXPECT_TRUE(testing::same_bits_of(factors[rank][v].values, expected.h[v].values));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, LoopBitsTest, ::testing::Bool(), testing::name_of_type);

}  // namespace
}  // namespace cofactor
