#pragma once

#include <unistd.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace cofactor {

/// Loads items 0 .. count - 1 in order on a thread of its own, a few ahead of whoever takes them.
template <class Item>
class Prefetcher {
 public:
  using Load = std::function<Item(std::int64_t)>;

  /// `ahead` items wait at most, beside the one being loaded.
  Prefetcher(std::int64_t count, int ahead, Load load) : state_(std::make_unique<State>()) {
    state_->count = count;
    state_->ahead = static_cast<std::size_t>(ahead);
    state_->load = std::move(load);
    state_->owner = getpid();
    try {
      state_->thread = std::thread([state = state_.get()] { state->run(); });
    } catch (const std::system_error&) {
      // The system gives no more threads: whoever takes an item loads it.
    }
  }
  ~Prefetcher() {
    if (state_->owner != getpid()) {
      // In a forked child the thread does not exist and cannot be joined: its memory is given up.
      [[maybe_unused]] const State* const leaked = state_.release();
      return;
    }
    if (!state_->thread.joinable()) return;
    {
      const std::lock_guard lock(state_->mutex);
      state_->stop = true;
    }
    state_->changed.notify_all();
    state_->thread.join();
  }
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// The next item; rethrows what loading it threw. Call at most `count` times.
  Item take() {
    State& state = *state_;
    if (!state.thread.joinable()) return state.load(state.taken++);
    std::unique_lock lock(state.mutex);
    state.changed.wait(lock, [&] { return !state.ready.empty() || state.error; });
    if (state.ready.empty()) std::rethrow_exception(state.error);
    Item item = std::move(state.ready.front());
    state.ready.pop_front();
    lock.unlock();
    state.changed.notify_all();
    return item;
  }

 private:
  struct State {
    std::int64_t count = 0;
    std::size_t ahead = 0;
    Load load;
    pid_t owner = 0;
    std::int64_t taken = 0;

    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Item> ready;
    std::exception_ptr error;
    bool stop = false;
    std::thread thread;

    void run() {
      for (std::int64_t i = 0; i < count; ++i) {
        {
          std::unique_lock lock(mutex);
          changed.wait(lock, [&] { return stop || ready.size() < ahead; });
          if (stop) return;
        }
        try {
          Item item = load(i);
          const std::lock_guard lock(mutex);
          ready.push_back(std::move(item));
        } catch (...) {
          const std::lock_guard lock(mutex);
          error = std::current_exception();
          count = 0;
        }
        changed.notify_all();
      }
    }
  };
  std::unique_ptr<State> state_;
};

}  // namespace cofactor
