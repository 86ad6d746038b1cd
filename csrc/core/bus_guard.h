#pragma once

#include <atomic>
#include <cstddef>

namespace cofactor {

/// Mapped memory whose file may become shorter, or unreadable, while it is in use. Where a page is
/// gone the system sends SIGBUS, which ends a process: while a guard exists the pages from there on
/// turn into zeros instead, and the guard knows.
///
/// The handler is installed for as long as there are guards, and passes on what is not theirs.
class BusGuard {
 public:
  /// Both on page boundaries; the memory outlives the guard.
  BusGuard(void* begin, std::size_t bytes);
  ~BusGuard();
  BusGuard(const BusGuard&) = delete;
  BusGuard& operator=(const BusGuard&) = delete;

  /// Whether a page was missing when it was needed.
  [[nodiscard]] bool struck() const noexcept;

  struct Slot;

 private:
  Slot* slot_;
};

}  // namespace cofactor
