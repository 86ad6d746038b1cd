#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace cofactor {

/// What the processes that share a fit tell each other. The default is a fit of one process, where
/// there is nothing to tell. All of them call the same functions in the same order.
class Reducer {
 public:
  using Bytes = std::vector<std::byte>;

  virtual ~Reducer() = default;
  /// Whether all_reduce does anything: where it does not, a device keeps its sums.
  [[nodiscard]] virtual bool adds() const { return false; }
  /// Adds up the sums of a pass over all processes, in place: C, every S_v and the scalars, in one
  /// message. All receive the same bits.
  virtual void all_reduce(std::span<double> /*sums*/) {}
  /// What every process passes, in the order of their rows.
  [[nodiscard]] virtual std::vector<Bytes> gather(const Bytes& own) { return {own}; }
};

}  // namespace cofactor
