#pragma once

// The groups of backend/cuda/group.h on the CPU: every thread in turn, in a shuffled order that is
// the same every time.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <type_traits>
#include <vector>

#include "backend/cuda/emulation/shared_memory.h"

namespace cofactor::cuda::emulation {

/// What a block of threads and its warps share.
struct Context {
  Context(std::size_t shared_bytes, int threads) : shared(shared_bytes, threads) {
    current_actor = &shared.actor;
  }
  ~Context() { current_actor = nullptr; }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  struct Copy {
    std::size_t at, size;
    const void* from;
    std::size_t count;
    Actor actor;
  };
  SharedMemory shared;
  std::mt19937 random{12345};
  std::vector<Copy> open;                  ///< not committed yet
  std::vector<std::vector<Copy>> batches;  ///< under way, the oldest first

  void check_uniform(const char* what) const {
    if (shared.actor.thread != Actor::kAll) {
      shared.fail(std::string(what) + " inside a phase, where a thread is alone");
    }
  }
};

/// What each of kCount threads keeps, for itself alone. It holds NaN, or -1, before it is written.
template <class T, int kCount>
class PerMember {
 public:
  PerMember() : values_(kCount) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      std::memset(static_cast<void*>(values_.data()), 0xff, values_.size() * sizeof(Holder));
    }
  }
  T& operator[](int member) {
    check_own(member);
    return any(member);
  }
  const T& operator[](int member) const {
    check_own(member);
    return any(member);
  }
  /// For what a warp does together.
  T& any(int member) { return values_[static_cast<std::size_t>(member)].value; }
  const T& any(int member) const { return values_[static_cast<std::size_t>(member)].value; }

 private:
  struct Holder {
    T value;
  };
  static void check_own(int member) {
    const int thread = current_actor->thread;
    if (thread >= 0 && member == thread % kCount) return;
    throw EmulationError("thread " + std::to_string(thread) + " reaches for what thread " +
                         std::to_string(member) + " keeps");
  }
  std::vector<Holder> values_;
};

class HostWarp {
 public:
  template <class T>
  using PerLane = PerMember<T, kWarpSize>;

  HostWarp(Context& context, int index) : context_(context), index_(index) {}

  [[nodiscard]] int index() const { return index_; }
  [[nodiscard]] int thread(int lane) const { return index_ * kWarpSize + lane; }
  template <class F>
  void each(const F& f) const {
    uniform("a phase of a warp");
    std::array<int, kWarpSize> lanes;
    std::iota(lanes.begin(), lanes.end(), 0);
    std::shuffle(lanes.begin(), lanes.end(), context_.random);
    for (const int lane : lanes) {
      context_.shared.actor.thread = thread(lane);
      f(lane);
    }
    context_.shared.actor.thread = Actor::kAll;
  }
  void sync() {
    uniform("a sync of a warp");
    context_.shared.sync_warp();
  }

  template <class T>
  T sum(const PerLane<T>& x) const {
    return butterfly(x, [](T a, T b) { return a + b; });
  }
  template <class T>
  T max(const PerLane<T>& x) const {
    return butterfly(x, [](T a, T b) { return a < b ? b : a; });
  }
  [[nodiscard]] std::uint32_t ballot(const PerLane<bool>& p) const {
    uniform("a vote");
    std::uint32_t result = 0;
    for (int lane = 0; lane < kWarpSize; ++lane) result |= (p.any(lane) ? 1U : 0U) << lane;
    return result;
  }
  [[nodiscard]] bool any(const PerLane<bool>& p) const { return ballot(p) != 0; }
  template <class T>
  T broadcast(const PerLane<T>& x, int source) const {
    uniform("a broadcast");
    return x.any(source);
  }
  template <class T, class Source>
  PerLane<T> shuffle(const PerLane<T>& x, const Source& source) const {
    uniform("a shuffle");
    PerLane<T> result;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      // The source may depend on what the lane keeps.
      context_.shared.actor.thread = thread(lane);
      result.any(lane) = x.any(source(lane));
    }
    context_.shared.actor.thread = Actor::kAll;
    return result;
  }

  template <class E, class C, class A, class B>
  void mma(const C& acc, const A& a_of, const B& b_of) const {
    std::array<std::array<double, 16>, 16> a;
    std::array<std::array<double, 8>, 16> b;
    each([&](int lane) {
      const auto g = static_cast<std::size_t>(lane / 4), t = static_cast<std::size_t>(lane % 4);
      const FragmentA& from_a = a_of(lane);
      const FragmentB& from_b = b_of(lane);
      for (std::size_t e = 0; e < 2; ++e) {
        for (std::size_t part = 0; part < 4; ++part) {
          a[g + 8 * (part % 2)][2 * t + 8 * (part / 2) + e] = half<E>(from_a.x[part], e);
        }
        for (std::size_t part = 0; part < 2; ++part) {
          b[2 * t + 8 * part + e][g] = half<E>(from_b.x[part], e);
        }
      }
    });
    each([&](int lane) {
      const auto g = static_cast<std::size_t>(lane / 4), t = static_cast<std::size_t>(lane % 4);
      FragmentC& c = acc(lane);
      for (std::size_t part = 0; part < 4; ++part) {
        double sum = static_cast<double>(c.x[part]);
        for (std::size_t l = 0; l < 16; ++l) {
          sum += a[g + 8 * (part / 2)][l] * b[l][2 * t + part % 2];
        }
        c.x[part] = static_cast<float>(sum);
      }
    });
  }

  template <class Out, class Row>
  void load_matrices(const Out& out, const Row& row) const {
    load_all_matrices(out, row, false);
  }
  template <class Out, class Row>
  void load_matrices_transposed(const Out& out, const Row& row) const {
    load_all_matrices(out, row, true);
  }

 private:
  void uniform(const char* what) const { context_.check_uniform(what); }
  template <class Out, class Row>
  void load_all_matrices(const Out& out, const Row& row, bool transposed) const {
    std::array<Words4, kWarpSize> rows;
    each([&](int lane) { rows[static_cast<std::size_t>(lane)] = load_vector<Words4>(row(lane)); });
    each([&](int lane) {
      const auto g = static_cast<std::size_t>(lane / 4), t = static_cast<std::size_t>(lane % 4);
      FragmentA& to = out(lane);
      for (std::size_t matrix = 0; matrix < 4; ++matrix) {
        const auto entry = [&](std::size_t major, std::size_t minor) {
          const std::size_t r = transposed ? minor : major, c = transposed ? major : minor;
          return (rows[matrix * 8 + r].x[c / 2] >> (16 * (c % 2))) & 0xffffU;
        };
        to.x[matrix] = entry(g, 2 * t) | (entry(g, 2 * t + 1) << 16);
      }
    });
  }
  template <class E>
  static double half(std::uint32_t word, std::size_t which) {
    return static_cast<double>(
        to_float(E{static_cast<std::uint16_t>((word >> (16 * which)) & 0xffffU)}));
  }
  template <class T, class Operation>
  T butterfly(const PerLane<T>& x, const Operation& operation) const {
    uniform("a reduction");
    std::array<T, kWarpSize> values;
    for (int lane = 0; lane < kWarpSize; ++lane)
      values[static_cast<std::size_t>(lane)] = x.any(lane);
    for (std::size_t distance = kWarpSize / 2; distance > 0; distance /= 2) {
      const std::array<T, kWarpSize> before = values;
      for (std::size_t lane = 0; lane < kWarpSize; ++lane) {
        values[lane] = operation(before[lane], before[lane ^ distance]);
      }
    }
    return values[0];
  }

  Context& context_;
  int index_;
};

template <int kThreads>
class HostBlock {
  static_assert(kThreads % kWarpSize == 0 && kThreads <= 1024);

 public:
  using Warp = HostWarp;
  template <class T>
  using Shared = SharedPointer<T>;
  template <class T>
  using PerThread = PerMember<T, kThreads>;

  HostBlock(Context& context, int x, int y) : context_(context), x_(x), y_(y) {
    context_.shared.start_block();
  }

  [[nodiscard]] int index() const { return x_; }
  [[nodiscard]] int index_y() const { return y_; }

  template <class T>
  SharedPointer<T> shared(int count) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    const std::size_t begin = context_.shared.carve(bytes);
    return {context_.shared, begin, begin + bytes};
  }
  template <class F>
  void each(const F& f) {
    context_.check_uniform("a phase");
    if (context_.shared.actor.warp != Actor::kAll) context_.shared.fail("a phase inside a warp");
    std::array<int, kThreads> threads;
    std::iota(threads.begin(), threads.end(), 0);
    std::shuffle(threads.begin(), threads.end(), context_.random);
    for (const int thread : threads) {
      context_.shared.actor = {thread, thread / kWarpSize};
      f(thread);
    }
    context_.shared.actor = {};
  }
  template <class F>
  void each_warp(const F& f) {
    context_.check_uniform("a phase of warps");
    std::array<int, kThreads / kWarpSize> warps;
    std::iota(warps.begin(), warps.end(), 0);
    std::shuffle(warps.begin(), warps.end(), context_.random);
    for (const int index : warps) {
      context_.shared.actor.warp = index;
      HostWarp warp(context_, index);
      f(warp);
    }
    context_.shared.actor = {};
  }
  void sync() {
    whole("a sync");
    context_.shared.sync_block();
  }

  template <int kBytes, class T>
  void copy_async(const SharedPointer<T>& to, const void* from, int bytes) {
    if (context_.shared.actor.thread == Actor::kAll) context_.shared.fail("a copy outside a phase");
    if (bytes < 0 || bytes > kBytes || reinterpret_cast<std::uintptr_t>(from) % kBytes != 0) {
      context_.shared.fail("a copy of " + std::to_string(bytes) +
                           " bytes, or from an address, that "
                           "does not suit one of " +
                           std::to_string(kBytes));
    }
    const std::size_t at = to.check(kBytes, kBytes);
    context_.shared.start_copy(at, kBytes);
    context_.open.push_back(
        {at, kBytes, from, static_cast<std::size_t>(bytes), context_.shared.actor});
  }
  void copy_commit() {
    whole("a commit");
    context_.batches.push_back(std::move(context_.open));
    context_.open.clear();
  }
  template <int kPending>
  void copy_wait() {
    whole("a wait");
    while (context_.batches.size() > kPending) {
      for (const Context::Copy& copy : context_.batches.front()) {
        context_.shared.actor = copy.actor;
        context_.shared.finish_copy(copy.at, copy.size, copy.from, copy.count);
      }
      context_.shared.actor = {};
      context_.batches.erase(context_.batches.begin());
    }
  }

 private:
  void whole(const char* what) const {
    context_.check_uniform(what);
    if (context_.shared.actor.warp != Actor::kAll) {
      context_.shared.fail(std::string(what) + " inside a warp");
    }
  }

  Context& context_;
  int x_, y_;
};

/// Most bytes of shared memory that a block has on the GPUs that are built for: 8.6 and 8.9 have
/// 99 KB, 8.0 has 163 KB, 9.0 and 10.0 have 227 KB.
inline constexpr std::size_t kMostSharedBytes = std::size_t{227} * 1024;

/// Runs a kernel over a grid, block by block in a shuffled order.
template <class Kernel>
void run_grid(const Kernel& kernel, std::int64_t x, std::int64_t y, std::size_t shared_bytes) {
  if (shared_bytes > kMostSharedBytes) {
    throw EmulationError(std::to_string(shared_bytes) +
                         " bytes of shared memory are more than any "
                         "GPU has for a block");
  }
  Context context(shared_bytes, Kernel::kThreads);
  std::vector<std::int64_t> blocks(static_cast<std::size_t>(x * y));
  std::iota(blocks.begin(), blocks.end(), 0);
  std::shuffle(blocks.begin(), blocks.end(), context.random);
  for (const std::int64_t index : blocks) {
    HostBlock<Kernel::kThreads> block(context, static_cast<int>(index % x),
                                      static_cast<int>(index / x));
    kernel(block);
    if (!context.open.empty()) context.shared.fail("a kernel ends with copies that nobody awaits");
    for (const auto& batch : context.batches) {
      if (!batch.empty()) context.shared.fail("a kernel ends with copies that nobody awaits");
    }
    context.batches.clear();
  }
}

}  // namespace cofactor::cuda::emulation
