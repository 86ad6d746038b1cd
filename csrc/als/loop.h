#pragma once

// The loop of the library, for any device and any source of blocks.

#include <functional>
#include <string>
#include <vector>

#include "als/block_source.h"
#include "als/reducer.h"
#include "backend/backend.h"
#include "core/problem.h"

namespace cofactor {

/// What the caller hears after every pass, for one fit.
struct IterationInfo {
  int fit = 0;
  int iteration = 0;  ///< from 1
  double loss = 0.0;  ///< relative
  bool accepted = true;
  double seconds = 0.0;  ///< of this pass
};

struct AlsOptions {
  int max_iterations = 200;
  /// A fit stops when its objective falls by at most this fraction in one pass.
  double tolerance = 1e-4;
  bool extrapolate = true;
  /// Always compute the residual explicitly, one more read of the data a pass.
  bool verify = false;
  std::vector<double> sum_of_squares;  ///< ||X_v||^2 of every view
  std::function<void(const IterationInfo&)> progress;
};

/// What a fit learned, apart from its factors.
struct FitTrace {
  std::vector<double> losses;           ///< relative, one an accepted pass
  std::vector<double> rejected_losses;  ///< of extrapolations that were taken back
  std::vector<double> view_losses;      ///< by view, after the last accepted pass
  int iterations = 0;
  std::string stop_reason;  ///< "converged" or "max_iter"
};

struct FitResult {
  std::vector<FitTrace> fits;
  int passes = 0;  ///< reads of the data
};

/// Exact alternating least squares: one read of the data an iteration. The input factors of
/// `backend` are the start and, afterwards, the result.
FitResult als_fit(Backend& backend, const Problem& problem, BlockSource& source, Reducer& reducer,
                  const AlsOptions& options);

struct EncodeResult {
  std::vector<double> losses;                    ///< relative, by fit
  std::vector<std::vector<double>> view_losses;  ///< by fit and view; empty unless `exact`
};

/// W for the input factors, one read of the data. `w` receives rows x K numbers of the compute
/// type. With `exact` the residual is computed and not derived.
EncodeResult als_encode(Backend& backend, const Problem& problem, BlockSource& source,
                        Reducer& reducer, const std::vector<double>& sum_of_squares, bool exact,
                        void* w);

/// One step of a power iteration with the input factors Q: Y = sum_v w_v X_v Q_v^T, sums C = Y^T Y
/// and S_v = Y^T X_v. `y` may be null.
void als_power(Backend& backend, const Problem& problem, BlockSource& source, Reducer& reducer,
               void* y);

/// Statistics of every view, one read of the data.
std::vector<ViewStats> als_scan(Backend& backend, const Problem& problem, BlockSource& source);

}  // namespace cofactor
