#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace cofactor {

/// Number of threads to use when the caller names none: what set_default_threads() was given, then
/// COFACTOR_NUM_THREADS, OMP_NUM_THREADS, then the CPUs that affinity and the cgroup quota leave to
/// this process.
[[nodiscard]] int default_threads();

/// Sets that number for pools to come; 0 takes the setting back.
void set_default_threads(int threads);

/// Threads that sleep between calls. Started on first use, and again in a forked child, which
/// inherits none of its parent's threads.
class ThreadPool {
 public:
  using Task = std::function<void(std::int64_t task, int thread)>;

  /// `threads` workers including the calling thread; 0 means default_threads().
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int size() const noexcept { return threads_; }

  /// Runs task(0, t) .. task(count - 1, t), each once, t < size() naming the thread. Returns when
  /// all are done; the first exception is rethrown here. Calls must not overlap.
  void run(std::int64_t count, const Task& task);

 private:
  struct Shared;
  void start();

  int threads_;
  std::unique_ptr<Shared> shared_;
};

}  // namespace cofactor
