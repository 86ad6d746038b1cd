#pragma once

// The runtime of backend/cuda/runtime.h on the CPU. Work is queued and run as late as it may be, in
// an order that is shuffled between streams and that events alone restrict, so that a wait that is
// missing shows in the results. The memory of this device cannot be touched by the host: it is
// unmapped but while work runs, ends at an unmapped page, and holds NaN before it is written.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "backend/cuda/emulation/host_group.h"
#include "backend/cuda/runtime.h"
#include "core/error.h"

namespace cofactor::cuda::emulation {

class HostRuntime {
  struct Queue {
    std::deque<std::function<void()>> work;
    std::deque<std::function<bool()>> ready;  ///< whether each may run
  };
  struct EventState {
    std::int64_t recorded = 0;  ///< calls of record()
    std::int64_t reached = 0;   ///< of which the streams got so far
  };

 public:
  class Stream {
   public:
    explicit Stream(std::shared_ptr<Queue> queue) : queue_(std::move(queue)) {}

   private:
    friend class HostRuntime;
    std::shared_ptr<Queue> queue_;
  };
  class Event {
   public:
    Event() : state_(std::make_shared<EventState>()) {}

   private:
    friend class HostRuntime;
    std::shared_ptr<EventState> state_;
  };
  class Graph {
   private:
    friend class HostRuntime;
    std::shared_ptr<std::vector<std::function<void()>>> work_ =
        std::make_shared<std::vector<std::function<void()>>>();
  };
  struct Activation {
    ~Activation() {}
  };

  /// A device of so many bytes.
  explicit HostRuntime(std::int64_t total = std::int64_t{1} << 40, unsigned seed = 1)
      : random_(seed), total_(total), compute_(make_stream()) {}
  ~HostRuntime() {
    for (const auto& [begin, memory] : device_) munmap(memory.base, memory.length);
  }
  HostRuntime(const HostRuntime&) = delete;
  HostRuntime& operator=(const HostRuntime&) = delete;

  [[nodiscard]] Stream make_stream() {
    streams_.push_back(std::make_shared<Queue>());
    return Stream(streams_.back());
  }
  [[nodiscard]] Event make_event() { return {}; }
  [[nodiscard]] Activation activate() const { return {}; }

  [[nodiscard]] void* allocate(std::size_t bytes) {
    forbid_capture("an allocation");
    if (static_cast<std::int64_t>(bytes) > total_ - used_) {
      throw Error(ErrorKind::kMemory, out_of_memory_message(bytes, memory()));
    }
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t rounded = round_up(bytes, std::size_t{16});
    Allocation memory{nullptr, round_up(rounded, page) + page, rounded, bytes};
    memory.base = mmap(nullptr, memory.length, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory.base == MAP_FAILED) throw std::bad_alloc();
    std::memset(memory.base, 0xff, memory.length - page);
    mprotect(memory.base, memory.length, PROT_NONE);
    std::byte* const begin = static_cast<std::byte*>(memory.base) + memory.length - page - rounded;
    device_.emplace(begin, memory);
    used_ += static_cast<std::int64_t>(bytes);
    return begin;
  }
  void release(void* memory) {
    forbid_capture("a release");
    finish();
    const auto found = device_.find(static_cast<std::byte*>(memory));
    used_ -= static_cast<std::int64_t>(found->second.bytes);
    munmap(found->second.base, found->second.length);
    device_.erase(found);
  }
  [[nodiscard]] void* allocate_pinned(std::size_t bytes) {
    auto memory = std::make_unique<std::byte[]>(bytes);
    std::byte* const begin = memory.get();
    pinned_.emplace(begin, Pinned{bytes, std::move(memory)});
    return begin;
  }
  void release_pinned(void* memory) {
    finish();
    pinned_.erase(static_cast<std::byte*>(memory));
  }

  void copy_in(void* to, const void* from, std::size_t bytes, Stream& stream) {
    if (bytes == 0) return;
    forbid_capture("a copy from the host");
    check_device(to, bytes);
    if (is_pinned(from)) {
      push(stream, [=] { std::memcpy(to, from, bytes); });
      return;
    }
    // CUDA has read it when the call returns.
    const auto* const begin = static_cast<const std::byte*>(from);
    push(stream, [=, taken = std::vector<std::byte>(begin, begin + bytes)] {
      std::memcpy(to, taken.data(), bytes);
    });
  }
  void copy_out(void* to, const void* from, std::size_t bytes, Stream& stream) {
    copy_rows_out(to, bytes, from, bytes, bytes, 1, stream);
  }
  void copy(void* to, const void* from, std::size_t bytes, Stream& stream) {
    copy_rows(to, bytes, from, bytes, bytes, 1, stream);
  }
  void copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride,
                 std::size_t row_bytes, std::int64_t rows, Stream& stream) {
    const auto count = static_cast<std::size_t>(rows);
    if (count == 0 || row_bytes == 0) return;
    check_device(to, (count - 1) * to_stride + row_bytes);
    check_device(from, (count - 1) * from_stride + row_bytes);
    push(stream, [=] { copy_lines(to, to_stride, from, from_stride, row_bytes, count); });
  }
  void copy_rows_out(void* to, std::size_t to_stride, const void* from, std::size_t from_stride,
                     std::size_t row_bytes, std::int64_t rows, Stream& stream) {
    const auto count = static_cast<std::size_t>(rows);
    if (count == 0 || row_bytes == 0) return;
    forbid_capture("a copy to the host");
    check_device(from, (count - 1) * from_stride + row_bytes);
    push(stream, [=] { copy_lines(to, to_stride, from, from_stride, row_bytes, count); });
  }
  void clear(void* to, std::size_t bytes, Stream& stream) {
    if (bytes == 0) return;
    check_device(to, bytes);
    push(stream, [=] { std::memset(to, 0, bytes); });
  }

  void record(Event& event, Stream& stream) {
    forbid_capture("an event");
    const auto state = event.state_;
    const std::int64_t number = ++state->recorded;
    push(stream, [=] { state->reached = number; });
  }
  void wait(Stream& stream, const Event& event) {
    forbid_capture("a wait of a stream");
    const auto state = event.state_;
    const std::int64_t number = state->recorded;
    stream.queue_->ready.emplace_back([=] { return state->reached >= number; });
    stream.queue_->work.emplace_back([] {});
  }
  void synchronise(Stream& stream) {
    const auto queue = stream.queue_;
    run_until([&] { return queue->work.empty(); });
  }
  void synchronise(const Event& event) {
    const auto state = event.state_;
    const std::int64_t number = state->recorded;
    run_until([&] { return state->reached >= number; });
  }
  /// No time passes here; equal times make equal choices.
  [[nodiscard]] double elapsed(const Event& /*begin*/, const Event& /*end*/) { return 1e-3; }

  template <class Kernel>
  void launch(const Grid& grid, const Kernel& kernel, std::size_t shared_bytes, Stream& stream) {
    if (grid.x < 1 || grid.y < 1 || grid.x > 0x7fffffff || grid.y > 65535) {
      throw std::logic_error("a grid of " + std::to_string(grid.x) + " x " +
                             std::to_string(grid.y) + " thread blocks");
    }
    push(stream, [=] { run_grid(kernel, grid.x, grid.y, shared_bytes); });
  }

  template <class Work>
  [[nodiscard]] Graph capture(const Work& work) {
    forbid_capture("another capture");
    Graph graph;
    captured_ = {compute_.queue_.get(), graph.work_.get()};
    try {
      work();
    } catch (...) {
      captured_ = {};
      throw;
    }
    captured_ = {};
    ++captures_;
    return graph;
  }
  void replay(const Graph& graph, Stream& stream) {
    push(stream, [kept = std::weak_ptr(graph.work_)] {
      const auto work = kept.lock();
      if (work == nullptr) throw std::logic_error("a graph has gone before it ran");
      for (const auto& piece : *work) piece();
    });
    ++replays_;
  }
  /// Graphs that were made, and that were given to a stream.
  [[nodiscard]] int captures() const { return captures_; }
  [[nodiscard]] int replays() const { return replays_; }

  [[nodiscard]] Stream& compute() noexcept { return compute_; }
  [[nodiscard]] MemoryInfo memory() const { return {total_ - used_, total_}; }
  [[nodiscard]] DeviceLimits limits() const {
    return {4, std::int64_t{1} << 20, static_cast<std::int64_t>(kMostSharedBytes)};
  }
  [[nodiscard]] int device() const { return 0; }
  /// Of memory of the device.
  [[nodiscard]] std::int64_t used() const { return used_; }

 private:
  struct Allocation {
    void* base;
    std::size_t length, rounded, bytes;
  };
  struct Pinned {
    std::size_t bytes;
    std::unique_ptr<std::byte[]> memory;
  };

  static void copy_lines(void* to, std::size_t to_stride, const void* from, std::size_t from_stride,
                         std::size_t row_bytes, std::size_t rows) {
    for (std::size_t i = 0; i < rows; ++i) {
      std::memcpy(static_cast<std::byte*>(to) + i * to_stride,
                  static_cast<const std::byte*>(from) + i * from_stride, row_bytes);
    }
  }

  template <class Work>
  void push(Stream& stream, Work work) {
    if (captured_.work != nullptr) {
      if (stream.queue_.get() != captured_.queue) forbid_capture("work on another stream");
      captured_.work->emplace_back(std::move(work));
      return;
    }
    stream.queue_->ready.emplace_back([] { return true; });
    stream.queue_->work.emplace_back(std::move(work));
  }

  void check_device(const void* memory, std::size_t bytes) const {
    const auto* const begin = static_cast<const std::byte*>(memory);
    auto found = device_.upper_bound(const_cast<std::byte*>(begin));
    if (found != device_.begin()) {
      --found;
      if (begin + bytes <= found->first + found->second.bytes) return;
    }
    throw std::logic_error("a copy from or to where the device has no memory");
  }
  [[nodiscard]] bool is_pinned(const void* memory) const {
    const auto* const begin = static_cast<const std::byte*>(memory);
    auto found = pinned_.upper_bound(const_cast<std::byte*>(begin));
    if (found == pinned_.begin()) return false;
    --found;
    return begin < found->first + found->second.bytes;
  }

  /// For as long as it lives, the memory of the device is there.
  class Mapped {
   public:
    explicit Mapped(const HostRuntime& runtime) : runtime_(runtime) {
      protect(PROT_READ | PROT_WRITE);
    }
    ~Mapped() { protect(PROT_NONE); }
    Mapped(const Mapped&) = delete;
    Mapped& operator=(const Mapped&) = delete;

   private:
    void protect(int how) const {
      const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
      for (const auto& [begin, memory] : runtime_.device_) {
        mprotect(memory.base, memory.length - page, how);
      }
    }
    const HostRuntime& runtime_;
  };

  void forbid_capture(const char* what) const {
    if (captured_.work != nullptr) throw std::logic_error(what + std::string(" in a capture"));
  }

  template <class Done>
  void run_until(const Done& done) {
    forbid_capture("a wait");
    if (done()) return;
    const Mapped mapped(*this);
    while (!done()) {
      if (!step()) throw std::logic_error("a stream waits for what nobody gives");
    }
  }
  /// All that was queued, as memory is given back after it. What fails has failed before, or shows
  /// in what is missing.
  void finish() noexcept {
    const Mapped mapped(*this);
    for (bool more = true; more;) {
      try {
        more = step();
      } catch (const std::exception&) {
        more = true;
      }
    }
  }
  /// Runs some piece of work that may run; false if there is none.
  bool step() {
    std::erase_if(streams_,
                  [](const auto& queue) { return queue.use_count() == 1 && queue->work.empty(); });
    std::vector<Queue*> able;
    for (const auto& queue : streams_) {
      if (!queue->work.empty() && queue->ready.front()()) able.push_back(queue.get());
    }
    if (able.empty()) return false;
    Queue& queue = *able[std::uniform_int_distribution<std::size_t>(0, able.size() - 1)(random_)];
    const auto work = std::move(queue.work.front());
    queue.work.pop_front();
    queue.ready.pop_front();
    work();
    return true;
  }

  /// The queue whose work is captured, and where it goes.
  struct Captured {
    Queue* queue = nullptr;
    std::vector<std::function<void()>>* work = nullptr;
  };

  Captured captured_;
  int captures_ = 0, replays_ = 0;
  std::mt19937 random_;
  std::int64_t total_;
  std::int64_t used_ = 0;
  std::vector<std::shared_ptr<Queue>> streams_;
  std::map<std::byte*, Allocation> device_;
  std::map<std::byte*, Pinned> pinned_;
  Stream compute_;
};

}  // namespace cofactor::cuda::emulation
