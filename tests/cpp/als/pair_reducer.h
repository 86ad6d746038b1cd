#pragma once

#include <algorithm>
#include <barrier>
#include <cstddef>
#include <span>
#include <vector>

#include "als/reducer.h"

namespace cofactor::testing {

/// Two threads that play processes.
class PairReducer final : public Reducer {
 public:
  struct Shared {
    std::barrier<> barrier{2};
    std::span<double> sums[2];
    Bytes bytes[2];
  };
  PairReducer(Shared& shared, int rank) : shared_(shared), rank_(rank) {}

  [[nodiscard]] bool adds() const override { return true; }
  void all_reduce(const PassSums& sums) override {
    shared_.sums[rank_] = sums.numbers;
    shared_.barrier.arrive_and_wait();
    std::vector<double> total(sums.numbers.size());
    for (std::size_t i = 0; i < total.size(); ++i) {
      total[i] = shared_.sums[0][i] + shared_.sums[1][i];
    }
    shared_.barrier.arrive_and_wait();
    std::copy(total.begin(), total.end(), sums.numbers.begin());
  }
  [[nodiscard]] std::vector<Bytes> gather(const Bytes& own) override {
    shared_.bytes[rank_] = own;
    shared_.barrier.arrive_and_wait();
    std::vector<Bytes> parts{shared_.bytes[0], shared_.bytes[1]};
    shared_.barrier.arrive_and_wait();
    return parts;
  }

 private:
  Shared& shared_;
  int rank_;
};

}  // namespace cofactor::testing
