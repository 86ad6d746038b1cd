// The decisions of the loop, on a backend that plays back residuals and writes down what it is
// told.

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "als/loop.h"
#include "core/error.h"

namespace cofactor {
namespace {

/// One view with ||X||^2 = 100. Pass p of fit f leaves the residual script[f][p].
class ScriptedBackend final : public Backend {
 public:
  explicit ScriptedBackend(std::vector<std::vector<double>> script)
      : script_(std::move(script)), sums_(script_.size() * script_.size(), 1.0) {}

  void set_input(int, const double*) override {}
  void set_previous(int, const double*) override {}
  void get_factor(Factor, int, double*) const override {}
  void set_component(int, const Block&) override {}
  void keep(const std::vector<int>& fits) override {
    std::vector<std::vector<double>> kept;
    std::string text = "keep";
    for (const int fit : fits) {
      kept.push_back(script_[static_cast<std::size_t>(fit)]);
      text.append(" ").append(std::to_string(fit));
    }
    note(text);
    script_ = kept;
  }
  void set_group_norms(const double*) override {}
  [[nodiscard]] std::span<const double> group_norms() const override { return {}; }
  void begin_pass(PassMode mode) override {
    residual_ = mode == PassMode::kResidual;
    if (residual_) {
      note("residual");
    } else {
      note("pass");
    }
  }
  void process(const Block&, void*) override {}
  PassSums end_pass(Memory /*memory*/) override { return {sums_}; }
  void finish_pass() override {}
  [[nodiscard]] std::vector<RowSums> row_sums() const override {
    return std::vector<RowSums>(script_.size());
  }
  [[nodiscard]] std::span<const double> c(int) const override { return sums_; }
  [[nodiscard]] std::span<const double> s(int) const override { return {}; }
  [[nodiscard]] std::span<const double> gram(int) const override { return sums_; }
  void solve_h() override { ++passes_; }
  [[nodiscard]] std::vector<std::vector<ViewTerms>> terms() const override {
    std::vector<std::vector<ViewTerms>> result;
    for (const std::vector<double>& fit : script_) {
      const double residual = fit.at(passes_ - 1);
      result.push_back({{.cross = (100 - residual) / 2, .residual = residual_ ? residual : -1}});
    }
    return result;
  }
  void advance(int fit, double momentum) override {
    std::ostringstream text;
    text.precision(3);
    text << "advance " << fit << " by " << momentum;
    note(text.str());
  }
  void restore(int fit) override { note("restore " + std::to_string(fit)); }
  void adopt_input() override { note("adopt"); }
  void scan(const Block&, std::vector<ViewStats>&) override {}
  void row_squares(const Block& /*block*/, double* /*squares*/) override {}
  void copy_rows(const MatrixView& /*rows*/, void* /*to*/) const override {}
  void set_precision(Precision precision) override {
    if (precision != precision_) note(precision == Precision::kFull ? "full" : "bfloat16");
    precision_ = precision;
  }
  [[nodiscard]] int compute_size() const override { return 8; }

  std::vector<std::string> notes;

 private:
  Precision precision_ = Precision::kFull;
  void note(const std::string& text) { notes.push_back(text); }

  std::vector<std::vector<double>> script_;
  std::vector<double> sums_;
  std::size_t passes_ = 0;
  bool residual_ = false;
};

struct Outcome {
  FitResult result;
  std::vector<std::string> notes;
};

Outcome play(const std::vector<std::vector<double>>& script, AlsOptions options) {
  ScriptedBackend backend(script);
  Problem problem;
  problem.views = {{.columns = 1}};
  problem.ranks.assign(script.size(), 1);
  MatrixSource source({{}}, 0);
  Reducer reducer;
  options.sum_of_squares = {100.0};
  Outcome outcome;
  outcome.result = als_fit(backend, problem, source, reducer, options);
  outcome.notes = backend.notes;
  return outcome;
}

AlsOptions passes(std::size_t count) {
  AlsOptions options;
  options.max_iterations = static_cast<int>(count);
  options.tolerance = 0;
  return options;
}

using Notes = std::vector<std::string>;
using Losses = std::vector<double>;

void expect_losses(const Losses& actual, const Losses& residuals) {
  ASSERT_EQ(actual.size(), residuals.size());
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], residuals[i] / 100, 1e-12);
}

TEST(LoopScriptTest, ARiseAfterExtrapolationIsTakenBackAndMomentumStartsOver) {
  const std::vector<double> residuals{50, 40, 30, 35, 29, 28, 27};
  const Outcome outcome = play({residuals}, passes(7));
  // Factors of Nesterov's sequence: 0, 0.282, 0.434.
  EXPECT_EQ(outcome.notes,
            (Notes{"pass", "advance 0 by 0", "pass", "advance 0 by 0.282", "pass",
                   "advance 0 by 0.434", "pass", "restore 0", "pass", "advance 0 by 0", "pass",
                   "advance 0 by 0.282", "pass", "advance 0 by 0.434", "restore 0"}));
  const FitTrace& trace = outcome.result.fits[0];
  expect_losses(trace.losses, {50, 40, 30, 29, 28, 27});
  expect_losses(trace.rejected_losses, {35});
  EXPECT_EQ(trace.iterations, 7);
  std::vector<double> of_the_view;
  for (const auto& losses : trace.view_losses) of_the_view.push_back(losses.at(0));
  expect_losses(of_the_view, {50, 40, 30, 29, 28, 27});
}

TEST(LoopScriptTest, ARiseOfAPlainStepIsNotTakenBack) {
  // It can only be rounding: taking it back would repeat the same pass for ever.
  const Outcome outcome = play({{50, 51, 49}}, passes(3));
  EXPECT_EQ(outcome.notes, (Notes{"pass", "advance 0 by 0", "pass", "advance 0 by 0.282", "pass",
                                  "advance 0 by 0.434", "restore 0"}));
  expect_losses(outcome.result.fits[0].losses, {50, 51, 49});
}

TEST(LoopScriptTest, WithoutExtrapolationStepsArePlain) {
  AlsOptions options = passes(3);
  options.extrapolate = false;
  const Outcome outcome = play({{50, 40, 45}}, options);
  EXPECT_EQ(outcome.notes, (Notes{"pass", "advance 0 by 0", "pass", "advance 0 by 0", "pass",
                                  "advance 0 by 0", "restore 0"}));
  EXPECT_TRUE(outcome.result.fits[0].rejected_losses.empty());
}

TEST(LoopScriptTest, StopsAtASmallDecreaseAndNotAtARejectedStep) {
  AlsOptions options = passes(10);
  options.tolerance = 0.01;
  // 40 to 41 is taken back; 40 to 39.5 is more than 1 %, 39.5 to 39.2 less.
  const Outcome outcome = play({{50, 40, 41, 39.5, 39.2, 1}}, options);
  const FitTrace& trace = outcome.result.fits[0];
  EXPECT_EQ(trace.stop_reason, "converged");
  EXPECT_EQ(trace.iterations, 5);
  EXPECT_EQ(outcome.result.passes, 5);
  expect_losses(trace.losses, {50, 40, 39.5, 39.2});
  // The last solution is the result, and not a step beyond it.
  EXPECT_EQ(outcome.notes.back(), "restore 0");
}

TEST(LoopScriptTest, TheFirstPassNeverConverges) {
  AlsOptions options = passes(2);
  options.tolerance = 1e9;
  EXPECT_EQ(play({{50, 40}}, options).result.fits[0].iterations, 2);
}

TEST(LoopScriptTest, ADoneFitStaysWhereItIsWhileOthersGoOn) {
  AlsOptions options = passes(5);
  options.tolerance = 0.01;
  std::vector<int> heard;
  options.progress = [&](const IterationInfo& info) { heard.push_back(info.fit); };
  const Outcome outcome = play({{50, 49.9, 1, 1, 1}, {50, 40, 30, 20, 10}}, options);
  EXPECT_EQ(outcome.result.fits[0].iterations, 2);
  expect_losses(outcome.result.fits[0].losses, {50, 49.9});
  EXPECT_EQ(outcome.result.fits[1].iterations, 5);
  EXPECT_EQ(outcome.result.fits[1].stop_reason, "max_iter");
  EXPECT_EQ(heard, (std::vector<int>{0, 1, 0, 1, 1, 1, 1}));
  int advanced = 0;
  for (const std::string& note : outcome.notes) advanced += note.starts_with("advance 0") ? 1 : 0;
  EXPECT_EQ(advanced, 2);
}

TEST(LoopScriptTest, FitsThatAreDoneAreDroppedWhereThatIsAskedFor) {
  AlsOptions options = passes(5);
  options.tolerance = 0.01;
  options.drop_finished = true;
  std::vector<int> heard;
  options.progress = [&](const IterationInfo& info) { heard.push_back(info.fit); };
  const Outcome outcome =
      play({{50, 40, 30, 29.9, 1}, {50, 49.9, 1, 1, 1}, {50, 40, 30, 20, 10}, {50, 40, 39.9, 1, 1}},
           options);
  EXPECT_EQ(heard, (std::vector<int>{0, 1, 2, 3, 0, 1, 2, 3, 0, 2, 3, 0, 2, 2}));
  Notes kept;
  for (const std::string& note : outcome.notes) {
    if (note.starts_with("keep")) kept.push_back(note);
  }
  EXPECT_EQ(kept, (Notes{"keep 0 2 3", "keep 0 1", "keep 1"}));
  expect_losses(outcome.result.fits[0].losses, {50, 40, 30, 29.9});
  expect_losses(outcome.result.fits[1].losses, {50, 49.9});
  expect_losses(outcome.result.fits[2].losses, {50, 40, 30, 20, 10});
  expect_losses(outcome.result.fits[3].losses, {50, 40, 39.9});
  EXPECT_EQ(outcome.result.fits[2].stop_reason, "max_iter");
  EXPECT_EQ(outcome.result.fits[3].stop_reason, "converged");
  for (const auto& factors : outcome.result.factors) EXPECT_EQ(factors.h.size(), 1U);
}

TEST(LoopScriptTest, CheckpointsHoldTheFactorsOfAllFits) {
  AlsOptions options = passes(2);
  options.drop_finished = true;
  options.checkpoint = [](const LoopState&) {};
  EXPECT_THROW(play({{50, 40}}, options), Error);
}

TEST(LoopScriptTest, AFitInBfloat16EndsInTheComputeTypeForWhatFollows) {
  AlsOptions options = passes(1);
  options.compute = Compute::kBFloat16;
  EXPECT_EQ(play({{50}}, options).notes,
            (Notes{"bfloat16", "pass", "advance 0 by 0", "full", "restore 0"}));
}

TEST(LoopScriptTest, AFitThatChoosesLeavesBfloat16WhenItGainsLittle) {
  AlsOptions options = passes(5);
  options.extrapolate = false;
  options.tolerance = 1e-6;
  options.compute = Compute::kAuto;
  const Outcome outcome = play({{50, 40, 39.999, 30, 30}}, options);
  EXPECT_EQ(outcome.notes, (Notes{"bfloat16", "pass", "advance 0 by 0", "pass", "advance 0 by 0",
                                  "pass", "advance 0 by 0", "full", "pass", "advance 0 by 0",
                                  "pass", "advance 0 by 0", "restore 0", "restore 0"}));
  EXPECT_EQ(outcome.result.fits[0].stop_reason, "converged");
}

TEST(LoopScriptTest, AFitThatConvergesInBfloat16GoesOn) {
  AlsOptions options = passes(4);
  options.extrapolate = false;
  options.tolerance = 0.3;
  options.compute = Compute::kAuto;
  const Outcome outcome = play({{50, 40, 35, 20}}, options);
  EXPECT_EQ(outcome.result.fits[0].iterations, 3);
  EXPECT_EQ(outcome.result.fits[0].stop_reason, "converged");
}

TEST(LoopScriptTest, TheLastPassOfAFitThatChoosesIsInTheComputeType) {
  AlsOptions options = passes(3);
  options.extrapolate = false;
  options.compute = Compute::kAuto;
  EXPECT_EQ(play({{50, 40, 30}}, options).notes,
            (Notes{"bfloat16", "pass", "advance 0 by 0", "pass", "advance 0 by 0", "full", "pass",
                   "advance 0 by 0", "restore 0"}));
  options.max_iterations = 1;
  EXPECT_EQ(play({{50}}, options).notes, (Notes{"pass", "advance 0 by 0", "restore 0"}));
}

TEST(LoopScriptTest, OneUntrustedFitCostsOneReadForAll) {
  const Outcome outcome = play({{50, 1e-13, 1e-13}, {50, 40, 30}}, passes(3));
  EXPECT_EQ(outcome.result.passes, 5);
  expect_losses(outcome.result.fits[0].losses, {50, 1e-13, 1e-13});
  expect_losses(outcome.result.fits[1].losses, {50, 40, 30});
  EXPECT_EQ(outcome.result.fits[0].losses[1], 1e-15);
}

}  // namespace
}  // namespace cofactor
