#include "core/thread_pool.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "testing.h"

#if defined(__SANITIZE_THREAD__)
// ThreadSanitizer cannot follow threads that a forked child starts.
#define COFACTOR_SKIP_FORKS() GTEST_SKIP() << "ThreadSanitizer does not support it"
#elif defined(COFACTOR_EMULATED)
// Nor can qemu-user 7: an assertion of its own fails in the child.
#define COFACTOR_SKIP_FORKS() GTEST_SKIP() << "the emulator does not support it"
#else
#define COFACTOR_SKIP_FORKS() static_cast<void>(0)
#endif

namespace cofactor {
namespace {

using testing::ScopedEnvironment;

/// Whether each of `count` tasks ran exactly once, on a thread that the pool has.
::testing::AssertionResult runs_each_once(ThreadPool& pool, std::int64_t count) {
  std::vector<std::atomic<int>> times(static_cast<std::size_t>(count));
  std::atomic<bool> bad_thread{false};
  pool.run(count, [&](std::int64_t task, int thread) {
    ++times[static_cast<std::size_t>(task)];
    if (thread < 0 || thread >= pool.size()) bad_thread = true;
  });
  if (bad_thread) return ::testing::AssertionFailure() << "a thread number is out of range";
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (times[i] != 1) {
      return ::testing::AssertionFailure() << "task " << i << " ran " << times[i] << " times";
    }
  }
  return ::testing::AssertionSuccess();
}

/// Runs `body` in a forked child, which must return true within a few seconds.
template <class Body>
bool succeeds_in_child(const Body& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    bool good = false;
    try {
      good = body();
    } catch (...) {
      good = false;
    }
    _exit(good ? 0 : 1);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

class ThreadPoolTest : public ::testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, RunsEveryTaskOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.size(), GetParam());
  for (const std::int64_t count : {0, 1, 2, 3, 5, 16, 1000}) {
    EXPECT_TRUE(runs_each_once(pool, count)) << count << " tasks";
  }
  EXPECT_TRUE(runs_each_once(pool, 1));
}

TEST_P(ThreadPoolTest, RunsNothingForNoTasks) {
  ThreadPool pool(GetParam());
  pool.run(-3, [](std::int64_t, int) { FAIL(); });
}

TEST_P(ThreadPoolTest, NoTwoTasksShareAThreadNumberAtOnce) {
  ThreadPool pool(GetParam());
  std::vector<std::atomic<int>> inside(static_cast<std::size_t>(GetParam()));
  std::atomic<bool> overlap{false};
  for (int repeat = 0; repeat < 50; ++repeat) {
    pool.run(64, [&](std::int64_t, int thread) {
      std::atomic<int>& mine = inside[static_cast<std::size_t>(thread)];
      if (++mine != 1) overlap = true;
      std::this_thread::yield();
      --mine;
    });
  }
  EXPECT_FALSE(overlap);
}

TEST_P(ThreadPoolTest, WhatTasksWroteIsVisibleAfterwards) {
  ThreadPool pool(GetParam());
  std::vector<std::int64_t> values(257);
  for (std::int64_t repeat = 1; repeat <= 100; ++repeat) {
    pool.run(257, [&](std::int64_t i, int) { values[static_cast<std::size_t>(i)] += i; });
    ASSERT_EQ(std::accumulate(values.begin(), values.end(), std::int64_t{0}),
              repeat * 256 * 257 / 2);
  }
}

TEST_P(ThreadPoolTest, ThreadZeroIsTheCaller) {
  ThreadPool pool(GetParam());
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> wrong{false};
  pool.run(200, [&](std::int64_t, int thread) {
    if ((thread == 0) != (std::this_thread::get_id() == caller)) wrong = true;
  });
  EXPECT_FALSE(wrong);
}

TEST_P(ThreadPoolTest, RethrowsAndWorksAgain) {
  ThreadPool pool(GetParam());
  for (int repeat = 0; repeat < 20; ++repeat) {
    for (const std::int64_t bad : {0, 1, 99}) {
      std::string text;
      try {
        pool.run(100, [&](std::int64_t task, int) {
          if (task == bad) throw std::runtime_error("task " + std::to_string(task));
        });
      } catch (const std::runtime_error& error) {
        text = error.what();
      }
      EXPECT_EQ(text, "task " + std::to_string(bad));
      EXPECT_TRUE(runs_each_once(pool, 100));
    }
  }
}

TEST_P(ThreadPoolTest, RethrowsOneOfManyExceptions) {
  ThreadPool pool(GetParam());
  EXPECT_THROW(pool.run(100, [](std::int64_t task, int) { throw task; }), std::int64_t);
  EXPECT_TRUE(runs_each_once(pool, 100));
}

TEST_P(ThreadPoolTest, KeepsNoExceptionAlive) {
  // It may hold objects of the caller, such as the frames of a Python traceback.
  ThreadPool pool(GetParam());
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  try {
    pool.run(4, [&](std::int64_t task, int) {
      if (task == 2) throw std::move(held);
    });
  } catch (const std::shared_ptr<int>&) {
  }
  EXPECT_TRUE(watch.expired());
}

TEST_P(ThreadPoolTest, WorksInAForkedChild) {
  COFACTOR_SKIP_FORKS();
  ThreadPool pool(GetParam());
  EXPECT_TRUE(runs_each_once(pool, 50));
  EXPECT_TRUE(succeeds_in_child(
      [&] { return bool(runs_each_once(pool, 50)) && bool(runs_each_once(pool, 3)); }));
  EXPECT_TRUE(runs_each_once(pool, 50));
}

TEST_P(ThreadPoolTest, CanBeDestroyedInAForkedChild) {
  COFACTOR_SKIP_FORKS();
  auto pool = std::make_unique<ThreadPool>(GetParam());
  EXPECT_TRUE(runs_each_once(*pool, 50));
  EXPECT_TRUE(succeeds_in_child([&] {
    pool.reset();
    return true;
  }));
  EXPECT_TRUE(succeeds_in_child([&] {
    const bool good = bool(runs_each_once(*pool, 50));
    pool.reset();
    return good;
  }));
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, ::testing::Values(1, 2, 3, 8));

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/// Bytes of address space in use.
rlim_t address_space() {
  std::ifstream file("/proc/self/statm");
  rlim_t pages = 0;
  file >> pages;
  return pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
}

TEST(ThreadPoolFailureTest, WorksAfterThreadsCouldNotStart) {
  EXPECT_TRUE(succeeds_in_child([] {
    ThreadPool pool(64);
    rlimit old{};
    getrlimit(RLIMIT_AS, &old);
    // Room for the stacks of a few threads only.
    const rlimit tight{address_space() + (rlim_t{40} << 20), old.rlim_max};
    setrlimit(RLIMIT_AS, &tight);
    try {
      pool.run(100, [](std::int64_t, int) {});
    } catch (const std::exception&) {
      // Either answer will do, as long as the pool is usable afterwards.
    }
    setrlimit(RLIMIT_AS, &old);
    return bool(runs_each_once(pool, 100)) && bool(runs_each_once(pool, 100));
  }));
}
#endif

TEST(DefaultThreadsTest, OwnVariableComesFirst) {
  const ScopedEnvironment own("COFACTOR_NUM_THREADS", "5");
  const ScopedEnvironment omp("OMP_NUM_THREADS", "3");
  EXPECT_EQ(default_threads(), 5);
  EXPECT_EQ(ThreadPool(0).size(), 5);
  EXPECT_EQ(ThreadPool(2).size(), 2);
}

TEST(DefaultThreadsTest, WhatWasSetComesBeforeTheEnvironment) {
  const ScopedEnvironment own("COFACTOR_NUM_THREADS", "5");
  set_default_threads(7);
  EXPECT_EQ(default_threads(), 7);
  EXPECT_EQ(ThreadPool(0).size(), 7);
  set_default_threads(0);
  EXPECT_EQ(default_threads(), 5);
}

TEST(DefaultThreadsTest, ThenOpenMpAndTheFirstOfItsList) {
  const ScopedEnvironment own("COFACTOR_NUM_THREADS", nullptr);
  for (const char* value : {"3", "3,2,1", " 3"}) {
    const ScopedEnvironment omp("OMP_NUM_THREADS", value);
    EXPECT_EQ(default_threads(), 3) << value;
  }
}

TEST(DefaultThreadsTest, WhatIsNoPositiveNumberIsSkipped) {
  const ScopedEnvironment omp("OMP_NUM_THREADS", "3");
  for (const char* value : {"", "0", "-2", "many"}) {
    const ScopedEnvironment own("COFACTOR_NUM_THREADS", value);
    EXPECT_EQ(default_threads(), 3) << value;
  }
}

TEST(DefaultThreadsTest, HugeNumbersAreLimited) {
  const ScopedEnvironment own("COFACTOR_NUM_THREADS", "99999999999999999999");
  EXPECT_GT(default_threads(), 0);
  EXPECT_LE(default_threads(), 1 << 16);
}

#ifdef __linux__
TEST(DefaultThreadsTest, WithoutVariablesAffinityLimits) {
  const ScopedEnvironment own("COFACTOR_NUM_THREADS", nullptr);
  const ScopedEnvironment omp("OMP_NUM_THREADS", nullptr);
  cpu_set_t old;
  ASSERT_EQ(sched_getaffinity(0, sizeof(old), &old), 0);
  EXPECT_GE(default_threads(), 1);
  EXPECT_LE(default_threads(), CPU_COUNT(&old));
  int first = 0;
  while (!CPU_ISSET(first, &old)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(default_threads(), 1);
  EXPECT_EQ(sched_setaffinity(0, sizeof(old), &old), 0);
}
#endif

}  // namespace
}  // namespace cofactor
