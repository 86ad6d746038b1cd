#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

#include "als/loop_fixture.h"
#include "core/error.h"

namespace cofactor {
namespace {

using testing::Coupled;
using testing::Matrix;
using testing::Wide;

class CountingReducer final : public Reducer {
 public:
  [[nodiscard]] bool adds() const override { return true; }
  void all_reduce(const PassSums& sums) override {
    ++calls;
    // A pass that sums no S_v has less to add up.
    EXPECT_TRUE(size == 0 || sums.numbers.size() <= size);
    size = std::max(size, sums.numbers.size());
  }
  int calls = 0;
  std::size_t size = 0;
};

/// Rewinds and blocks of another source, counted, with a pause before each block.
class WatchedSource final : public BlockSource {
 public:
  explicit WatchedSource(MatrixSource source) : source_(std::move(source)) {}
  [[nodiscard]] std::int64_t rows() const override { return source_.rows(); }
  void rewind(std::int64_t first_row) override {
    ++reads;
    source_.rewind(first_row);
  }
  bool next(Block& block) override {
    std::this_thread::sleep_for(pause);
    return source_.next(block);
  }
  int reads = 0;
  std::chrono::milliseconds pause{0};

 private:
  MatrixSource source_;
};

class LoopTest : public testing::LoopFixture {};

TEST_P(LoopTest, OneReductionAndOneReadAPass) {
  const Coupled data(random, 600, {2, 3});
  const auto backend = backend_for(data);
  WatchedSource source(data.source(100));
  CountingReducer reducer;
  const FitResult result = als_fit(*backend, data.problem, source, reducer, options_for(data, 7));
  EXPECT_EQ(result.passes, 7);
  EXPECT_EQ(reducer.calls, 7);
  EXPECT_EQ(source.reads, 7);
  // C, every S_v, two sums over rows a fit, one residual a fit and view.
  EXPECT_EQ(reducer.size, 5U * 5 + 5 * 611 + 2 * 2 + 2 * 5);
  als_encode(*backend, data.problem, source, reducer, data.sum_of_squares(), false, nullptr);
  als_encode(*backend, data.problem, source, reducer, data.sum_of_squares(), true, nullptr);
  als_power(*backend, source, reducer, Precision::kFull, nullptr);
  EXPECT_EQ(reducer.calls, 10);
  EXPECT_EQ(source.reads, 10);
  als_scan(*backend, data.problem, source);
  EXPECT_EQ(reducer.calls, 10);
  EXPECT_EQ(source.reads, 11);
}

TEST_P(LoopTest, AcceptedLossesFallAndRejectedOnesAreKeptApart) {
  const Coupled data(random, 600, {3});
  const auto backend = backend_for(data);
  MatrixSource source = data.source(0);
  Reducer reducer;
  AlsOptions options = options_for(data, 60);
  std::vector<double> heard, refused;
  int calls = 0;
  options.progress = [&](const IterationInfo& info) {
    EXPECT_EQ(info.fit, 0);
    EXPECT_EQ(info.iteration, ++calls);
    EXPECT_GE(info.seconds, 0);
    (info.accepted ? heard : refused).push_back(info.loss);
  };
  const FitResult result = als_fit(*backend, data.problem, source, reducer, options);
  const FitTrace& trace = result.fits[0];
  EXPECT_EQ(trace.losses, heard);
  EXPECT_EQ(trace.rejected_losses, refused);
  EXPECT_EQ(trace.iterations, 60);
  EXPECT_EQ(trace.losses.size() + trace.rejected_losses.size(), 60U);
  EXPECT_EQ(trace.stop_reason, "max_iter");
  for (std::size_t i = 1; i < trace.losses.size(); ++i) {
    EXPECT_LE(trace.losses[i], trace.losses[i - 1] + 2 * double(identity_bound(data))) << i;
  }
  // What is left in the backend is the last accepted pair: W for its H is no worse.
  EncodeResult encoded;
  encode(*backend, data, encoded, true);
  EXPECT_LE(encoded.losses[0], trace.losses.back() + 2 * double(identity_bound(data)));
}

TEST_P(LoopTest, StopsByToleranceAndFitsStopApart) {
  const Coupled data(random, 400, {1, 4});
  const auto backend = backend_for(data);
  WatchedSource source(data.source(0));
  Reducer reducer;
  AlsOptions options = options_for(data, 500);
  options.tolerance = 1e-3;
  std::vector<int> calls(2);
  options.progress = [&](const IterationInfo& info) { ++calls[std::size_t(info.fit)]; };
  const FitResult result = als_fit(*backend, data.problem, source, reducer, options);
  for (std::size_t f = 0; f < 2; ++f) {
    const FitTrace& trace = result.fits[f];
    EXPECT_EQ(trace.stop_reason, "converged");
    EXPECT_EQ(calls[f], trace.iterations);
    const std::size_t n = trace.losses.size();
    ASSERT_GE(n, 2U);
    EXPECT_LE(trace.losses[n - 2] - trace.losses[n - 1], 1e-3 * trace.losses[n - 2]);
  }
  EXPECT_EQ(result.passes, std::max(result.fits[0].iterations, result.fits[1].iterations));
  EXPECT_EQ(source.reads, result.passes);
}

TEST_P(LoopTest, NoIterationsLeaveTheStart) {
  const Coupled data(random, 50, {2});
  const auto backend = backend_for(data);
  MatrixSource source = data.source(0);
  Reducer reducer;
  const FitResult result = als_fit(*backend, data.problem, source, reducer, options_for(data, 0));
  EXPECT_EQ(result.passes, 0);
  EXPECT_EQ(result.fits[0].stop_reason, "max_iter");
  EXPECT_TRUE(result.fits[0].losses.empty());
  EXPECT_EQ(factor(*backend, data.problem, 2).values, data.start[2].values);
}

TEST_P(LoopTest, TinyLossesAreComputedFromTheResidual) {
  // Whole numbers of rank 1: the factors fit exactly, and the identity has nothing left.
  Coupled data(random, 600, {1}, 0.0, {{.columns = 40}});
  const Matrix w =
      testing::make_matrix(600, 1, [&](auto, auto) { return double(random.integer(1, 9)); });
  const Matrix h =
      testing::make_matrix(1, 40, [&](auto, auto) { return double(random.integer(1, 9)); });
  data.views[0] = {testing::multiply(w, h), DType::kFloat32, 1.0};
  const auto backend = backend_for(data);
  WatchedSource source(data.source(0));
  CountingReducer reducer;
  const FitResult result = als_fit(*backend, data.problem, source, reducer, options_for(data, 3));
  EXPECT_EQ(result.passes, 6);
  EXPECT_EQ(source.reads, 6);
  EXPECT_EQ(reducer.calls, 6);
  // One rounding of W, of H, and one multiply-add an entry; the solver's tolerance does not count
  // for rank 1, where a sweep is exact.
  const Wide entry = gamma(700);
  for (const double loss : result.fits[0].losses) EXPECT_LE(loss, double(entry * entry));
}

TEST_P(LoopTest, LossesThatAreNotVerifiedAreWithinOnePercent) {
  // Where many rows are the same, their roundings are too, and add up instead of averaging out.
  for (const double noise : {0.03, 0.05, 0.1, 0.15, 0.2, 0.3}) {
    const double level = random.uniform(0.1, 1);
    Coupled data(random, 2048, {1}, 0.0, {{.columns = 100}});
    const Matrix x = testing::make_matrix(2048, 100, [&](auto i, auto) {
      return level * (i % 20 == 7 ? 1 + noise * random.uniform(-1, 1) : 1);
    });
    data.views[0] = {x, DType::kFloat32, 1.0};
    MatrixSource source = data.source(0);
    Reducer reducer;
    AlsOptions options = options_for(data, 2);
    const auto derive = backend_for(data);
    const FitResult derived = als_fit(*derive, data.problem, source, reducer, options);
    options.verify = true;
    const auto verify = backend_for(data);
    const FitResult exact = als_fit(*verify, data.problem, source, reducer, options);
    for (std::size_t i = 0; i < 2; ++i) {
      const double loss = exact.fits[0].losses[i];
      EXPECT_NEAR(derived.fits[0].losses[i], loss, 0.01 * loss) << "noise " << noise;
    }
  }
}

TEST_P(LoopTest, VerifyingGivesTheExplicitResidual) {
  const Coupled data(random, 600, {3});
  const auto backend = backend_for(data);
  const auto plain = backend_for(data);
  MatrixSource source = data.source(0);
  Reducer reducer;
  AlsOptions options = options_for(data, 4);
  const FitResult derived = als_fit(*plain, data.problem, source, reducer, options);
  options.verify = true;
  const FitResult verified = als_fit(*backend, data.problem, source, reducer, options);
  EXPECT_EQ(derived.passes, 4);
  EXPECT_EQ(verified.passes, 8);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(verified.fits[0].losses[i], derived.fits[0].losses[i],
                double(identity_bound(data)));
  }
  EncodeResult exact, identity;
  const Matrix w = encode(*backend, data, exact, true);
  std::vector<Matrix> h;
  for (int v = 0; v < 5; ++v) h.push_back(factor(*backend, data.problem, v));
  const auto rest = residuals(data, w, h);
  for (std::size_t v = 0; v < 5; ++v) {
    EXPECT_NEAR(exact.view_losses[0][v], rest[v] / data.sum_of_squares()[v],
                double(identity_bound(data)));
  }
  encode(*backend, data, identity, false);
  EXPECT_NEAR(identity.losses[0], exact.losses[0], double(identity_bound(data)));
  EXPECT_TRUE(identity.view_losses[0].empty());
}

TEST_P(LoopTest, ScansStatistics) {
  const Coupled data(random, 600, {2});
  const auto backend = backend_for(data);
  MatrixSource source = data.source(70);
  const auto stats = als_scan(*backend, data.problem, source);
  for (std::size_t v = 0; v < 5; ++v) {
    const double sum = testing::squared_norm(data.views[v].values);
    EXPECT_NEAR(stats[v].sum_of_squares, sum, double(gamma(530 + 2)) * sum);
    EXPECT_EQ(stats[v].nonfinite, 0);
    EXPECT_EQ(stats[v].minimum, 0);
  }
}

TEST_P(LoopTest, APassStopsWhereTheHookThrowsAndTheBackendGoesOn) {
  const Coupled data(random, 600, {3});
  const auto fresh = backend_for(data);
  WatchedSource source(data.source(100));
  Reducer reducer;
  const FitResult expected = als_fit(*fresh, data.problem, source, reducer, options_for(data, 4));
  for (const int threads : {1, 3}) {
    bool armed = true;
    const auto caller = std::this_thread::get_id();
    BackendOptions hooked;
    hooked.threads = threads;
    hooked.check_interrupt = [&] {
      EXPECT_EQ(std::this_thread::get_id(), caller);
      if (armed) throw std::runtime_error("stop");
    };
    const auto backend = backend_for(data, hooked);
    source.pause = std::chrono::milliseconds(60);
    // The caller's thread need not get a task of every step, but of some step of many.
    EXPECT_THROW(als_fit(*backend, data.problem, source, reducer, options_for(data, 50)),
                 std::runtime_error);
    if (threads == 1) {
      EXPECT_THROW(als_scan(*backend, data.problem, source), std::runtime_error);
    }
    armed = false;
    source.pause = std::chrono::milliseconds(0);
    for (int v = 0; v < 5; ++v) {
      backend->set_input(v, data.start[static_cast<std::size_t>(v)].values.data());
    }
    const FitResult after = als_fit(*backend, data.problem, source, reducer, options_for(data, 4));
    EXPECT_TRUE(testing::same_bits_of(after.fits[0].losses, expected.fits[0].losses));
    for (int v = 0; v < 5; ++v) {
      EXPECT_EQ(factor(*backend, data.problem, v).values, factor(*fresh, data.problem, v).values);
    }
  }
}

TEST_P(LoopTest, DataThatAreNoNumbersDoNotGiveALoss) {
  Coupled data(random, 60, {2}, 0.3, {{.columns = 20}});
  const std::vector<double> squares = data.sum_of_squares();
  Matrix bad = data.views[0].values;
  bad(30, 3) = std::numeric_limits<double>::quiet_NaN();
  data.views[0] = {bad, DType::kFloat32, 1.0};
  const auto backend = backend_for(data);
  MatrixSource source = data.source(0);
  Reducer reducer;
  AlsOptions options = options_for(data, 3);
  options.sum_of_squares = squares;
  try {
    const FitResult result = als_fit(*backend, data.problem, source, reducer, options);
    for (const double loss : result.fits[0].losses) EXPECT_TRUE(std::isnan(loss)) << loss;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kValue);
  }
}

TEST_P(LoopTest, HugeNumbersAreFittedOrRefused) {
  // Scaling by a power of two changes no digit, until products leave the range of float32.
  const Coupled data(random, 300, {2}, 0.3, {{.columns = 40}});
  MatrixSource source = data.source(0);
  Reducer reducer;
  const auto backend = backend_for(data);
  const FitResult expected = als_fit(*backend, data.problem, source, reducer, options_for(data, 3));
  for (const int exponent : {20, 40, 60, 80, 100}) {
    Coupled scaled = data;
    Matrix x = data.views[0].values;
    for (double& value : x.values) value = std::ldexp(value, exponent);
    scaled.views[0] = {x, DType::kFloat32, 1.0};
    MatrixSource huge = scaled.source(0);
    const auto other = backend_for(scaled);
    try {
      const FitResult result =
          als_fit(*other, scaled.problem, huge, reducer, options_for(scaled, 3));
      EXPECT_EQ(result.fits[0].losses, expected.fits[0].losses) << "times 2^" << exponent;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kValue);
      EXPECT_GT(exponent, 40);
      EXPECT_FALSE(GetParam());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, LoopTest, ::testing::Bool(), testing::name_of_type);

}  // namespace
}  // namespace cofactor
