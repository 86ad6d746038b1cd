#include "als/loop.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>
#include <utility>

#include "als/loss.h"
#include "als/reseed.h"
#include "core/error.h"

namespace cofactor {
namespace {

void read_all(Backend& backend, BlockSource& source, Reducer& reducer, PassMode mode, RowSink* w) {
  backend.begin_pass(mode);
  source.rewind(0);
  Block block;
  while (source.next(block)) {
    backend.process(block, w == nullptr ? nullptr : w->begin(block.first_row, block.rows));
    if (w != nullptr) w->end();
  }
  if (reducer.adds()) reducer.all_reduce(backend.end_pass(reducer.memory()));
  backend.finish_pass();
}

double trace_c(const Backend& backend, const Problem& problem, int first, int rank) {
  const auto c = backend.c(kEveryRow);
  const auto k = static_cast<std::size_t>(problem.total_rank());
  double trace = 0.0;
  for (int r = first; r < first + rank; ++r) trace += c[static_cast<std::size_t>(r) * (k + 1)];
  return trace;
}

/// Below this relative decrease a pass, rounding the operands is no longer worth while: it moves
/// the objective by some 1e-6 of its value, and extrapolation amplifies that.
constexpr double kLeastRoundedGain = 1e-4;

/// The state before the first iteration.
LoopState fresh_state(const Problem& problem, const AlsOptions& options) {
  LoopState state;
  for (const int rank : problem.ranks) {
    state.fits.push_back({.momentum = Momentum(options.extrapolate), .reseeds_left = rank});
  }
  state.traces.resize(problem.ranks.size());
  state.may_switch = options.compute == Compute::kAuto && options.max_iterations > 1;
  return state;
}

bool all_done(const LoopState& state) {
  return std::all_of(state.fits.begin(), state.fits.end(),
                     [](const FitState& fit) { return fit.done; });
}

/// Losses of all fits after both half-steps of the pass just finished.
std::vector<Loss> losses_of_pass(Backend& backend, const Problem& problem, BlockSource& source,
                                 Reducer& reducer, const LossFunction& function, bool verify,
                                 int& passes) {
  const auto terms = backend.terms();
  const auto rows = backend.row_sums();
  std::vector<double> traces;
  std::vector<Loss> losses;
  bool trusted = !verify;
  int first = 0;
  for (std::size_t f = 0; f < terms.size(); ++f) {
    traces.push_back(trace_c(backend, problem, first, problem.ranks[f]));
    first += problem.ranks[f];
    losses.push_back(function.from_sums(terms[f], rows[f], traces[f]));
    trusted = trusted && losses[f].trusted;
  }
  if (trusted) return losses;
  read_all(backend, source, reducer, PassMode::kResidual, nullptr);
  ++passes;
  auto exact = terms;
  const auto after = backend.terms();
  for (std::size_t f = 0; f < terms.size(); ++f) {
    for (std::size_t v = 0; v < terms[f].size(); ++v) exact[f][v].residual = after[f][v].residual;
    losses[f] = function.from_residual(exact[f], rows[f], traces[f]);
  }
  return losses;
}

/// Numbers beyond the range of the compute type end in infinity or NaN, which no step can mend.
/// The products with H may leave it unnoticed by the loss, where the solver turns them into zeros.
void check_finite(const Loss& loss, const RowSums& rows, int compute_size) {
  if (std::isfinite(loss.objective) && std::isfinite(rows.cross)) return;
  throw Error(ErrorKind::kValue,
              "the loss is not finite: the values are too large for products in float" +
                  std::to_string(8 * compute_size) + "; rescale the views" +
                  (compute_size == 4 ? " or pass them in float64" : ""));
}

/// Accepts or rejects the pass for one fit and prepares its next input.
void take_step(Backend& backend, int fit, const Loss& loss, const AlsOptions& options,
               FitState& state, FitTrace& trace) {
  if (state.done) {
    backend.restore(fit);
    return;
  }
  ++trace.iterations;
  if (state.extrapolated && loss.objective > state.objective) {
    trace.rejected_losses.push_back(loss.relative);
    state.momentum.restart();
    state.extrapolated = false;
    backend.restore(fit);
    return;
  }
  const double decrease = state.objective - loss.objective;
  const bool converged = !trace.losses.empty() && decrease <= options.tolerance * state.objective;
  state.slow = !trace.losses.empty() && decrease <= kLeastRoundedGain * state.objective;
  state.objective = loss.objective;
  trace.losses.push_back(loss.relative);
  trace.view_losses.push_back(loss.by_view);
  const double factor = state.momentum.next();
  state.extrapolated = factor > 0.0;
  backend.advance(fit, factor);
  // tol = 0 asks for max_iter passes, as in scikit-learn.
  if (converged && options.tolerance > 0) {
    state.done = true;
    trace.stop_reason = "converged";
    backend.restore(fit);
  }
}

/// Brings dead components of a fit back after an accepted step: from its last solution, without
/// momentum, and even if it has just converged.
void revive(Backend& backend, const Problem& problem, BlockSource& source, Reducer& reducer,
            int fit, std::vector<int> dead, FitState& state, FitTrace& trace, int& passes) {
  dead.resize(std::min(dead.size(), static_cast<std::size_t>(state.reseeds_left)));
  if (dead.empty()) return;
  backend.restore(fit);
  state.momentum.restart();
  state.extrapolated = false;
  const Reseeding found = reseed(backend, problem, source, reducer, fit, dead);
  passes += found.passes;
  trace.reseeded += found.reseeded;
  // Where every row is fitted there is nothing to give, now or later.
  state.reseeds_left = found.reseeded > 0 ? state.reseeds_left - found.reseeded : 0;
  if (found.reseeded == 0) return;
  state.done = false;
  trace.stop_reason.clear();
}

/// Whether a fit that may choose goes on in the compute type: all of it has gained what bfloat16
/// gives, or only one pass is left.
bool ends_rounding(LoopState& state, bool one_left) {
  const bool all_slow = std::all_of(state.fits.begin(), state.fits.end(),
                                    [](const FitState& fit) { return fit.done || fit.slow; });
  if (!all_slow && !one_left) return false;
  for (std::size_t f = 0; f < state.fits.size(); ++f) {
    FitState& fit = state.fits[f];
    // A fit that was done stands at its last solution, and not at an extrapolation.
    if (fit.done) {
      fit.momentum.restart();
      fit.extrapolated = false;
    }
    fit.done = false;
    state.traces[f].stop_reason.clear();
  }
  return true;
}

/// The fits that a backend holds, which are those of the problem less the ones dropped.
struct LiveFits {
  explicit LiveFits(const Problem& whole) : problem(whole), numbers(whole.ranks.size()) {
    std::iota(numbers.begin(), numbers.end(), std::size_t{0});
  }
  Problem problem;
  std::vector<std::size_t> numbers;  ///< in the whole problem
};

/// Copies the input factors of one live fit.
FitFactors factors_of(const Backend& backend, const LiveFits& live, std::size_t fit) {
  FitFactors factors;
  const auto begin = std::accumulate(live.problem.ranks.begin(),
                                     live.problem.ranks.begin() + static_cast<std::ptrdiff_t>(fit),
                                     std::int64_t{0});
  const std::int64_t rank = live.problem.ranks[fit], total = live.problem.total_rank();
  for (int v = 0; v < live.problem.num_views(); ++v) {
    const std::int64_t columns = live.problem.views[static_cast<std::size_t>(v)].columns;
    std::vector<double> all(static_cast<std::size_t>(total * columns));
    backend.get_factor(Factor::kInput, v, all.data());
    const auto first = all.begin() + begin * columns;
    factors.h.emplace_back(first, first + rank * columns);
  }
  const std::span<const double> norms = backend.group_norms();
  for (std::int64_t at = begin; at < std::ssize(norms); at += total) {
    const auto first = norms.begin() + at;
    factors.group_norms.insert(factors.group_norms.end(), first, first + rank);
  }
  return factors;
}

/// Takes the fits that are done out of the backend; `factors` receives theirs.
void drop_finished(Backend& backend, const LoopState& state, LiveFits& live,
                   std::vector<FitFactors>& factors) {
  std::vector<int> kept, ranks;
  std::vector<std::size_t> numbers;
  for (std::size_t f = 0; f < live.numbers.size(); ++f) {
    const std::size_t number = live.numbers[f];
    if (state.fits[number].done) {
      factors[number] = factors_of(backend, live, f);
      continue;
    }
    kept.push_back(static_cast<int>(f));
    ranks.push_back(live.problem.ranks[f]);
    numbers.push_back(number);
  }
  if (kept.size() == live.numbers.size()) return;
  backend.keep(kept);
  live.problem.ranks = std::move(ranks);
  live.numbers = std::move(numbers);
}

}  // namespace

FitResult als_fit(Backend& backend, const Problem& problem, BlockSource& source, Reducer& reducer,
                  const AlsOptions& options, LoopState state) {
  const LossFunction function(problem, options.sum_of_squares, backend.compute_size());
  if (options.drop_finished && options.checkpoint) {
    throw Error(ErrorKind::kValue,
                "a checkpoint holds the factors of all fits; it does not go with dropping those "
                "that have finished");
  }
  if (state.fits.empty()) state = fresh_state(problem, options);
  std::vector<FitTrace>& traces = state.traces;
  LiveFits live(problem);
  std::vector<FitFactors> factors(options.drop_finished ? problem.ranks.size() : 0);
  const bool rounds = options.compute == Compute::kBFloat16 || state.may_switch;
  backend.set_precision(rounds ? Precision::kBFloat16 : Precision::kFull);
  while (state.iterations < options.max_iterations && !all_done(state)) {
    const int iteration = ++state.iterations;
    const auto start = std::chrono::steady_clock::now();
    read_all(backend, source, reducer, PassMode::kFit, nullptr);
    ++state.passes;
    backend.solve_h();
    std::vector<std::vector<int>> dead;  // asked for now, as more passes would overwrite C
    for (int f = 0; f < live.problem.num_fits(); ++f) {
      dead.push_back(dead_components(backend, live.problem, f));
    }
    const auto rows = backend.row_sums();
    const auto losses = losses_of_pass(backend, live.problem, source, reducer, function,
                                       options.verify, state.passes);
    for (std::size_t f = 0; f < live.numbers.size(); ++f) {
      FitState& fit = state.fits[live.numbers[f]];
      FitTrace& trace = traces[live.numbers[f]];
      check_finite(losses[f], rows[f], backend.compute_size());
      const bool was_done = fit.done;
      const std::size_t accepted = trace.losses.size();
      take_step(backend, static_cast<int>(f), losses[f], options, fit, trace);
      // A row that no later pass would fit is no result.
      if (trace.losses.size() == accepted || iteration == options.max_iterations) dead[f].clear();
      if (was_done || !options.progress) continue;
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      options.progress({static_cast<int>(live.numbers[f]), iteration, losses[f].relative,
                        trace.losses.size() > accepted, elapsed.count()});
    }
    for (std::size_t f = 0; f < live.numbers.size(); ++f) {
      const std::size_t number = live.numbers[f];
      revive(backend, live.problem, source, reducer, static_cast<int>(f), dead[f],
             state.fits[number], traces[number], state.passes);
    }
    if (state.may_switch && ends_rounding(state, iteration + 1 >= options.max_iterations)) {
      backend.set_precision(Precision::kFull);
      state.may_switch = false;
    }
    const bool last = iteration == options.max_iterations || all_done(state);
    if (options.checkpoint && (last || iteration % options.checkpoint_every == 0)) {
      options.checkpoint(state);
    }
    if (options.drop_finished && !last && !state.may_switch) {
      drop_finished(backend, state, live, factors);
    }
  }
  backend.set_precision(Precision::kFull);
  FitResult result{std::move(traces), state.passes, std::move(factors)};
  for (FitTrace& trace : result.fits) {
    if (trace.stop_reason.empty()) trace.stop_reason = "max_iter";
  }
  for (std::size_t f = 0; f < live.numbers.size(); ++f) {
    backend.restore(static_cast<int>(f));
    if (options.drop_finished) result.factors[live.numbers[f]] = factors_of(backend, live, f);
  }
  return result;
}

EncodeResult als_encode(Backend& backend, const Problem& problem, BlockSource& source,
                        Reducer& reducer, const std::vector<double>& sum_of_squares, bool exact,
                        RowSink* w) {
  const LossFunction function(problem, sum_of_squares, backend.compute_size());
  backend.set_precision(Precision::kFull);
  // Rows that lack views have a Gram matrix of their own each, and no common one gives the loss.
  exact = exact || problem.has_missing_views();
  if (exact) backend.adopt_input();
  read_all(backend, source, reducer, exact ? PassMode::kResidual : PassMode::kEncode, w);
  EncodeResult result;
  const auto rows = backend.row_sums();
  const auto terms = exact ? backend.terms() : std::vector<std::vector<ViewTerms>>{};
  const auto c = backend.c(kEveryRow);
  const auto k = static_cast<std::size_t>(problem.total_rank());
  std::size_t first = 0;
  for (std::size_t f = 0; f < problem.ranks.size(); ++f) {
    const auto rank = static_cast<std::size_t>(problem.ranks[f]);
    if (exact) {
      const Loss loss = function.from_residual(terms[f], rows[f], 0.0);
      result.losses.push_back(loss.relative);
      result.view_losses.push_back(loss.by_view);
    } else {
      const auto gram = backend.gram(static_cast<int>(f));
      double model = 0.0;
      for (std::size_t r = 0; r < rank; ++r) {
        for (std::size_t l = 0; l < rank; ++l) {
          model += gram[r * rank + l] * c[(first + r) * k + first + l];
        }
      }
      result.losses.push_back(function.from_rows(rows[f].cross, model));
      result.view_losses.emplace_back();
    }
    first += rank;
  }
  return result;
}

FitTrace als_online(Backend& backend, const Problem& problem, BlockSource& source, Reducer& reducer,
                    const AlsOptions& options, std::vector<double>& past) {
  class Accumulating final : public Reducer {
   public:
    Accumulating(Reducer& over_processes, const std::vector<double>& before)
        : inner(over_processes), past(before) {}
    [[nodiscard]] bool adds() const override { return true; }
    void all_reduce(const PassSums& sums) override {
      inner.all_reduce(sums);
      const std::span<double> numbers = sums.numbers;
      for (std::size_t i = 0; i < past.size(); ++i) numbers[i] += past[i];
      total.assign(numbers.begin(), numbers.end());
    }
    Reducer& inner;
    const std::vector<double>& past;
    std::vector<double> total;
  } accumulating(reducer, past);
  const LossFunction function(problem, options.sum_of_squares, backend.compute_size());
  backend.set_precision(Precision::kFull);
  FitTrace trace;
  for (int iteration = 1; iteration <= options.max_iterations; ++iteration) {
    read_all(backend, source, accumulating, PassMode::kFit, nullptr);
    backend.solve_h();
    const auto rows = backend.row_sums();
    const Loss loss = function.from_sums(backend.terms()[0], rows[0],
                                         trace_c(backend, problem, 0, problem.ranks[0]));
    check_finite(loss, rows[0], backend.compute_size());
    trace.losses.push_back(loss.relative);
    trace.view_losses.push_back(loss.by_view);
    ++trace.iterations;
    backend.advance(0, 0.0);
  }
  past = std::move(accumulating.total);
  return trace;
}

void als_power(Backend& backend, BlockSource& source, Reducer& reducer, Precision precision,
               RowSink* y) {
  backend.set_precision(precision);
  read_all(backend, source, reducer, PassMode::kLinear, y);
}

std::vector<ViewStats> als_scan(Backend& backend, const Problem& problem, BlockSource& source) {
  std::vector<ViewStats> stats(problem.views.size());
  source.rewind(0);
  Block block;
  while (source.next(block)) backend.scan(block, stats);
  return stats;
}

}  // namespace cofactor
