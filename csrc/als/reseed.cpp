#include "als/reseed.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <utility>

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

Block row_of(const Block& block, std::int64_t i) {
  Block row;
  row.first_row = block.first_row + i;
  row.rows = 1;
  for (const MatrixView& view : block.views) row.views.push_back(view.slice(i, 1));
  return row;
}

/// Rows of K numbers that a pass over one block writes.
class RowOutput {
 public:
  RowOutput(Backend& backend, const Block& block, PassMode mode, int total_rank)
      : size_(static_cast<std::size_t>(backend.compute_size())),
        stride_(static_cast<std::size_t>(total_rank)),
        bytes_(static_cast<std::size_t>(block.rows) * stride_ * size_) {
    backend.begin_pass(mode);
    backend.process(block, bytes_.data());
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

/// A copy of one row, which outlives its block.
struct WorstRow {
  double residual = 0.0;
  Block row;
  std::vector<std::vector<std::byte>> values;

  WorstRow(const Backend& backend, double residual_, Block row_)
      : residual(residual_), row(std::move(row_)) {
    for (MatrixView& view : row.views) {
      values.emplace_back(static_cast<std::size_t>(view.columns) * size_of(view.dtype));
      backend.copy_rows(view, values.back().data());
      view.data = values.back().data();
      view.memory = Memory::kHost;
    }
  }
  [[nodiscard]] bool holds(const WorstRow& other) const { return values == other.values; }
  WorstRow(WorstRow&&) = default;
  WorstRow& operator=(WorstRow&&) = default;
};

/// At most `count` different rows of positive weight whose residual is more than rounding, the
/// largest first and of equal ones the first, so that the order is the same everywhere. A row that
/// counts twice is as good as two equal ones: neither ranks higher or is taken twice. One read.
std::vector<WorstRow> worst_rows(Backend& backend, const Problem& problem, BlockSource& source,
                                 int fit, std::size_t count) {
  const int first = first_component(problem, fit);
  const int rank = problem.ranks[static_cast<std::size_t>(fit)];
  // What the identity loses to cancellation, a hundredth of the loss that it is trusted with.
  const double rounding = 0.01 * identity_limit(backend.compute_size());
  std::vector<WorstRow> worst;
  Block block;
  source.rewind(0);
  while (source.next(block)) {
    const RowOutput b(backend, block, PassMode::kLinear, problem.total_rank());
    const RowOutput w(backend, block, PassMode::kEncode, problem.total_rank());
    const auto gram = backend.gram(fit);
    std::vector<double> squares(static_cast<std::size_t>(block.rows));
    backend.row_squares(block, squares.data());
    for (std::int64_t i = 0; i < block.rows; ++i) {
      Block row = row_of(block, i);
      if (!(problem.row_terms.weight_of(row.first_row) > 0)) continue;
      double residual = squares[static_cast<std::size_t>(i)];
      const double least = rounding * residual;
      for (int r = 0; r < rank; ++r) {
        double model = 0.0;
        for (int l = 0; l < rank; ++l) {
          model += gram[static_cast<std::size_t>(r * rank + l)] * w(i, first + l);
        }
        residual += w(i, first + r) * (model - 2.0 * b(i, first + r));
      }
      if (!(residual > least)) continue;
      if (worst.size() == count && !(residual > worst.back().residual)) continue;
      const auto at = std::upper_bound(
          worst.begin(), worst.end(), residual,
          [](double value, const WorstRow& other) { return value > other.residual; });
      WorstRow found(backend, residual, std::move(row));
      const bool known = std::any_of(worst.begin(), at, [&](const WorstRow& other) {
        return other.residual == residual && other.holds(found);
      });
      if (known) continue;
      worst.insert(at, std::move(found));
      if (worst.size() > count) worst.pop_back();
    }
  }
  return worst;
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
  for (std::size_t n = 0; n < rows.size(); ++n) backend.set_component(dead[n], rows[n].row);
  return {static_cast<int>(rows.size()), 1};
}

}  // namespace cofactor
