#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/dispatch.h"
#include "backend/cpu/nnls/solver.h"
#include "backend/cpu/tiling.h"
#include "backend/group_norms.h"
#include "backend/sum_layout.h"
#include "core/aligned_buffer.h"
#include "core/thread_pool.h"

namespace cofactor::cpu {

template <class T>
class CpuBackend final : public Backend {
 public:
  CpuBackend(Problem problem, BackendOptions options);

  void set_input(int view, const double* h) override;
  void set_previous(int view, const double* h) override;
  void get_factor(Factor factor, int view, double* h) const override;
  void set_component(int component, const Block& row) override;
  void keep(const std::vector<int>& fits) override;
  void set_group_norms(const double* norms) override;
  [[nodiscard]] std::span<const double> group_norms() const override { return norms_.current(); }
  void begin_pass(PassMode mode) override;
  void process(const Block& block, void* w_out) override;
  PassSums end_pass(Memory memory) override;
  void finish_pass() override;
  [[nodiscard]] std::vector<RowSums> row_sums() const override;
  [[nodiscard]] std::span<const double> c(int view) const override;
  [[nodiscard]] std::span<const double> s(int view) const override;
  [[nodiscard]] std::span<const double> gram(int fit) const override;
  void solve_h() override;
  [[nodiscard]] std::vector<std::vector<ViewTerms>> terms() const override;
  void advance(int fit, double momentum) override;
  void restore(int fit) override;
  void adopt_input() override;
  void scan(const Block& block, std::vector<ViewStats>& stats) override;
  void row_squares(const Block& block, double* squares) override;
  void copy_rows(const MatrixView& rows, void* to) const override;
  void set_precision(Precision precision) override;
  [[nodiscard]] int compute_size() const override { return sizeof(T); }

 private:
  /// Factors of one view: K rows, zero-filled to a multiple of kColumnAlign.
  struct ViewState {
    std::int64_t columns = 0;
    std::int64_t stride = 0;
    std::int64_t project_chunks = 0;
    std::int64_t sum_chunks = 0;
    AlignedBuffer<T> input, solved, previous;
    /// The input as the first product reads it: chunk c holds K rows of kProjectColumns numbers.
    AlignedBuffer<std::byte> packed;
    /// Sums of the open panel, in chunks of K rows of kAccumulateColumns.
    AlignedBuffer<T> panel;
    [[nodiscard]] const AlignedBuffer<T>& factor(Factor which) const;
  };
  /// Rows of a tile, in the order in which they are solved, that have the same views.
  struct Segment {
    std::int64_t first, count;
    std::int32_t pattern;
  };
  struct Scratch {
    AlignedBuffer<std::byte> product;
    AlignedBuffer<T> rows, factor, b, x, diagonal, columns;
    std::vector<int> order;  ///< rows of the tile as they are solved
    std::vector<Segment> segments;
    NnlsSolver<T> nnls;
    Scratch(Level level, double tolerance, int max_exchanges)
        : nnls(level, tolerance, max_exchanges) {}
  };
  /// What the second product needs of a group of rows after the first. A few groups are under way
  /// at a time, each in a slot of its own.
  struct Slot {
    AlignedBuffer<T> w;       ///< K x group rows; from the solves on each row times its weight
    AlignedBuffer<T> w_rows;  ///< group rows x K, rows zero-filled to a multiple of kColumnAlign
    AlignedBuffer<double> row_values;  ///< by row: fits x (2 row sums, one residual a view)
  };
  /// One group of rows of a block.
  struct Group {
    const Block& block;
    std::int64_t first;  ///< row in the block
    std::int64_t rows;
    std::int64_t panel_row;  ///< of the first row, counted from the start of its panel
    Slot& slot;
    std::byte* w_out;
  };

  /// Allocates all that depends on the ranks.
  void allocate();
  [[nodiscard]] Group group(const Block& block, std::int64_t index, void* w_out);
  /// Number of a group's row in the source.
  [[nodiscard]] static std::int64_t source_row(const Group& group, std::int64_t i) {
    return group.block.first_row + group.first + i;
  }
  void solve_rows(const Group& group, std::int64_t i0, std::int64_t i1, int thread);
  void project_rows(const Group& group, std::int64_t i0, std::int64_t i1, Scratch& scratch);
  /// Rows of a tile that lack a view, counted from i0.
  [[nodiscard]] std::vector<int> rows_without(int view, const Group& group, std::int64_t i0,
                                              std::int64_t i1) const;
  void order_rows(const Group& group, std::int64_t i0, std::int64_t i1, Scratch& scratch) const;
  void solve_tile(const Group& group, std::int64_t i0, std::int64_t i1, Scratch& scratch);
  void weigh_rows(const Group& group, std::int64_t i0, std::int64_t i1);
  void sum_group_squares(const Group& group);
  void set_group_diagonal();
  /// Of W in the last pass, by group and component.
  [[nodiscard]] const double* group_squares() const {
    return sums_.data() + layout_.group_squares();
  }
  void solve_unit_rows(int view, int fit);
  void sum_residual(const Group& group, std::int64_t i0, std::int64_t i1, int thread);
  void sum_rows(const Group& group);
  void sum_columns(const Group& group, std::int64_t chunk, int thread);
  void close_panel(const ViewState& state, std::int64_t chunk, double* sums, double scale) const;
  /// Second products of a group: those of the views' columns and those of W with itself.
  [[nodiscard]] std::int64_t sum_chunks() const;
  void scan_rows(const MatrixView& data, std::int64_t i0, std::int64_t i1, RowStats* by_row,
                 int thread) const;
  [[nodiscard]] StoredRows stored_rows(const MatrixView& rows, std::int64_t first,
                                       std::int64_t column) const;
  /// H_v H_v^T of one fit, in float64.
  void gram_of(const ViewState& state, Factor which, int fit, double* out) const;
  void run(std::int64_t count, const ThreadPool::Task& task) const;
  void check_interrupt(int thread) const;
  /// Throws Error unless the rows of a block can be read here.
  static void check_memory(const Block& block);
  void copy_in(const ViewState& state, const double* h, AlignedBuffer<T>& to) const;

  /// Numbers that a row contributes: two sums a fit, and a residual a fit and view.
  [[nodiscard]] std::int64_t row_value_count() const {
    return std::int64_t{problem_.num_fits()} * (2 + problem_.num_views());
  }
  [[nodiscard]] int first_component(int fit) const {
    return fit_begin_[static_cast<std::size_t>(fit)];
  }

  Problem problem_;
  BackendOptions options_;
  const Kernels<T>& kernels_;
  const Products<T>* products_ = &kernels_.exact;
  SumLayout layout_;
  int k_;
  std::vector<int> fit_begin_;
  std::vector<ViewState> views_;
  /// W as the data of more views: the second product with itself is C, of all rows and of those
  /// that have a view.
  std::vector<ViewState> w_views_;
  std::vector<std::vector<double>> grams_;
  /// By fit and by which views a row has.
  std::vector<std::vector<ScaledGram<T>>> scaled_grams_;
  GroupNorms norms_;
  AlignedBuffer<T> group_diagonal_;  ///< what they add to a row's problem, groups x K
  AlignedBuffer<double> sums_;

  PassMode mode_ = PassMode::kFit;
  std::int64_t next_row_ = 0;

  std::int64_t tile_rows_ = 0;
  std::int64_t group_rows_ = 0;
  std::int64_t group_stride_ = 0;
  int rank_block_ = 0;
  std::vector<Slot> slots_;

  mutable ThreadPool pool_;
  mutable std::vector<Scratch> scratch_;
  mutable std::chrono::steady_clock::time_point last_check_ = std::chrono::steady_clock::now();
};

}  // namespace cofactor::cpu
