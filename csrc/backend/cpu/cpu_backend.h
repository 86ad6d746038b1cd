#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/dispatch.h"
#include "backend/cpu/tiling.h"
#include "core/aligned_buffer.h"
#include "core/thread_pool.h"

namespace cofactor::cpu {

/// Where each sum lies in the one array that processes add up.
class SumLayout {
 public:
  explicit SumLayout(const Problem& problem);
  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] std::int64_t row_sums(int fit) const { return std::int64_t{2} * fit; }
  [[nodiscard]] std::int64_t residual(int fit, int view) const {
    return residual_ + std::int64_t{fit} * num_views_ + view;
  }
  [[nodiscard]] std::int64_t c(int index) const { return c_ + index * c_size_; }
  [[nodiscard]] std::int64_t s(int view) const { return s_[static_cast<std::size_t>(view)]; }

 private:
  int num_views_;
  std::int64_t c_size_;
  std::int64_t residual_;
  std::int64_t c_;
  std::vector<std::int64_t> s_;
  std::int64_t size_;
};

/// Gram matrix of one small problem, scaled to unit diagonal for the non-negative solver.
template <class T>
struct ScaledGram {
  int k = 0;
  std::vector<T> gram;
  std::vector<T> inv_sqrt_diag;
  std::vector<double> exact;  ///< the scaled matrix in float64
  /// From row-major numbers at stride `ld`, with `ridge` added to the diagonal.
  void assign(const double* matrix, std::int64_t ld, int rank, double ridge);
};

template <class T>
class CpuBackend final : public Backend {
 public:
  CpuBackend(Problem problem, BackendOptions options);

  void set_input(int view, const double* h) override;
  void get_factor(Factor factor, int view, double* h) const override;
  void begin_pass(PassMode mode) override;
  void process(const Block& block, void* w_out) override;
  std::span<double> end_pass() override;
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
  [[nodiscard]] int compute_size() const override { return sizeof(T); }

 private:
  /// Factors of one view: K rows, zero-filled to a multiple of kColumnAlign.
  struct ViewState {
    std::int64_t columns = 0;
    std::int64_t stride = 0;
    std::int64_t project_chunks = 0;
    std::int64_t sum_chunks = 0;
    AlignedBuffer<T> input, solved, previous;
    /// w_v * scale * input, by column chunk: chunk c holds K rows of kProjectColumns numbers.
    AlignedBuffer<T> scaled;
    /// Sums of the open panel where a block ended inside one, in chunks of kAccumulateColumns.
    AlignedBuffer<T> open_panel;
    [[nodiscard]] const AlignedBuffer<T>& factor(Factor which) const;
  };
  /// Consecutive rows of one panel.
  struct Segment {
    std::int64_t first;  ///< row in the group
    std::int64_t rows;
    std::int64_t offset;  ///< row in the panel
  };
  struct Scratch {
    AlignedBuffer<T> packed, sums, tile, nnls;
    std::vector<unsigned char> unfinished;
  };

  void process_group(const Block& block, std::int64_t first, std::int64_t rows, std::byte* w_out);
  void solve_rows(const Block& block, std::int64_t first, std::int64_t i0, std::int64_t i1,
                  int thread);
  void sum_residual(const Block& block, std::int64_t first, std::int64_t i0, std::int64_t i1,
                    int thread);
  void sum_columns(const Block& block, std::int64_t first, const std::vector<Segment>& segments,
                   std::int64_t task, int thread);
  void close_panel(std::int64_t chunk, const T* tile, double* sums, std::int64_t columns,
                   double scale) const;
  /// Converts a tile to the compute type, with rows `stride` numbers apart.
  void pack_rows(const MatrixView& rows, std::int64_t i0, std::int64_t i1, std::int64_t column,
                 std::int64_t n, T* packed, std::int64_t stride) const;
  [[nodiscard]] StoredRows<T> stored_rows(const MatrixView& rows, std::int64_t first,
                                          std::int64_t column) const;
  void scan_rows(const MatrixView& data, std::int64_t i0, std::int64_t i1, RowStats* by_row,
                 int thread) const;
  /// Solves columns that share a Gram matrix, all of them to the tolerance; fills in what `args`
  /// takes from the matrix and the options.
  void solve_columns(NnlsArgs<T> args, const ScaledGram<T>& gram, int thread) const;
  /// H_v H_v^T of one fit, in float64.
  void gram_of(const ViewState& state, Factor which, int fit, double* out) const;
  void run(std::int64_t count, const ThreadPool::Task& task) const;
  void check_interrupt(int thread) const;

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
  SumLayout layout_;
  int k_;
  std::vector<int> fit_begin_;
  std::vector<ViewState> views_;
  /// W as the data of one more view: its second product with itself is C.
  ViewState w_view_;
  std::vector<std::vector<double>> grams_;
  std::vector<ScaledGram<T>> scaled_grams_;
  AlignedBuffer<double> sums_;

  PassMode mode_ = PassMode::kFit;
  std::int64_t next_row_ = 0;
  std::int64_t open_rows_ = 0;

  std::int64_t tile_rows_;
  std::int64_t group_rows_;
  std::int64_t group_stride_;
  AlignedBuffer<T> b_, w_;   ///< K x group rows
  AlignedBuffer<T> w_rows_;  ///< group rows x K, rows zero-filled to a multiple of kColumnAlign
  AlignedBuffer<double> row_values_;  ///< by group row: fits x (2 row sums, one residual a view)

  mutable ThreadPool pool_;
  mutable std::vector<Scratch> scratch_;
  mutable std::chrono::steady_clock::time_point last_check_;
};

}  // namespace cofactor::cpu
