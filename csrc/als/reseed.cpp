#include "als/reseed.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <span>
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

  WorstRow(const Backend& backend, double residual_, const Block& of) : residual(residual_) {
    for (const MatrixView& view : of.views) {
      values.emplace_back(static_cast<std::size_t>(view.columns) * size_of(view.dtype));
      backend.copy_rows(view, values.back().data());
      add_view(view.dtype, view.columns);
    }
  }
  /// Of what another process sent from `at` on, which is moved behind it.
  WorstRow(const Problem& problem, std::span<const std::byte>& at) {
    std::memcpy(&residual, at.data(), sizeof(residual));
    at = at.subspan(sizeof(residual));
    for (const ViewSpec& view : problem.views) {
      const auto bytes = static_cast<std::size_t>(view.columns) * size_of(view.dtype);
      values.emplace_back(at.begin(), at.begin() + static_cast<std::ptrdiff_t>(bytes));
      at = at.subspan(bytes);
      add_view(view.dtype, view.columns);
    }
  }
  [[nodiscard]] bool holds(const WorstRow& other) const { return values == other.values; }
  WorstRow(WorstRow&&) = default;
  WorstRow& operator=(WorstRow&&) = default;

 private:
  void add_view(DType dtype, std::int64_t columns) {
    row.rows = 1;
    row.views.push_back({values.back().data(), dtype, 1, columns, columns});
  }
};

/// At most `count` different rows of those offered, the largest residual first and of equal ones
/// the first, so that the order is the same everywhere.
class WorstRows {
 public:
  explicit WorstRows(std::size_t count) : count_(count) {}

  /// Whether a row of this residual may be one of them.
  [[nodiscard]] bool wants(double residual) const {
    return rows_.size() < count_ || residual > rows_.back().residual;
  }
  void offer(WorstRow row) {
    if (!wants(row.residual)) return;
    const auto at = std::upper_bound(
        rows_.begin(), rows_.end(), row.residual,
        [](double value, const WorstRow& other) { return value > other.residual; });
    const bool known = std::any_of(rows_.begin(), at, [&](const WorstRow& other) {
      return other.residual == row.residual && other.holds(row);
    });
    if (known) return;
    rows_.insert(at, std::move(row));
    if (rows_.size() > count_) rows_.pop_back();
  }

  /// Of every row the residual and the stored numbers.
  [[nodiscard]] Reducer::Bytes bytes() const {
    Reducer::Bytes result;
    for (const WorstRow& row : rows_) {
      const auto residual = std::as_bytes(std::span(&row.residual, 1));
      result.insert(result.end(), residual.begin(), residual.end());
      for (const auto& values : row.values) {
        result.insert(result.end(), values.begin(), values.end());
      }
    }
    return result;
  }
  /// Offers rows of another process.
  void offer_bytes(const Reducer::Bytes& bytes, const Problem& problem) {
    std::span<const std::byte> at = bytes;
    while (!at.empty()) offer(WorstRow(problem, at));
  }

  [[nodiscard]] const std::vector<WorstRow>& rows() const { return rows_; }

 private:
  std::size_t count_;
  std::vector<WorstRow> rows_;
};

/// At most `count` different rows of positive weight whose residual is more than rounding, of all
/// processes. A row that counts twice is as good as two equal ones: neither ranks higher or is
/// taken twice. One read.
WorstRows worst_rows(Backend& backend, const Problem& problem, BlockSource& source,
                     Reducer& reducer, int fit, std::size_t count) {
  const int first = first_component(problem, fit);
  const int rank = problem.ranks[static_cast<std::size_t>(fit)];
  // What the identity loses to cancellation, a hundredth of the loss that it is trusted with.
  const double rounding = 0.01 * identity_limit(backend.compute_size());
  WorstRows own(count);
  Block block;
  source.rewind(0);
  while (source.next(block)) {
    const RowOutput b(backend, block, PassMode::kLinear, problem.total_rank());
    const RowOutput w(backend, block, PassMode::kEncode, problem.total_rank());
    const auto gram = backend.gram(fit);
    std::vector<double> squares(static_cast<std::size_t>(block.rows));
    backend.row_squares(block, squares.data());
    for (std::int64_t i = 0; i < block.rows; ++i) {
      const Block row = row_of(block, i);
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
      if (residual > least && own.wants(residual)) own.offer(WorstRow(backend, residual, row));
    }
  }
  const std::vector<Reducer::Bytes> parts = reducer.gather(own.bytes());
  if (parts.size() == 1) return own;
  WorstRows all(count);
  for (const Reducer::Bytes& part : parts) all.offer_bytes(part, problem);
  return all;
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

Reseeding reseed(Backend& backend, const Problem& problem, BlockSource& source, Reducer& reducer,
                 int fit, const std::vector<int>& dead) {
  const WorstRows worst = worst_rows(backend, problem, source, reducer, fit, dead.size());
  const std::vector<WorstRow>& rows = worst.rows();
  for (std::size_t n = 0; n < rows.size(); ++n) backend.set_component(dead[n], rows[n].row);
  return {static_cast<int>(rows.size()), 1};
}

}  // namespace cofactor
