#pragma once

#include <vector>

#include "als/block_source.h"
#include "als/reducer.h"
#include "backend/backend.h"
#include "core/problem.h"

namespace cofactor {

/// Components of one fit that no row used in the last pass: their diagonal of C is 0, and so is,
/// after the solve, their row of every H_v. An alternating method never brings them back.
/// Ascending; empty where a penalty may have asked for it.
[[nodiscard]] std::vector<int> dead_components(const Backend& backend, const Problem& problem,
                                               int fit);

struct Reseeding {
  int reseeded = 0;  ///< components that were given a row
  int passes = 0;    ///< reads of the data
};

/// Gives each of `dead` the row of largest residual, of all processes, under the input factors that
/// no other was given, as its input, solved and previous factor. The loss cannot rise: without the
/// component, W is what it was. Rows are ranked without their weights; those of weight 0, and those
/// that are fitted to within rounding, are not given.
Reseeding reseed(Backend& backend, const Problem& problem, BlockSource& source, Reducer& reducer,
                 int fit, const std::vector<int>& dead);

}  // namespace cofactor
