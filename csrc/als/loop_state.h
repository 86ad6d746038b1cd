#pragma once

#include <limits>
#include <string>
#include <vector>

#include "als/acceleration.h"

namespace cofactor {

/// What a fit learned, apart from its factors.
struct FitTrace {
  std::vector<double> losses;                    ///< relative, one an accepted pass
  std::vector<std::vector<double>> view_losses;  ///< by accepted pass and view
  std::vector<double> rejected_losses;           ///< of extrapolations that were taken back
  int iterations = 0;
  int reseeded = 0;         ///< components that died and were given a row of the data
  std::string stop_reason;  ///< "converged" or "max_iter"
};

/// Where one fit stands between two iterations, beside its factors.
struct FitState {
  Momentum momentum;
  double objective = std::numeric_limits<double>::infinity();
  bool extrapolated = false;
  bool done = false;
  bool slow = false;  ///< the last accepted pass gained too little for rounded operands
  /// Components that may still be re-seeded: as many as the fit has, so that data of lower rank,
  /// where they die again, does not keep it from ending.
  int reseeds_left = 0;
};

/// All that the next iteration reads, beside the input and the previous factors and the group norms
/// of the backend: a loop that goes on from here ends as if it had never stopped. Of all fits, also
/// of those that the backend no longer holds.
struct LoopState {
  int iterations = 0;
  int passes = 0;           ///< reads of the data
  bool may_switch = false;  ///< rounds its operands, and will stop that
  std::vector<FitState> fits;
  std::vector<FitTrace> traces;
};

}  // namespace cofactor
