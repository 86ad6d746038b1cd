#pragma once

// The loop of the library, for any device and any source of blocks.

#include <functional>
#include <string>
#include <vector>

#include "als/block_source.h"
#include "als/loop_state.h"
#include "als/reducer.h"
#include "als/row_sink.h"
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

/// What the products of a fit are computed in.
enum class Compute {
  kFull,      ///< the compute type
  kBFloat16,  ///< bfloat16 operands
  kAuto,      ///< bfloat16 operands while that lowers the objective well, then the compute type
};

struct AlsOptions {
  int max_iterations = 200;
  /// A fit stops when its objective falls by at most this fraction in one pass.
  double tolerance = 1e-4;
  bool extrapolate = true;
  Compute compute = Compute::kFull;
  /// Always compute the residual explicitly, one more read of the data a pass.
  bool verify = false;
  /// Compute no further passes for fits that have converged. `backend` then ends with what was
  /// left, and the factors of all fits are in the result.
  bool drop_finished = false;
  std::vector<double> sum_of_squares;  ///< ||X_v||^2 of every view
  std::function<void(const IterationInfo&)> progress;
  /// Called after each `checkpoint_every` iterations and after the last one, with a state to go on
  /// from; the factors that belong to it are the backend's input and previous ones, and its group
  /// norms. Not with `drop_finished`.
  std::function<void(const LoopState&)> checkpoint;
  int checkpoint_every = 1;
};

/// The factors of a fit that was taken out of a backend.
struct FitFactors {
  std::vector<std::vector<double>> h;  ///< by view, row-major
  std::vector<double> group_norms;     ///< groups x components
};

struct FitResult {
  std::vector<FitTrace> fits;
  int passes = 0;                   ///< reads of the data
  std::vector<FitFactors> factors;  ///< by fit, with `drop_finished`
};

/// Exact alternating least squares: one read of the data an iteration. The input factors of
/// `backend` are the start and, afterwards, the result. A `state` that a checkpoint was given goes
/// on from there, its previous factors and group norms beside its input factors.
FitResult als_fit(Backend& backend, const Problem& problem, BlockSource& source, Reducer& reducer,
                  const AlsOptions& options, LoopState state = {});

/// Iterations on rows that never come back. `past` holds the sums of the rows before them, as a
/// pass leaves them for the reducer, and receives those sums plus the new rows'; empty at first. It
/// is for one fit and takes `max_iterations` and `sum_of_squares`, of all rows so far, from
/// the options; the losses are of the W that each row was last solved with.
FitTrace als_online(Backend& backend, const Problem& problem, BlockSource& source, Reducer& reducer,
                    const AlsOptions& options, std::vector<double>& past);

struct EncodeResult {
  std::vector<double> losses;                    ///< relative, by fit
  std::vector<std::vector<double>> view_losses;  ///< by fit and view; empty unless `exact`
};

/// W for the input factors, one read of the data. `w`, if not null, receives rows of K numbers of
/// the compute type. With `exact` the residual is computed and not derived.
EncodeResult als_encode(Backend& backend, const Problem& problem, BlockSource& source,
                        Reducer& reducer, const std::vector<double>& sum_of_squares, bool exact,
                        RowSink* w);

/// A step of a power iteration with the input factors, one read: C = Y^T Y and S_v = Y^T X_v for
/// Y = sum_v w_v X_v H_v^T. `y` receives it and may be null.
void als_power(Backend& backend, BlockSource& source, Reducer& reducer, Precision precision,
               RowSink* y);

/// Statistics of every view, one read of the data.
std::vector<ViewStats> als_scan(Backend& backend, const Problem& problem, BlockSource& source);

}  // namespace cofactor
