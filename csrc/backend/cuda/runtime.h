#pragma once

// What the backend asks of a device. It is written against the concept of a runtime, which CUDA has
// (cuda_runtime.h) and the tests have on the CPU, where whatever is not ordered runs in any order.
// All calls that can fail throw Error, which names them:
//
// - Stream and Event, from make_stream() and make_event(): work on a stream runs in order. Both are
//   movable, and given back at their end.
// - activate(): an object for whose life calls of this thread mean the device.
// - allocate(bytes), release(p): memory of the device, of any content.
// - allocate_pinned(bytes), release_pinned(p): memory of the host that copies read and write while
//   the host goes on.
// - copy_in(to, from, bytes, stream): host to device. From other than pinned memory it may wait.
// - copy_out(to, from, bytes, stream): device to host, or to other memory of the device.
// - copy(to, from, bytes, stream): within the device.
// - copy_rows(to, to_stride, from, from_stride, row_bytes, rows, stream): the same row by row, with
//   strides in bytes; copy_rows_out(...): device to host.
// - clear(to, bytes, stream): zeros.
// - record(event, stream): the event is what the stream has been given so far.
// - wait(stream, event): what the stream is given from now on comes after the event.
// - synchronise(stream), synchronise(event): the calling thread waits.
// - elapsed(begin, end): seconds between two events that have been synchronised.
// - launch(grid, kernel, shared_bytes, stream): a kernel as group.h describes it.
// - capture(work): calls work(), and keeps the kernels, clears and copies within the device that
// this
//   gives to compute() as a Graph, in place of running them. work() gives, waits for, allocates and
//   releases nothing else. Other threads go on as ever.
// - replay(graph, stream): gives them all to the stream, with the addresses of then. The graph is
//   there until they have run.
// - compute(): the stream of all work on data, for whoever shares the device.
// - memory(), limits().

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace cofactor::cuda {

/// Thread blocks of a launch.
struct Grid {
  std::int64_t x = 1;
  std::int64_t y = 1;
};

/// Bytes of the device's memory.
struct MemoryInfo {
  std::int64_t free = 0;
  std::int64_t total = 0;
};

struct DeviceLimits {
  int multiprocessors = 1;
  std::int64_t l2_bytes = 0;
  std::int64_t shared_bytes = 0;  ///< that one thread block may have
};

/// What to tell the user where the device has too little memory.
[[nodiscard]] std::string out_of_memory_message(std::size_t asked, const MemoryInfo& info);

/// An array in the memory of a device. The runtime outlives it.
template <class Runtime, class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(Runtime& runtime, std::int64_t size) : runtime_(&runtime), size_(size) {
    if (size > 0) data_ = static_cast<T*>(runtime.allocate(bytes()));
  }
  ~DeviceArray() { release(); }
  DeviceArray(DeviceArray&& other) noexcept { swap(other); }
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    DeviceArray taken(std::move(other));
    swap(taken);
    return *this;
  }

  /// Has room for so many numbers, of any content.
  void reserve(Runtime& runtime, std::int64_t size) {
    if (size_ < size) *this = DeviceArray(runtime, size);
  }

  [[nodiscard]] T* data() const noexcept { return data_; }
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return static_cast<std::size_t>(size_) * sizeof(T);
  }

 private:
  void release() noexcept {
    if (data_ != nullptr) runtime_->release(data_);
  }
  void swap(DeviceArray& other) noexcept {
    std::swap(runtime_, other.runtime_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  Runtime* runtime_ = nullptr;
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

/// An array in pinned memory of the host.
template <class Runtime, class T>
class PinnedArray {
 public:
  PinnedArray() = default;
  PinnedArray(Runtime& runtime, std::int64_t size) : runtime_(&runtime), size_(size) {
    if (size > 0) {
      data_ = static_cast<T*>(runtime.allocate_pinned(static_cast<std::size_t>(size) * sizeof(T)));
    }
  }
  ~PinnedArray() {
    if (data_ != nullptr) runtime_->release_pinned(data_);
  }
  PinnedArray(PinnedArray&& other) noexcept { swap(other); }
  PinnedArray& operator=(PinnedArray&& other) noexcept {
    PinnedArray taken(std::move(other));
    swap(taken);
    return *this;
  }

  [[nodiscard]] T* data() const noexcept { return data_; }
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }

 private:
  void swap(PinnedArray& other) noexcept {
    std::swap(runtime_, other.runtime_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  Runtime* runtime_ = nullptr;
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace cofactor::cuda
