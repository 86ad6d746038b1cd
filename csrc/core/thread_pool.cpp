#include "core/thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

namespace cofactor {
namespace {

int threads_from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return 0;
  // OMP_NUM_THREADS may be a list, one number a nesting level: the first is the outermost.
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  return end != text && value > 0 ? static_cast<int>(std::min(value, 4096L)) : 0;
}

int available_cpus() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// CPUs that cgroup v2 grants, or `fallback` where there is no quota.
int cgroup_cpus(int fallback) {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return fallback;
  const double cpus = std::strtod(quota.c_str(), nullptr) / period;
  return cpus > 0 ? std::clamp(static_cast<int>(std::lround(cpus)), 1, fallback) : fallback;
}

/// 0 where nothing was set.
std::atomic<int> set_threads{0};

}  // namespace

void set_default_threads(int threads) { set_threads.store(std::max(threads, 0)); }

int default_threads() {
  if (const int threads = set_threads.load(); threads > 0) return threads;
  for (const char* name : {"COFACTOR_NUM_THREADS", "OMP_NUM_THREADS"}) {
    if (const int threads = threads_from_environment(name); threads > 0) return threads;
  }
  return cgroup_cpus(available_cpus());
}

struct ThreadPool::Shared {
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable done;
  std::uint64_t generation = 0;
  bool stop = false;
  int busy = 0;

  const Task* task = nullptr;
  std::int64_t count = 0;
  std::atomic<std::int64_t> next{0};
  std::exception_ptr error;

  std::vector<std::thread> workers;
  pid_t owner = 0;

  void work(int thread) {
    try {
      for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
        (*task)(i, thread);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next.store(count, std::memory_order_relaxed);
    }
  }

  void loop(int thread) {
    std::uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return stop || generation != seen; });
        if (stop) return;
        seen = generation;
      }
      work(thread);
      const std::lock_guard lock(mutex);
      if (--busy == 0) done.notify_one();
    }
  }
};

namespace {

/// In a forked child the threads behind the handles live in the parent: nothing can be joined or
/// freed, so the memory is given up.
template <class T>
void forget(std::unique_ptr<T>& pointer) {
  [[maybe_unused]] const T* const leaked = pointer.release();
}

}  // namespace

ThreadPool::ThreadPool(int threads) : threads_(threads > 0 ? threads : default_threads()) {}

ThreadPool::~ThreadPool() {
  if (!shared_) return;
  if (shared_->owner != getpid()) {
    forget(shared_);
    return;
  }
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop = true;
  }
  shared_->wake.notify_all();
  for (std::thread& worker : shared_->workers) worker.join();
}

void ThreadPool::start() {
  if (shared_ && shared_->owner == getpid()) return;
  if (shared_) forget(shared_);
  shared_ = std::make_unique<Shared>();
  shared_->owner = getpid();
  shared_->workers.reserve(static_cast<std::size_t>(threads_));
  try {
    for (int thread = 1; thread < threads_; ++thread) {
      shared_->workers.emplace_back([shared = shared_.get(), thread] { shared->loop(thread); });
    }
  } catch (const std::system_error&) {
    // The system gives no more threads: those that started, and the caller's, do the work.
  }
}

void ThreadPool::run(std::int64_t count, const Task& task) {
  if (count <= 0) return;
  if (threads_ == 1 || count == 1) {
    for (std::int64_t i = 0; i < count; ++i) task(i, 0);
    return;
  }
  start();
  Shared& shared = *shared_;
  {
    const std::lock_guard lock(shared.mutex);
    shared.task = &task;
    shared.count = count;
    shared.next.store(0, std::memory_order_relaxed);
    shared.error = nullptr;
    shared.busy = static_cast<int>(shared.workers.size());
    ++shared.generation;
  }
  shared.wake.notify_all();
  shared.work(0);
  std::unique_lock lock(shared.mutex);
  shared.done.wait(lock, [&] { return shared.busy == 0; });
  if (const std::exception_ptr error = std::exchange(shared.error, nullptr)) {
    lock.unlock();
    std::rethrow_exception(error);
  }
}

}  // namespace cofactor
