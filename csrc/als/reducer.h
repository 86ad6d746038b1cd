#pragma once

#include <span>

namespace cofactor {

/// Adds up the sums of a pass over the processes that share a fit: C, every S_v and the scalars,
/// in one message. The default is a fit of one process, where there is nothing to add.
class Reducer {
 public:
  virtual ~Reducer() = default;
  virtual void all_reduce(std::span<double> /*sums*/) {}
};

}  // namespace cofactor
