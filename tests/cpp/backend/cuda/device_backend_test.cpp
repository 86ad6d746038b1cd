// The loop on rows that come through the upload, and beside that of the CPU.

#include <optional>
#include <tuple>
#include <utility>

#include "als/loop.h"
#include "backend/cuda/streamed.h"
#include "reference.h"

namespace cofactor {
namespace {

using testing::Coupled;
using testing::Matrix;

constexpr int kIterations = 3;

/// A view of every dtype, two panels and part of a third; an emulated device is slow.
Coupled make_data(testing::Random& random) {
  return {random,
          1100,
          {3},
          0.3,
          {{.columns = 7, .dtype = DType::kFloat64, .weight = 0.7},
           {.columns = 21, .dtype = DType::kUInt8, .scale = 1.0 / 64},
           {.columns = 33, .dtype = DType::kFloat16},
           {.columns = 1, .dtype = DType::kBFloat16, .weight = 2.0},
           {.columns = 18, .dtype = DType::kFloat32, .weight = 0.1}}};
}
/// Of a row on the device, each view padded to 16 bytes.
constexpr std::int64_t kRowBytes = 64 + 32 + 80 + 16 + 80;

struct Outcome {
  std::vector<double> losses, encoded_losses;
  std::vector<Matrix> h;
  std::vector<double> w;
};

std::vector<double> sum_of_squares(const Coupled& data, int processes) {
  std::vector<double> result = data.sum_of_squares();
  for (double& number : result) number *= processes;
  return result;
}

Outcome fit(const Coupled& data, Backend& backend, BlockSource& source, Reducer& reducer,
            int processes) {
  for (int v = 0; v < data.problem.num_views(); ++v) {
    backend.set_input(v, data.start[static_cast<std::size_t>(v)].values.data());
  }
  AlsOptions options;
  options.max_iterations = kIterations;
  options.tolerance = 0;
  options.sum_of_squares = sum_of_squares(data, processes);
  Outcome outcome;
  const FitResult result = als_fit(backend, data.problem, source, reducer, options);
  outcome.losses = result.fits[0].losses;
  outcome.losses.insert(outcome.losses.end(), result.fits[0].rejected_losses.begin(),
                        result.fits[0].rejected_losses.end());
  const auto numbers = static_cast<std::size_t>(data.problem.rows * data.problem.total_rank());
  std::vector<float> singles(numbers);
  outcome.w.resize(numbers);
  const bool is_double = backend.compute_size() == 8;
  MemorySink sink(is_double ? static_cast<void*>(outcome.w.data()) : singles.data(),
                  static_cast<std::size_t>(data.problem.total_rank() * backend.compute_size()));
  outcome.encoded_losses =
      als_encode(backend, data.problem, source, reducer, options.sum_of_squares, false, &sink)
          .losses;
  if (!is_double) std::copy(singles.begin(), singles.end(), outcome.w.begin());
  for (int v = 0; v < data.problem.num_views(); ++v) {
    Matrix& h = outcome.h.emplace_back(data.problem.total_rank(),
                                       data.problem.views[static_cast<std::size_t>(v)].columns);
    backend.get_factor(Factor::kInput, v, h.values.data());
  }
  return outcome;
}

Outcome fit(const Coupled& data, Backend& backend, BlockSource& source) {
  Reducer reducer;
  return fit(data, backend, source, reducer, 1);
}

/// Stands for three processes with the same rows. Sums on the device are read and written on a
/// stream of its own, as a library that takes device memory has one.
class RepeatingReducer final : public Reducer {
 public:
  static constexpr int kProcesses = 3;
  RepeatingReducer(cuda::emulation::HostRuntime& runtime, Memory memory)
      : runtime_(runtime), stream_(runtime.make_stream()), memory_(memory) {}
  [[nodiscard]] bool adds() const override { return true; }
  [[nodiscard]] Memory memory() const override { return memory_; }
  void all_reduce(const PassSums& sums) override {
    ++calls;
    EXPECT_EQ(sums.memory, memory_);
    EXPECT_EQ(sums.device, memory_ == Memory::kDevice ? runtime_.device() : -1);
    if (memory_ == Memory::kHost) {
      for (double& number : sums.numbers) number *= kProcesses;
      return;
    }
    std::vector<double> numbers(sums.numbers.size());
    runtime_.copy_out(numbers.data(), sums.numbers.data(), sums.numbers.size_bytes(), stream_);
    runtime_.synchronise(stream_);
    for (double& number : numbers) number *= kProcesses;
    runtime_.copy_in(sums.numbers.data(), numbers.data(), sums.numbers.size_bytes(), stream_);
    runtime_.synchronise(stream_);
  }
  int calls = 0;

 private:
  cuda::emulation::HostRuntime& runtime_;
  cuda::emulation::HostRuntime::Stream stream_;
  Memory memory_;
};

class DeviceBackendTest : public testing::RandomTest, public ::testing::WithParamInterface<bool> {
 protected:
  static BackendOptions options() {
    BackendOptions result;
    result.threads = 1;
    result.float64 = GetParam();
    // In float32 closer than by default: each solve takes over what the one before has left.
    if (!GetParam()) result.tolerance = 1e-6;
    return result;
  }
  /// Between losses, relative: what backends owe each other.
  static double allowed_difference() { return GetParam() ? 1e-8 : 1e-4; }
};

TEST_P(DeviceBackendTest, LossesAreThoseOfTheCpuAtEveryIteration) {
  const Coupled data = make_data(random);
  MatrixSource source = data.source(0);
  const auto cpu = make_cpu_backend(data.problem, options());
  const Outcome expected = fit(data, *cpu, source);
  MatrixSource rows = data.source(300);
  const auto device = testing::make_streamed(data.problem, options(), rows, {}, 1);
  const Outcome actual = fit(data, device->backend(), device->source());
  ASSERT_EQ(actual.losses.size(), expected.losses.size());
  const double allowed = allowed_difference();
  for (std::size_t i = 0; i < expected.losses.size(); ++i) {
    EXPECT_NEAR(actual.losses[i], expected.losses[i], allowed * expected.losses[i]) << i;
  }
  EXPECT_NEAR(actual.encoded_losses[0], expected.encoded_losses[0],
              allowed * expected.encoded_losses[0]);
}

TEST_P(DeviceBackendTest, BitsDoNotDependOnHowRowsComeToTheDevice) {
  const Coupled data = make_data(random);
  std::optional<Outcome> first;
  unsigned seed = 0;
  // Rows of the source's blocks, that stay, and that are uploaded together.
  for (const auto& [block_rows, resident, upload_rows] :
       {std::tuple<std::int64_t, std::int64_t, std::int64_t>{0, 1 << 20, 1024},
        {77, 0, 512},
        {300, 1100, 512},
        {1, 2700, 512}}) {
    MatrixSource rows = data.source(block_rows);
    const auto device = testing::make_streamed(
        data.problem, options(), rows,
        {.resident_bytes = resident * kRowBytes, .block_bytes = upload_rows * kRowBytes}, ++seed);
    const Outcome outcome = fit(data, device->backend(), device->source());
    if (!first) first = outcome;
    EXPECT_TRUE(testing::same_bits_of(outcome.losses, first->losses));
    EXPECT_TRUE(testing::same_bits_of(outcome.w, first->w));
    for (std::size_t v = 0; v < outcome.h.size(); ++v) {
      EXPECT_TRUE(testing::same_bits_of(outcome.h[v].values, first->h[v].values));
    }
  }
}

TEST_P(DeviceBackendTest, APassThatIsRepeatedIsGivenAsAGraphOfTheSameBits) {
  const Coupled data = make_data(random);
  std::vector<Outcome> outcomes;
  for (const bool graphs : {false, true}) {
    MatrixSource rows = data.source(0);
    BackendOptions with = options();
    with.graphs = graphs;
    const auto device = testing::make_streamed(data.problem, with, rows, {}, 1);
    outcomes.push_back(fit(data, device->backend(), device->source()));
    // The first pass brings the rows to where they stay, the second is recorded.
    EXPECT_EQ(device->runtime().captures(), graphs ? 1 : 0);
    EXPECT_EQ(device->runtime().replays(), graphs ? kIterations - 1 : 0);
    // Another fit on the same rows goes on with it, unless the products round.
    if (GetParam()) continue;
    AlsOptions rounded;
    rounded.max_iterations = 3;
    rounded.tolerance = 0;
    rounded.compute = Compute::kBFloat16;
    rounded.sum_of_squares = data.sum_of_squares();
    Reducer reducer;
    const FitResult result =
        als_fit(device->backend(), data.problem, device->source(), reducer, rounded);
    outcomes.back().losses.insert(outcomes.back().losses.end(), result.fits[0].losses.begin(),
                                  result.fits[0].losses.end());
    EXPECT_EQ(device->runtime().captures(), graphs ? 2 : 0);
    EXPECT_EQ(device->runtime().replays(), graphs ? kIterations + 1 : 0);
  }
  EXPECT_TRUE(testing::same_bits_of(outcomes[0].losses, outcomes[1].losses));
  EXPECT_TRUE(testing::same_bits_of(outcomes[0].w, outcomes[1].w));
  for (std::size_t v = 0; v < outcomes[0].h.size(); ++v) {
    EXPECT_TRUE(testing::same_bits_of(outcomes[0].h[v].values, outcomes[1].h[v].values));
  }
}

TEST_P(DeviceBackendTest, SumsAreAddedUpWhereTheReducerWantsThem) {
  const Coupled data = make_data(random);
  MatrixSource all = data.source(300);
  const auto single = testing::make_streamed(data.problem, options(), all, {}, 1);
  const Outcome expected = fit(data, single->backend(), single->source());
  std::vector<Outcome> outcomes;
  for (const Memory memory : {Memory::kHost, Memory::kDevice}) {
    MatrixSource rows = data.source(300);
    const auto device = testing::make_streamed(data.problem, options(), rows, {}, 1);
    RepeatingReducer reducer(device->runtime(), memory);
    outcomes.push_back(
        fit(data, device->backend(), device->source(), reducer, RepeatingReducer::kProcesses));
    EXPECT_EQ(reducer.calls, kIterations + 1);
    // The host has the sums of all processes, too.
    double c = 0;
    for (std::size_t i = 0; i < outcomes.back().w.size(); i += 3) {
      c += outcomes.back().w[i] * outcomes.back().w[i];
    }
    EXPECT_NEAR(device->backend().c(kEveryRow)[0], RepeatingReducer::kProcesses * c, 1e-5 * c);
  }
  // As many rows again change no factor, and rounding moves losses as between backends.
  for (std::size_t i = 0; i < expected.losses.size(); ++i) {
    EXPECT_NEAR(outcomes[0].losses[i], expected.losses[i],
                allowed_difference() * expected.losses[i]);
  }
  EXPECT_TRUE(testing::same_bits_of(outcomes[0].losses, outcomes[1].losses));
  EXPECT_TRUE(testing::same_bits_of(outcomes[0].encoded_losses, outcomes[1].encoded_losses));
  EXPECT_TRUE(testing::same_bits_of(outcomes[0].w, outcomes[1].w));
}

INSTANTIATE_TEST_SUITE_P(Types, DeviceBackendTest, ::testing::Bool(), testing::name_of_type);

}  // namespace
}  // namespace cofactor
