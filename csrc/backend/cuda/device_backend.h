#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/chunk_choice.h"
#include "backend/cuda/kernels/unit_rows.h"
#include "backend/cuda/nnls_solver.h"
#include "backend/cuda/products.h"
#include "backend/cuda/recording.h"
#include "backend/cuda/runtime.h"
#include "backend/group_norms.h"
#include "backend/sum_layout.h"

namespace cofactor::cuda {

/// The backend on a device. Factors, sums and whatever a pass works on are in its memory; the host
/// gives it work on one stream and waits only for results that leave it.
///
/// A pass takes a chunk of rows through all its steps, so that the second product finds the rows in
/// the device's cache. Bits do not depend on chunks and blocks: a row's numbers depend on the row
/// alone, the second product takes whole panels, and rows of a panel that a block ends within wait,
/// copied, for the others.
template <class Runtime, class T>
class DeviceBackend final : public Backend {
 public:
  DeviceBackend(Runtime& runtime, Problem problem, BackendOptions options);
  ~DeviceBackend() override;
  DeviceBackend(const DeviceBackend&) = delete;
  DeviceBackend& operator=(const DeviceBackend&) = delete;

  void set_input(int view, const double* h) override;
  void set_previous(int view, const double* h) override;
  void get_factor(Factor factor, int view, double* h) const override;
  void set_component(int component, const Block& row) override;
  void keep(const std::vector<int>& fits) override;
  void set_group_norms(const double* norms) override { norms_.set(norms); }
  [[nodiscard]] std::span<const double> group_norms() const override { return norms_.current(); }
  void set_precision(Precision precision) override;
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
  [[nodiscard]] int compute_size() const override { return sizeof(T); }

 private:
  template <class Value>
  using Array = DeviceArray<Runtime, Value>;

  /// What belongs to one view.
  struct ViewState {
    std::int64_t columns = 0;
    std::int64_t stride = 0;  ///< of a factor's rows, which begin at 16 bytes
    std::int64_t first_slice = 0;
    Array<T> input, solved, previous;  ///< K x stride
    std::optional<Packing> packing;
    DeviceFactor<Runtime> packed;  ///< the input, where there is a packing and a weight
    Array<std::uint8_t> present;   ///< by row of the source, where some lack the view
    std::int64_t waiting_stride = 0;
    Array<std::byte> waiting;  ///< rows of the open panel
    [[nodiscard]] const Array<T>& factor(Factor which) const;
  };
  /// Rows that go through the second product together.
  struct SumRows {
    const std::vector<ViewRows>& views;
    const T* w;
    const T* weighted;
    std::int64_t rows;
    std::int64_t source_row;
  };

  void allocate();
  void upload_row_terms();
  /// The copy of a factor in float64 on its way to or from the host's own.
  void copy_in(const ViewState& state, const double* h, const Array<T>& to);
  [[nodiscard]] ViewRows rows_of(const MatrixView& view, std::size_t v,
                                 std::int64_t source_row) const;
  void check_memory(const Block& block) const;
  void check_interrupt();

  [[nodiscard]] bool is_whole(const Block& block) const;
  void process_again(const Block& block);
  template <class Check>
  void process_chunks(const Block& block, void* w_out, const Check& check);
  void process_chunk(const Block& block, std::int64_t first, std::int64_t rows, T* w_out);
  void project(const std::vector<ViewRows>& views, std::int64_t rows);
  void solve_rows(std::int64_t source_row, std::int64_t rows);
  void finish_rows(std::int64_t source_row, std::int64_t rows);
  void sum_residual(const std::vector<ViewRows>& views, std::int64_t source_row, std::int64_t rows);
  void add_rows(std::int64_t source_row, std::int64_t rows);
  void sum_columns(const Block& block, std::int64_t first, std::int64_t rows);
  void wait_for_panel(const Block& block, std::int64_t first, std::int64_t at, std::int64_t rows);
  void sum_panels(const SumRows& rows);
  /// The second product of one view.
  void multiply_rows(std::size_t v, const AccumulateArguments<T>& arguments, const SumRows& rows);
  void sum_open_panel();

  void close_sums();
  void choose_chunk();
  void download_sums(std::int64_t first, std::int64_t end) const;
  void gram_of(const ViewState& state, Factor which, int fit, double* to) const;
  /// to[j][i] = from[i][j] for rows of `from_stride` numbers.
  template <class From>
  void transpose(const From* from, std::int64_t rows, std::int64_t columns,
                 std::int64_t from_stride, T* to, std::int64_t to_stride) const;
  void solve_unit_rows(int view, int fit);
  /// Calls work(row, statistics) for every row of a view.
  template <class Work>
  void scan_view(const Block& block, std::size_t v, const Work& work);

  [[nodiscard]] int rank(int fit) const { return problem_.ranks[static_cast<std::size_t>(fit)]; }
  [[nodiscard]] int first_component(int fit) const {
    return fit_begin_[static_cast<std::size_t>(fit)];
  }
  /// Number of a fit's first component on the diagonal of K x K numbers.
  [[nodiscard]] std::int64_t diagonal_block(int fit) const {
    return first_component(fit) * std::int64_t{k_ + 1};
  }
  [[nodiscard]] bool weighs_rows() const { return weight_.size() > 0; }
  [[nodiscard]] const double* group_squares() const {
    return host_sums_.data() + layout_.group_squares();
  }
  template <class Kernel>
  void launch(const Grid& grid, const Kernel& kernel, int shared_bytes = 0) const {
    runtime_.launch(grid, kernel, static_cast<std::size_t>(shared_bytes), runtime_.compute());
  }

  Runtime& runtime_;
  Problem problem_;
  BackendOptions options_;
  SumLayout layout_;
  GroupNorms norms_;
  int k_ = 0;
  std::vector<int> fit_begin_;
  std::vector<ViewState> views_;
  bool rounded_ = false;

  // Terms of the rows, by their number in the source.
  Array<double> weight_;
  Array<std::int32_t> pattern_, group_;

  Array<double> sums_;
  PinnedArray<Runtime, double> host_sums_;
  enum class Sums {
    kOpen,      ///< rows are being added
    kOnDevice,  ///< closed
    kOnHost,    ///< closed, and copied to where others may have added to them
  };
  Sums state_of_sums_ = Sums::kOnDevice;
  mutable bool has_all_sums_ = false;  ///< the host has the S_v too
  Array<double> row_lanes_;
  Array<std::int32_t> fits_;  ///< first component of every fit, and behind them all

  // Of the input's Gram matrices, and what the rows' problems have in common.
  std::vector<Array<double>> grams_;  ///< by fit: view, component, component
  Array<double> gram_parts_;
  Array<double> pattern_weights_;                                  ///< pattern, view
  std::vector<ScaledGrams<Runtime, T>> row_grams_, column_grams_;  ///< by fit
  mutable std::vector<std::vector<double>> host_grams_;            ///< by fit, once asked for
  Array<T> group_diagonal_;
  NnlsSolver<Runtime, T> solver_;

  // A chunk of rows.
  struct Timing {
    std::int64_t panels;
    typename Runtime::Event begin, end;
  };
  ChunkChoice chunks_{1, 1, 1};
  std::vector<Timing> timings_;
  std::optional<Recording<Runtime>> recorded_;   ///< of the last pass that was one block
  std::int64_t chunk_rows_ = 0;                  ///< at most
  std::int64_t slices_ = 0;                      ///< of all views with a weight
  Array<T> b_;                                   ///< slice, row, component
  Array<T> w_, weighted_;                        ///< row, component
  Array<double> values_;                         ///< value, row
  Array<double> squares_;                        ///< slice of one view, row
  std::vector<DeviceFactor<Runtime>> packed_w_;  ///< by row_packing()
  Array<T> panels_;                              ///< panel, component, column

  // Rows of the open panel.
  std::int64_t waiting_rows_ = 0;
  std::int64_t waiting_source_row_ = 0;
  Array<T> waiting_w_, waiting_weighted_;

  // Columns of one view, as rows of a problem.
  Array<T> column_b_, column_x_;
  Array<double> terms_;  ///< view, component, two sums; then Gram matrices of the solved factor
  Array<std::byte> statistics_;
  Array<double> unit_numbers_;  ///< of rows of unit norm
  Array<UnitPart> unit_parts_;
  Array<int> unit_ended_;

  PassMode mode_ = PassMode::kFit;
  std::int64_t next_row_ = 0;
  std::chrono::steady_clock::time_point last_check_ = std::chrono::steady_clock::now();
};

}  // namespace cofactor::cuda

#include "backend/cuda/device_factors.h"
#include "backend/cuda/device_pass.h"
#include "backend/cuda/device_scan.h"
#include "backend/cuda/device_solve.h"
