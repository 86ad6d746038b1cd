// The emulated device itself: what it must catch.

#include "backend/cuda/emulation/host_runtime.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <stdexcept>
#include <utility>

namespace cofactor::cuda::emulation {
namespace {

TEST(HostRuntimeTest, StreamsKeepTheirOwnOrderAndEventsTheOthers) {
  std::set<std::pair<int, int>> without, with;
  for (unsigned seed = 0; seed < 50; ++seed) {
    HostRuntime runtime(1 << 20, seed);
    auto first = runtime.make_stream(), second = runtime.make_stream();
    auto event = runtime.make_event();
    const DeviceArray<HostRuntime, int> memory(runtime, 1);
    const auto write = [&](int value, auto& stream) {
      runtime.copy_in(memory.data(), &value, sizeof(int), stream);
    };
    int seen[2];
    for (const bool waits : {false, true}) {
      write(1, first);
      write(2, first);
      runtime.record(event, first);
      if (waits) runtime.wait(second, event);
      runtime.copy_out(&seen[0], memory.data(), sizeof(int), second);
      runtime.copy_out(&seen[1], memory.data(), sizeof(int), second);
      runtime.synchronise(second);
      (waits ? with : without).emplace(seen[0], seen[1]);
      runtime.synchronise(first);
      write(0, first);
      runtime.synchronise(first);
    }
  }
  EXPECT_EQ(with, (std::set<std::pair<int, int>>{{2, 2}}));
  EXPECT_GT(without.size(), 3U);
  EXPECT_TRUE(without.contains({1, 2}));
  EXPECT_FALSE(without.contains({2, 1}));
}

TEST(HostRuntimeTest, AGraphRunsWhenItIsReplayedAndHoldsAddresses) {
  int seen = 0;  // is written to as long as the runtime has work
  HostRuntime runtime;
  const DeviceArray<HostRuntime, int> from(runtime, 1), to(runtime, 1);
  const auto write = [&](int value) {
    runtime.copy_in(from.data(), &value, sizeof(int), runtime.compute());
  };
  const auto read = [&] {
    runtime.copy_out(&seen, to.data(), sizeof(int), runtime.compute());
    runtime.synchronise(runtime.compute());
    return seen;
  };
  runtime.clear(to.data(), sizeof(int), runtime.compute());
  write(1);
  const auto copying = [&] {
    runtime.copy(to.data(), from.data(), sizeof(int), runtime.compute());
  };
  {
    const auto graph = runtime.capture(copying);
    EXPECT_EQ(read(), 0);
    for (const int value : {2, 3}) {
      write(value);
      runtime.replay(graph, runtime.compute());
      EXPECT_EQ(read(), value);
    }
    runtime.replay(graph, runtime.compute());
  }
  EXPECT_THROW(read(), std::logic_error) << "a graph has gone before it ran";
  auto other = runtime.make_stream();
  const auto forbidden = {
      std::function<void()>([&] { runtime.synchronise(runtime.compute()); }),
      std::function<void()>([&] { write(1); }),
      std::function<void()>([&] { static_cast<void>(runtime.allocate(1)); }),
      std::function<void()>([&] { runtime.clear(to.data(), sizeof(int), other); }),
  };
  for (const auto& work : forbidden) {
    EXPECT_THROW(static_cast<void>(runtime.capture(work)), std::logic_error);
  }
}

TEST(HostRuntimeTest, PinnedMemoryIsReadWhenTheCopyRuns) {
  HostRuntime runtime;
  const DeviceArray<HostRuntime, int> memory(runtime, 1);
  const PinnedArray<HostRuntime, int> pinned(runtime, 1);
  int plain = 1, seen = 0;
  pinned.data()[0] = 1;
  runtime.copy_in(memory.data(), pinned.data(), sizeof(int), runtime.compute());
  pinned.data()[0] = 2;
  runtime.copy_out(&seen, memory.data(), sizeof(int), runtime.compute());
  runtime.synchronise(runtime.compute());
  EXPECT_EQ(seen, 2);
  runtime.copy_in(memory.data(), &plain, sizeof(int), runtime.compute());
  plain = 2;
  runtime.copy_out(&seen, memory.data(), sizeof(int), runtime.compute());
  EXPECT_EQ(seen, 2) << "a copy ran before anybody waited for it";
  runtime.synchronise(runtime.compute());
  EXPECT_EQ(seen, 1);
}

TEST(HostRuntimeTest, CopiesStayInsideAnAllocation) {
  HostRuntime runtime;
  const DeviceArray<HostRuntime, int> memory(runtime, 3);
  int host[4] = {};
  EXPECT_THROW(runtime.copy_in(memory.data(), host, 16, runtime.compute()), std::logic_error);
  EXPECT_THROW(runtime.copy_out(host, memory.data() + 1, 12, runtime.compute()), std::logic_error);
  EXPECT_THROW(runtime.copy_out(host, host, 4, runtime.compute()), std::logic_error);
}

TEST(HostRuntimeDeathTest, TheHostDoesNotReachTheDevice) {
  HostRuntime runtime;
  const DeviceArray<HostRuntime, int> memory(runtime, 3);
  EXPECT_DEATH(memory.data()[0] = 1, "");
  runtime.synchronise(runtime.compute());
  EXPECT_DEATH(memory.data()[0] = 1, "");
}

TEST(HostRuntimeTest, AWaitForNothingIsADeadlockOnlyIfSomethingIsAwaited) {
  HostRuntime runtime;
  auto other = runtime.make_stream();
  auto event = runtime.make_event();
  runtime.wait(runtime.compute(), event);
  runtime.synchronise(runtime.compute());
  runtime.record(event, other);
  runtime.wait(runtime.compute(), event);
  runtime.synchronise(runtime.compute());
}

}  // namespace
}  // namespace cofactor::cuda::emulation
