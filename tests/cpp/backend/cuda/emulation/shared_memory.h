#pragma once

// Shared memory that knows who touched it. Accesses of two threads to the same byte, one of them a
// write, need a sync between them: of the block, or of the warp if both are in one.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "backend/cuda/group.h"

namespace cofactor::cuda::emulation {

/// What the threads of a GPU could disagree on, or must not do.
class EmulationError : public std::logic_error {
  using std::logic_error::logic_error;
};

/// Who runs: a thread, all lanes of a warp, or all threads of the block.
struct Actor {
  static constexpr int kAll = -1;
  int thread = kAll;
  int warp = kAll;
};

/// Who runs now, while a kernel does.
inline thread_local const Actor* current_actor = nullptr;

class SharedMemory {
 public:
  SharedMemory(std::size_t bytes, int threads)
      : bytes_(bytes), cells_(bytes), warp_epochs_(static_cast<std::size_t>(threads / kWarpSize)) {}

  Actor actor;

  /// Forgets what a block wrote.
  void start_block() {
    ++block_epoch_;
    first_epoch_ = block_epoch_;
    carved_ = 0;
    std::fill(bytes_.begin(), bytes_.end(), std::byte{0xff});
  }
  void sync_block() { ++block_epoch_; }
  void sync_warp() { ++warp_epochs_[static_cast<std::size_t>(actor.warp)]; }

  std::size_t carve(std::size_t bytes) {
    const std::size_t begin = carved_;
    carved_ = (carved_ + bytes + 15) / 16 * 16;
    if (begin + bytes > bytes_.size()) {
      fail("the kernel takes more shared memory than the " + std::to_string(bytes_.size()) +
           " bytes that it was launched with");
    }
    return begin;
  }

  void read(std::size_t at, std::size_t size, void* to) {
    for (std::size_t i = at; i < at + size; ++i) note_read(cells_[i]);
    std::memcpy(to, bytes_.data() + at, size);
  }
  void write(std::size_t at, std::size_t size, const void* from) {
    if (actor.thread == Actor::kAll) fail("a write to shared memory by more than one thread");
    for (std::size_t i = at; i < at + size; ++i) note_write(cells_[i], false);
    std::memcpy(bytes_.data() + at, from, size);
  }
  /// The first half of an asynchronous write, until which finish() nobody may touch the bytes.
  void start_copy(std::size_t at, std::size_t size) {
    for (std::size_t i = at; i < at + size; ++i) note_write(cells_[i], true);
  }
  void finish_copy(std::size_t at, std::size_t size, const void* from, std::size_t count) {
    for (std::size_t i = at; i < at + size; ++i) {
      cells_[i].pending = false;
      note_write(cells_[i], false);
    }
    std::memset(bytes_.data() + at, 0, size);
    std::memcpy(bytes_.data() + at, from, count);
  }

  [[noreturn]] void fail(const std::string& what) const {
    std::string who = "all threads";
    if (actor.thread != Actor::kAll) {
      who = "thread " + std::to_string(actor.thread);
    } else if (actor.warp != Actor::kAll) {
      who = "warp " + std::to_string(actor.warp);
    }
    throw EmulationError(what + " (" + who + ")");
  }

 private:
  static constexpr int kNobody = -2;
  struct Access {
    int thread = kNobody;  ///< or Actor::kAll for several
    int warp = kNobody;    ///< or Actor::kAll for several
    std::uint64_t block_epoch = 0, warp_epoch = 0;
  };
  struct Cell {
    Access written, read;
    bool pending = false;
  };

  [[nodiscard]] std::uint64_t warp_epoch(int warp) const {
    return warp < 0 ? 0 : warp_epochs_[static_cast<std::size_t>(warp)];
  }
  [[nodiscard]] Access now() const {
    return {actor.thread, actor.warp, block_epoch_, warp_epoch(actor.warp)};
  }
  /// Whether nothing orders an access before what happens now.
  [[nodiscard]] bool races(const Access& before) const {
    if (before.block_epoch != block_epoch_) return false;
    if (before.thread >= 0 && before.thread == actor.thread) return false;
    const bool one_warp = before.warp >= 0 && before.warp == actor.warp;
    return !one_warp || before.warp_epoch == warp_epoch(actor.warp);
  }
  void note_read(Cell& cell) {
    if (cell.pending) fail("a read of shared memory that a copy may not have reached");
    if (cell.written.block_epoch < first_epoch_) {
      fail("a read of shared memory that was never written");
    }
    if (races(cell.written)) fail("a read of shared memory that another thread writes");
    Access& read = cell.read;
    if (!races(read)) {
      read = now();
      return;
    }
    // Another one reads too: remember both as several, of the warp if it is one.
    read.thread = Actor::kAll;
    if (read.warp != actor.warp) read.warp = Actor::kAll;
  }
  void note_write(Cell& cell, bool pending) {
    if (cell.pending) fail("a write to shared memory that a copy is on the way to");
    if (races(cell.written)) fail("a write to shared memory that another thread writes");
    if (races(cell.read)) fail("a write to shared memory that another thread reads");
    cell.written = now();
    cell.pending = pending;
  }

  std::vector<std::byte> bytes_;
  std::vector<Cell> cells_;
  std::vector<std::uint64_t> warp_epochs_;
  std::uint64_t block_epoch_ = 1, first_epoch_ = 1;
  std::size_t carved_ = 0;
};

/// One number of shared memory.
template <class T>
class SharedReference {
 public:
  SharedReference(SharedMemory& memory, std::size_t at) : memory_(memory), at_(at) {}
  SharedReference(const SharedReference&) = default;

  operator T() const {  // NOLINT(google-explicit-constructor)
    T value;
    memory_.read(at_, sizeof(T), &value);
    return value;
  }
  const SharedReference& operator=(const T& value) const {
    memory_.write(at_, sizeof(T), &value);
    return *this;
  }
  const SharedReference& operator=(const SharedReference& other) const {
    return *this = static_cast<T>(other);
  }
  const SharedReference& operator+=(const T& value) const {
    return *this = static_cast<T>(static_cast<T>(*this) + value);
  }
  const SharedReference& operator-=(const T& value) const {
    return *this = static_cast<T>(static_cast<T>(*this) - value);
  }
  const SharedReference& operator*=(const T& value) const {
    return *this = static_cast<T>(static_cast<T>(*this) * value);
  }

 private:
  SharedMemory& memory_;
  std::size_t at_;
};

/// A pointer into one array of shared memory, which it cannot leave.
template <class T>
class SharedPointer {
 public:
  SharedPointer() = default;
  SharedPointer(SharedMemory& memory, std::size_t begin, std::size_t end)
      : memory_(&memory), at_(static_cast<std::ptrdiff_t>(begin)), begin_(begin), end_(end) {}

  template <class I>
  SharedReference<T> operator[](I index) const {
    const SharedPointer to = *this + index;
    return {*memory_, to.check(sizeof(T), alignof(T))};
  }
  SharedReference<T> operator*() const { return (*this)[0]; }
  template <class I>
  SharedPointer operator+(I count) const {
    SharedPointer result = *this;
    result.at_ += static_cast<std::ptrdiff_t>(count) * static_cast<std::ptrdiff_t>(sizeof(T));
    return result;
  }
  template <class I>
  SharedPointer& operator+=(I count) {
    return *this = *this + count;
  }

  [[nodiscard]] SharedMemory& memory() const { return *memory_; }
  /// The offset of `size` bytes from here, which have to be inside the array and aligned.
  [[nodiscard]] std::size_t check(std::size_t size, std::size_t alignment) const {
    if (memory_ == nullptr) throw EmulationError("a null pointer to shared memory");
    if (at_ < static_cast<std::ptrdiff_t>(begin_) ||
        at_ + static_cast<std::ptrdiff_t>(size) > static_cast<std::ptrdiff_t>(end_)) {
      memory_->fail("an access " + std::to_string(at_ - static_cast<std::ptrdiff_t>(begin_)) +
                    " bytes from the start of a shared array of " + std::to_string(end_ - begin_) +
                    " bytes");
    }
    if (static_cast<std::size_t>(at_) % alignment != 0) {
      memory_->fail("an access to shared memory that is not aligned to " +
                    std::to_string(alignment) + " bytes");
    }
    return static_cast<std::size_t>(at_);
  }

 private:
  SharedMemory* memory_ = nullptr;
  std::ptrdiff_t at_ = 0;
  std::size_t begin_ = 0, end_ = 0;
};

template <class V, class T>
V load_vector(const SharedPointer<T>& from) {
  V value;
  from.memory().read(from.check(sizeof(V), alignof(V)), sizeof(V), &value);
  return value;
}
template <class V, class T>
void store_vector(const SharedPointer<T>& to, const V& value) {
  to.memory().write(to.check(sizeof(V), alignof(V)), sizeof(V), &value);
}

}  // namespace cofactor::cuda::emulation
