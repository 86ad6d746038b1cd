// A loop that goes on from a checkpoint ends with the bits of one that never stopped.

#include <vector>

#include "als/loop_fixture.h"

namespace cofactor {
namespace {

using testing::Coupled;
using testing::Matrix;

struct Checkpoint {
  LoopState state;
  std::vector<Matrix> input, previous;
};

class LoopResumeTest : public testing::LoopFixture {
 protected:
  static Matrix factor_of(const Backend& backend, const Problem& problem, int view, Factor which) {
    Matrix h(problem.total_rank(), problem.views[static_cast<std::size_t>(view)].columns);
    backend.get_factor(which, view, h.values.data());
    return h;
  }

  static std::vector<Matrix> factors(const Backend& backend, const Problem& problem, Factor which) {
    std::vector<Matrix> result;
    for (int v = 0; v < problem.num_views(); ++v) {
      result.push_back(factor_of(backend, problem, v, which));
    }
    return result;
  }

  static void expect_same(const FitResult& a, const FitResult& b) {
    EXPECT_EQ(a.passes, b.passes);
    ASSERT_EQ(a.fits.size(), b.fits.size());
    for (std::size_t f = 0; f < a.fits.size(); ++f) {
      EXPECT_EQ(a.fits[f].losses, b.fits[f].losses);
      EXPECT_EQ(a.fits[f].rejected_losses, b.fits[f].rejected_losses);
      EXPECT_EQ(a.fits[f].view_losses, b.fits[f].view_losses);
      EXPECT_EQ(a.fits[f].iterations, b.fits[f].iterations);
      EXPECT_EQ(a.fits[f].reseeded, b.fits[f].reseeded);
      EXPECT_EQ(a.fits[f].stop_reason, b.fits[f].stop_reason);
    }
  }

  /// Fits, then goes on from every checkpoint on a new backend.
  static FitResult expect_resumes(const Coupled& data, AlsOptions options) {
    Reducer reducer;
    MatrixSource source = data.source(100);
    const auto backend = backend_for(data);
    std::vector<Checkpoint> checkpoints;
    options.checkpoint = [&](const LoopState& state) {
      checkpoints.push_back({state, factors(*backend, data.problem, Factor::kInput),
                             factors(*backend, data.problem, Factor::kPrevious)});
    };
    const FitResult whole = als_fit(*backend, data.problem, source, reducer, options);
    const auto expected = factors(*backend, data.problem, Factor::kInput);
    options.checkpoint = nullptr;
    EXPECT_EQ(checkpoints.back().state.passes, whole.passes);
    for (const Checkpoint& checkpoint : checkpoints) {
      const auto again = backend_for(data);
      for (int v = 0; v < data.problem.num_views(); ++v) {
        const auto i = static_cast<std::size_t>(v);
        again->set_input(v, checkpoint.input[i].values.data());
        again->set_previous(v, checkpoint.previous[i].values.data());
      }
      expect_same(als_fit(*again, data.problem, source, reducer, options, checkpoint.state), whole);
      const auto found = factors(*again, data.problem, Factor::kInput);
      for (std::size_t v = 0; v < found.size(); ++v) {
        EXPECT_TRUE(testing::same_bits_of(found[v].values, expected[v].values))
            << "view " << v << " after " << checkpoint.state.iterations << " iterations";
      }
    }
    return whole;
  }
};

TEST_P(LoopResumeTest, FromAnyIteration) {
  const Coupled data(random, 300, {3, 2});
  AlsOptions options = options_for(data, 30);
  EXPECT_EQ(expect_resumes(data, options).fits[0].iterations, 30);
  options.extrapolate = false;
  options.verify = true;
  options.max_iterations = 5;
  expect_resumes(data, options);
}

TEST_P(LoopResumeTest, OfAFitThatConverges) {
  const Coupled data(random, 300, {3, 2});
  AlsOptions options = options_for(data, 200);
  options.tolerance = 1e-3;
  EXPECT_EQ(expect_resumes(data, options).fits[0].stop_reason, "converged");
}

TEST_P(LoopResumeTest, OfAFitThatRoundsItsOperandsFirst) {
  if (GetParam()) GTEST_SKIP() << "float64 is not rounded";
  const Coupled data(random, 300, {3}, 0.3,
                     {{.columns = 40, .dtype = DType::kFloat16}, {.columns = 9}});
  AlsOptions options = options_for(data, 60);
  options.compute = Compute::kAuto;
  expect_resumes(data, options);
}

TEST_P(LoopResumeTest, OfAFitThatRevivesAComponent) {
  Coupled data(random, 300, {3});
  for (Matrix& h : data.start) std::fill_n(h.values.begin(), h.columns, 0.0);
  EXPECT_EQ(expect_resumes(data, options_for(data, 8)).fits[0].reseeded, 1);
}

TEST_P(LoopResumeTest, ChecksAsOftenAsAsked) {
  const Coupled data(random, 100, {2});
  AlsOptions options = options_for(data, 7);
  std::vector<int> iterations;
  options.checkpoint = [&](const LoopState& state) { iterations.push_back(state.iterations); };
  options.checkpoint_every = 3;
  const auto backend = backend_for(data);
  MatrixSource source = data.source(0);
  Reducer reducer;
  als_fit(*backend, data.problem, source, reducer, options);
  EXPECT_EQ(iterations, (std::vector<int>{3, 6, 7}));
}

INSTANTIATE_TEST_SUITE_P(Types, LoopResumeTest, ::testing::Bool(), testing::name_of_type);

}  // namespace
}  // namespace cofactor
