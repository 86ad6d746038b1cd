#include "core/bus_guard.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>

namespace cofactor {

/// A guarded range, as the handler finds it: in a list that only grows, without locks.
struct BusGuard::Slot {
  std::atomic<std::byte*> begin{nullptr};  ///< null where the slot is free
  std::atomic<std::size_t> bytes{0};
  std::atomic<bool> struck{false};
  Slot* next = nullptr;
};

namespace {

std::atomic<BusGuard::Slot*> slots{nullptr};
static_assert(std::atomic<BusGuard::Slot*>::is_always_lock_free);
static_assert(std::atomic<std::size_t>::is_always_lock_free);

std::mutex guards_mutex;
std::size_t guards = 0;
struct sigaction previous_action;

/// Replaces the missing page and all that follows it by zeros. A file that is cut has none of them.
bool replace_pages(BusGuard::Slot& slot, std::uintptr_t at) {
  std::byte* const begin = slot.begin.load();
  const std::size_t bytes = slot.bytes.load();
  const std::uintptr_t before = at - reinterpret_cast<std::uintptr_t>(begin);
  if (begin == nullptr || before >= bytes) return false;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t from = before / page * page;
  const void* const zeros =
      mmap(begin + from, bytes - from, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (zeros == MAP_FAILED) return false;
  slot.struck.store(true);
  return true;
}

// Calls nothing but system calls, which a handler may. Its type is the system's.
// NOLINTNEXTLINE(misc-const-correctness)
void on_bus_error(int signal, siginfo_t* info, void* /*context*/) {
  const int saved = errno;
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  const bool faulted = info->si_code > 0;
  for (BusGuard::Slot* slot = slots.load(); faulted && slot != nullptr; slot = slot->next) {
    if (replace_pages(*slot, at)) {
      errno = saved;
      return;
    }
  }
  // Whoever was here before us decides: the access is repeated, the signal sent again.
  sigaction(signal, &previous_action, nullptr);
  if (!faulted) raise(signal);
  errno = saved;
}

bool is_ours(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == on_bus_error;
}

void install() {
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  struct sigaction current = {};
  sigaction(SIGBUS, nullptr, &current);
  if (is_ours(current)) return;
  sigaction(SIGBUS, &action, &previous_action);
}

void uninstall() {
  struct sigaction current = {};
  sigaction(SIGBUS, nullptr, &current);
  // A handler that came later may hand on to ours.
  if (is_ours(current)) sigaction(SIGBUS, &previous_action, nullptr);
}

}  // namespace

BusGuard::BusGuard(void* begin, std::size_t bytes) {
  const std::lock_guard lock(guards_mutex);
  slot_ = slots.load();
  while (slot_ != nullptr && slot_->begin.load() != nullptr) slot_ = slot_->next;
  if (slot_ == nullptr) {
    slot_ = new Slot;  // never freed: the handler may be looking
    slot_->next = slots.load();
    slots.store(slot_);
  }
  slot_->struck.store(false);
  slot_->bytes.store(bytes);
  slot_->begin.store(static_cast<std::byte*>(begin));
  if (guards++ == 0) install();
}

BusGuard::~BusGuard() {
  const std::lock_guard lock(guards_mutex);
  slot_->begin.store(nullptr);
  if (--guards == 0) uninstall();
}

bool BusGuard::struck() const noexcept { return slot_->struck.load(); }

}  // namespace cofactor
