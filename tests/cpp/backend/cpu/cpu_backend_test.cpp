// What a backend holds between passes, and how it behaves when a pass goes wrong.

#include <chrono>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>

#include "backend/cpu/session.h"
#include "core/error.h"

namespace cofactor {
namespace {

using testing::Coupled;
using testing::Matrix;
using testing::Session;
using testing::Wide;

class FactorTest : public testing::RandomTest {};

TEST_F(FactorTest, SettingTheInputSetsEveryCopy) {
  const Coupled data(random, 3, {2, 1});
  const Session<float> session(data);
  for (int v = 0; v < data.problem.num_views(); ++v) {
    for (const Factor which : {Factor::kInput, Factor::kSolved, Factor::kPrevious}) {
      EXPECT_EQ(testing::factor_of(*session.backend, data.problem, which, v).values,
                data.start[static_cast<std::size_t>(v)].values);
    }
  }
}

TEST_F(FactorTest, StepsTouchTheirOwnFitOnly) {
  const Coupled data(random, 50, {2, 3});
  Session<double> session(data);
  session.pass(PassMode::kFit);
  session.backend->solve_h();
  const auto all = [&](Factor which) {
    std::vector<Matrix> result;
    for (int v = 0; v < data.problem.num_views(); ++v) {
      result.push_back(testing::factor_of(*session.backend, data.problem, which, v));
    }
    return result;
  };
  const auto solved = all(Factor::kSolved);
  session.backend->advance(1, 0.5);
  auto input = all(Factor::kInput);
  auto previous = all(Factor::kPrevious);
  bool clipped = false;
  for (std::size_t v = 0; v < input.size(); ++v) {
    for (int r = 0; r < 5; ++r) {
      for (std::int64_t j = 0; j < input[v].columns; ++j) {
        const double old = data.start[v](r, j), now = solved[v](r, j);
        const double step = now + 0.5 * (now - old);
        clipped = clipped || (r >= 2 && step < 0);
        EXPECT_EQ(input[v](r, j), r < 2 ? old : std::max(0.0, step));
        EXPECT_EQ(previous[v](r, j), r < 2 ? old : now);
      }
    }
  }
  EXPECT_TRUE(clipped) << "no entry needed the clip at 0";
  session.backend->restore(1);
  input = all(Factor::kInput);
  for (std::size_t v = 0; v < input.size(); ++v) {
    EXPECT_EQ(input[v].values, previous[v].values);
  }
  session.backend->adopt_input();
  for (std::size_t v = 0; v < input.size(); ++v) {
    EXPECT_EQ(all(Factor::kSolved)[v].values, input[v].values);
  }
}

TEST_F(FactorTest, KeptFitsGoOnAsIfTheyHadBeenAlone) {
  Coupled data(random, 700, {2, 3, 1});
  data.problem.group_penalty = 2;
  data.problem.row_terms.num_groups = 3;
  for (int i = 0; i < 700; ++i) data.problem.row_terms.group.push_back(i % 3);
  Session<double> session(data);
  for (int step = 0; step < 2; ++step) {
    session.pass(PassMode::kFit);
    session.backend->solve_h();
    for (int fit = 0; fit < 3; ++fit) session.backend->advance(fit, 0.4 * step);
  }
  Session<double> all(data);
  for (int v = 0; v < data.problem.num_views(); ++v) {
    all.backend->set_input(
        v, testing::factor_of(*session.backend, data.problem, Factor::kInput, v).values.data());
  }
  all.backend->set_group_norms(session.backend->group_norms().data());
  all.pass(PassMode::kFit);

  session.backend->keep({0, 2});
  EXPECT_EQ(session.backend->group_norms().size(), 9U);
  data.problem.ranks = {2, 1};
  EXPECT_EQ(testing::factor_of(*session.backend, data.problem, Factor::kPrevious, 2).rows, 3);
  session.k = 3;
  session.w = Matrix(700, 3);
  session.pass(PassMode::kFit);
  for (int i = 0; i < 700; ++i) {
    EXPECT_EQ(session.w(i, 0), all.w(i, 0));
    EXPECT_EQ(session.w(i, 1), all.w(i, 1));
    EXPECT_EQ(session.w(i, 2), all.w(i, 5));
  }
  const auto c = session.backend->c(kEveryRow), expected = all.backend->c(kEveryRow);
  EXPECT_EQ(c[1], expected[1]);
  EXPECT_EQ(c[8], expected[35]);
}

TEST_F(FactorTest, Float64ProblemsRefuseBFloat16AndGoOn) {
  const Coupled data(random, 50, {2, 1});
  Session<double> expected(data), session(data);
  try {
    session.backend->set_precision(Precision::kBFloat16);
    FAIL() << "accepted bfloat16";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kValue);
  }
  expected.pass(PassMode::kFit);
  session.pass(PassMode::kFit);
  EXPECT_TRUE(testing::same_bits_of(session.sums, expected.sums));
}

TEST_F(FactorTest, RowsInTheMemoryOfADeviceAreRefused) {
  if (!testing::on_cpu()) GTEST_SKIP() << "rows are copied to the device";
  const Coupled data(random, 4, {2});
  const Session<float> session(data);
  Block block{.first_row = 0, .rows = 4, .views = {}};
  for (const testing::StoredView& view : data.views) block.views.push_back(view.view());
  block.views.back().memory = Memory::kDevice;
  std::vector<ViewStats> stats(data.views.size());
  const auto expect_refused = [](const auto& call) {
    try {
      call();
      FAIL() << "read the memory of a device";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kType);
    }
  };
  session.backend->begin_pass(PassMode::kFit);
  expect_refused([&] { session.backend->process(block, nullptr); });
  expect_refused([&] { session.backend->scan(block, stats); });
  expect_refused([&] { session.backend->set_component(0, block); });
}

class InterruptTest : public testing::RandomTest {};

TEST_F(InterruptTest, AnErrorInTheMiddleOfAPassEndsItAndTheBackendGoesOn) {
  // Several groups of rows in one block, which wait for each other.
  const Coupled data(random, 12000, {2}, 0.3, {{.columns = 20}, {.columns = 60}});
  Session<float> expected(data);
  expected.pass(PassMode::kFit, 0);
  for (const int threads : {1, 3}) {
    int calls = 0, stop_at = 0;
    Session<float> session(data, {.threads = threads, .check_interrupt = [&] {
                                    // Calls are 50 ms apart at least: the second comes in the
                                    // middle of the tasks, and others wait for this one.
                                    if (stop_at == 0) return;
                                    std::this_thread::sleep_for(std::chrono::milliseconds(55));
                                    if (++calls == stop_at) throw std::runtime_error("stop");
                                  }});
    session.between = [] { std::this_thread::sleep_for(std::chrono::milliseconds(55)); };
    for (stop_at = 1; stop_at <= 3; ++stop_at) {
      calls = 0;
      bool stopped = false;
      try {
        session.pass(PassMode::kFit, 0);
      } catch (const std::runtime_error&) {
        stopped = true;
      }
      // The caller's thread may get too few tasks for the later calls.
      EXPECT_EQ(stopped, calls == stop_at) << "call " << stop_at << ", " << threads << " threads";
      EXPECT_TRUE(stopped || stop_at > 2) << "call " << stop_at << ", " << threads << " threads";
    }
    stop_at = 0;
    session.pass(PassMode::kFit, 0);
    EXPECT_TRUE(testing::same_bits_of(session.w.values, expected.w.values));
    EXPECT_TRUE(testing::same_bits_of(session.sums, expected.sums));
  }
}

class ScanTest : public testing::KernelTest {
 protected:
  testing::ScopedEnvironment level{"COFACTOR_SIMD", std::string(name_of(GetParam().level)).c_str()};
};

TEST_P(ScanTest, StatisticsOfEveryViewInValueUnits) {
  typed([&](auto zero) {
    using T = decltype(zero);
    Coupled data(random, 700, {2});
    // One view with negative numbers, one with values that are no numbers.
    Matrix floats = data.views[4].values, doubles = data.views[0].values;
    for (double& value : floats.values) value -= 0.6;
    data.views[4] = {floats, DType::kFloat32, 1.0};
    doubles(3, 2) = std::numeric_limits<double>::infinity();
    doubles(699, 0) = std::numeric_limits<double>::quiet_NaN();
    data.views[0] = {doubles, DType::kFloat64, 1.0};
    Session<T> session(data);
    MatrixSource source = data.source(150);
    std::vector<ViewStats> stats(5);
    Block block;
    while (source.next(block)) session.backend->scan(block, stats);
    EXPECT_EQ(stats[0].nonfinite, 2);
    testing::Comparison comparison;
    for (std::size_t v = 1; v < 5; ++v) {
      EXPECT_EQ(stats[v].nonfinite, 0);
      const double sum = testing::squared_norm(data.views[v].values);
      // At most the columns in one lane in T, rows in float64.
      comparison.check(stats[v].sum_of_squares, sum,
                       (testing::gamma<T>(530 + 2) + testing::gamma<double>(5000)) * sum, v);
      const auto& values = data.views[v].values.values;
      // Zero counts as seen: only negative minima matter.
      EXPECT_EQ(stats[v].minimum, std::min(0.0, *std::min_element(values.begin(), values.end())));
    }
    EXPECT_TRUE(comparison.result());
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(ScanTest);

}  // namespace
}  // namespace cofactor
