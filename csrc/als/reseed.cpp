#include "als/reseed.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <numeric>

#include "als/loss.h"

namespace cofactor {
namespace {

int first_component(const Problem& problem, int fit) {
  return std::accumulate(problem.ranks.begin(), problem.ranks.begin() + fit, 0);
}

/// Whether a component that no row has may be meant to be so, or is not free to take a row.
bool may_stay_dead(const Problem& problem) {
  return problem.l1_w > 0 || problem.l2_w > 0 || problem.unit_rows || problem.penalises_groups() ||
         problem.has_missing_views() ||
         std::any_of(problem.views.begin(), problem.views.end(), [](const ViewSpec& view) {
           return view.l1_h > 0 || view.l2_h > 0 || view.fixed;
         });
}

void for_each_block(BlockSource& source, const std::function<void(const Block&)>& visit) {
  source.rewind();
  Block block;
  while (source.next(block)) visit(block);
}

Block row_of(const Block& block, std::int64_t i) {
  Block row;
  row.first_row = block.first_row + i;
  row.rows = 1;
  for (const MatrixView& view : block.views) row.views.push_back(view.slice(i, 1));
  return row;
}

/// The rows x K numbers that a pass writes.
class RowOutput {
 public:
  RowOutput(Backend& backend, BlockSource& source, PassMode mode, int total_rank)
      : size_(static_cast<std::size_t>(backend.compute_size())),
        stride_(static_cast<std::size_t>(total_rank)),
        bytes_(static_cast<std::size_t>(source.rows()) * stride_ * size_) {
    backend.begin_pass(mode);
    for_each_block(source, [&](const Block& block) {
      backend.process(block,
                      bytes_.data() + static_cast<std::size_t>(block.first_row) * stride_ * size_);
    });
    backend.end_pass();
  }

  [[nodiscard]] double operator()(std::int64_t i, int r) const {
    const std::size_t at = static_cast<std::size_t>(i) * stride_ + static_cast<std::size_t>(r);
    if (size_ == sizeof(double)) return read<double>(at);
    return static_cast<double>(read<float>(at));
  }

 private:
  template <class T>
  [[nodiscard]] T read(std::size_t at) const {
    T value;
    std::memcpy(&value, bytes_.data() + at * sizeof(T), sizeof(T));
    return value;
  }

  std::size_t size_;
  std::size_t stride_;
  std::vector<std::byte> bytes_;
};

/// sum_v w_v ||X_v[i]||^2 of every row, times its weight.
std::vector<double> row_squares(Backend& backend, const Problem& problem, BlockSource& source) {
  std::vector<double> squares;
  for_each_block(source, [&](const Block& block) {
    for (std::int64_t i = 0; i < block.rows; ++i) {
      std::vector<ViewStats> stats(problem.views.size());
      backend.scan(row_of(block, i), stats);
      double square = 0.0;
      for (std::size_t v = 0; v < stats.size(); ++v) {
        square += problem.views[v].weight * stats[v].sum_of_squares;
      }
      squares.push_back(square);
    }
  });
  return squares;
}

/// At most `count` rows whose residual is more than rounding, the largest first.
std::vector<std::int64_t> worst_rows(Backend& backend, const Problem& problem, BlockSource& source,
                                     int fit, std::size_t count) {
  const int first = first_component(problem, fit);
  const int rank = problem.ranks[static_cast<std::size_t>(fit)];
  const RowOutput b(backend, source, PassMode::kLinear, problem.total_rank());
  const RowOutput w(backend, source, PassMode::kEncode, problem.total_rank());
  const auto gram = backend.gram(fit);
  std::vector<double> residuals = row_squares(backend, problem, source);
  // What the identity loses to cancellation, a hundredth of the loss that it is trusted with.
  const double rounding = 0.01 * identity_limit(backend.compute_size());
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < source.rows(); ++i) {
    double& residual = residuals[static_cast<std::size_t>(i)];
    const double least = rounding * residual;
    const double weight = problem.row_terms.weight_of(i);
    for (int r = 0; r < rank; ++r) {
      double model = 0.0;
      for (int l = 0; l < rank; ++l) {
        model += gram[static_cast<std::size_t>(r * rank + l)] * w(i, first + l);
      }
      residual += weight * w(i, first + r) * (model - 2.0 * b(i, first + r));
    }
    if (residual > least) rows.push_back(i);
  }
  // Of equal rows the first, so that the order is the same everywhere.
  std::stable_sort(rows.begin(), rows.end(), [&](std::int64_t i, std::int64_t j) {
    return residuals[static_cast<std::size_t>(i)] > residuals[static_cast<std::size_t>(j)];
  });
  rows.resize(std::min(rows.size(), count));
  return rows;
}

}  // namespace

std::vector<int> dead_components(const Backend& backend, const Problem& problem, int fit) {
  std::vector<int> dead;
  if (may_stay_dead(problem)) return dead;
  const auto c = backend.c(kEveryRow);
  const int first = first_component(problem, fit);
  const auto step = static_cast<std::size_t>(problem.total_rank()) + 1;
  for (int r = first; r < first + problem.ranks[static_cast<std::size_t>(fit)]; ++r) {
    if (c[static_cast<std::size_t>(r) * step] == 0.0) dead.push_back(r);
  }
  return dead;
}

Reseeding reseed(Backend& backend, const Problem& problem, BlockSource& source, int fit,
                 const std::vector<int>& dead) {
  const auto rows = worst_rows(backend, problem, source, fit, dead.size());
  for_each_block(source, [&](const Block& block) {
    for (std::size_t n = 0; n < rows.size(); ++n) {
      const std::int64_t i = rows[n] - block.first_row;
      if (i >= 0 && i < block.rows) backend.set_component(dead[n], row_of(block, i));
    }
  });
  // B, W and the squares of the rows; the rows themselves are read with little else.
  return {static_cast<int>(rows.size()), 3};
}

}  // namespace cofactor
