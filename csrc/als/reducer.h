#pragma once

#include <cstddef>
#include <vector>

#include "backend/backend.h"

namespace cofactor {

/// What the processes that share a fit tell each other. The default is a fit of one process, where
/// there is nothing to tell. All of them call the same functions in the same order.
class Reducer {
 public:
  using Bytes = std::vector<std::byte>;

  virtual ~Reducer() = default;
  /// Whether all_reduce does anything.
  [[nodiscard]] virtual bool adds() const { return false; }
  /// Where it would have the sums of a backend that computes on a device.
  [[nodiscard]] virtual Memory memory() const { return Memory::kHost; }
  /// Adds up the sums of a pass over all processes, in place, in one message. All receive the same
  /// bits, and on return they are there.
  virtual void all_reduce(const PassSums& /*sums*/) {}
  /// What every process passes, in the order of their rows.
  [[nodiscard]] virtual std::vector<Bytes> gather(const Bytes& own) { return {own}; }
};

}  // namespace cofactor
