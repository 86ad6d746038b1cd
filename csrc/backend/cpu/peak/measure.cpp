#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "backend/cpu/peak/peak.h"
#include "core/aligned_buffer.h"
#include "core/simd_level.h"
#include "core/thread_pool.h"

namespace cofactor::cpu {
namespace {

/// A shared machine gives all it has only now and then: the best of these is the machine's.
constexpr int kRepeats = 5;
/// About 10 ms of a loop, against which waking the threads is nothing.
constexpr std::int64_t kRounds = std::int64_t{1} << 21;
/// Many times what a last-level cache leaves to one guest.
constexpr std::int64_t kReadBytes = std::int64_t{1} << 28;

PeakLoops loops_of(Level level) {
#ifdef COFACTOR_X86
  if (level >= Level::kAvx512) return peak_loops<Level::kAvx512>();
  if (level == Level::kAvx2) return peak_loops<Level::kAvx2>();
#elif defined(COFACTOR_ARM64)
  if (level == Level::kNeon) return peak_loops<Level::kNeon>();
#else
  static_cast<void>(level);
#endif
  return peak_loops<Level::kScalar>();
}

/// The loop for bfloat16, empty where the level or the machine has no unit for it.
ArithmeticLoop bfloat16_loop_of(Level level) {
#ifdef COFACTOR_X86
  if (level == Level::kAvx512BF16) return bfloat16_dot_loop();
#else
  static_cast<void>(level);
#endif
  return {};
}

/// Runs the task on all threads at once, a few times; returns the shortest time in seconds.
template <class Task>
double shortest(ThreadPool& pool, const Task& task) {
  double best = 0.0;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    pool.run(pool.size(), task);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    best = repeat == 0 ? taken.count() : std::min(best, taken.count());
  }
  return best;
}

double operations_per_second(ThreadPool& pool, const ArithmeticLoop& loop) {
  if (loop.run == nullptr) return 0.0;
  std::vector<float> sink(static_cast<std::size_t>(pool.size()));
  const double seconds = shortest(pool, [&](std::int64_t task, int) {
    sink[static_cast<std::size_t>(task)] = loop.run(kRounds);
  });
  return static_cast<double>(pool.size() * kRounds * loop.operations) / seconds;
}

double bytes_per_second(ThreadPool& pool, const PeakLoops& loops) {
  const std::int64_t steps = kReadBytes / static_cast<std::int64_t>(sizeof(float)) / kReadStep;
  const std::int64_t numbers = steps / pool.size() * kReadStep;
  const AlignedBuffer<float> data(static_cast<std::size_t>(numbers * pool.size()));
  std::vector<float> sink(static_cast<std::size_t>(pool.size()));
  const double seconds = shortest(pool, [&](std::int64_t task, int) {
    sink[static_cast<std::size_t>(task)] = loops.read(data.data() + task * numbers, numbers);
  });
  return static_cast<double>(data.size() * sizeof(float)) / seconds;
}

}  // namespace

MachinePeak measure_peak(int threads) {
  ThreadPool pool(threads);
  const Level level = active_level();
  const PeakLoops loops = loops_of(level);
  return {operations_per_second(pool, loops.multiply_add),
          operations_per_second(pool, bfloat16_loop_of(level)), bytes_per_second(pool, loops)};
}

}  // namespace cofactor::cpu
