#include "backend/device.h"

#include "backend/cuda/device_backend.h"
#include "backend/cuda/emulation/host_runtime.h"
#include "backend/cuda/streamed.h"

namespace cofactor::testing {
namespace {

using cuda::DeviceArray;
using cuda::DeviceBackend;
using cuda::emulation::HostRuntime;

// Kernels come in many shapes, which the tests of kernels cover. These tests have few components,
// and compile what those need.
template <class Kernel>
inline constexpr bool kIsNeeded = true;
template <class Shape, class Stored>
inline constexpr bool kIsNeeded<cuda::ProjectTensor<Shape, Stored>> = Shape::kTiles == 1;
template <class Shape, class Stored>
inline constexpr bool kIsNeeded<cuda::AccumulateTensor<Shape, Stored>> = Shape::kTiles == 1;
template <class Shape, class T, class Stored>
inline constexpr bool kIsNeeded<cuda::ProjectPlain<Shape, T, Stored>> = Shape::kQ == 1;
template <class Shape, class T, class Stored>
inline constexpr bool kIsNeeded<cuda::AccumulatePlain<Shape, T, Stored>> = Shape::kQ == 1;
template <class Shape, class T>
inline constexpr bool kIsNeeded<cuda::SolveNnls<T, Shape>> = Shape::kWidth <= 8;

class Device : public HostRuntime {
 public:
  using HostRuntime::HostRuntime;
  template <class Kernel>
  void launch(const cuda::Grid& grid, const Kernel& kernel, std::size_t shared_bytes,
              Stream& stream) {
    if constexpr (kIsNeeded<Kernel>) {
      HostRuntime::launch(grid, kernel, shared_bytes, stream);
    } else {
      throw std::logic_error("a kernel for more components than these tests have");
    }
  }
};

/// The backend of CUDA on a device of its own, for tests that have their rows on the host: what it
/// reads is copied there first.
template <class T>
class UploadingBackend final : public Backend {
 public:
  UploadingBackend(const Problem& problem, const BackendOptions& options)
      : inner_(runtime_, problem, options) {}

  void set_input(int view, const double* h) override { inner_.set_input(view, h); }
  void set_previous(int view, const double* h) override { inner_.set_previous(view, h); }
  void get_factor(Factor factor, int view, double* h) const override {
    inner_.get_factor(factor, view, h);
  }
  void set_component(int component, const Block& row) override {
    inner_.set_component(component, row);
  }
  void keep(const std::vector<int>& fits) override { inner_.keep(fits); }
  void set_group_norms(const double* norms) override { inner_.set_group_norms(norms); }
  [[nodiscard]] std::span<const double> group_norms() const override {
    return inner_.group_norms();
  }
  void set_precision(Precision precision) override { inner_.set_precision(precision); }
  void begin_pass(PassMode mode) override { inner_.begin_pass(mode); }
  void process(const Block& block, void* w_out) override { inner_.process(upload(block), w_out); }
  PassSums end_pass(Memory memory) override { return inner_.end_pass(memory); }
  void finish_pass() override { inner_.finish_pass(); }
  [[nodiscard]] std::vector<RowSums> row_sums() const override { return inner_.row_sums(); }
  [[nodiscard]] std::span<const double> c(int view) const override { return inner_.c(view); }
  [[nodiscard]] std::span<const double> s(int view) const override { return inner_.s(view); }
  [[nodiscard]] std::span<const double> gram(int fit) const override { return inner_.gram(fit); }
  void solve_h() override { inner_.solve_h(); }
  [[nodiscard]] std::vector<std::vector<ViewTerms>> terms() const override {
    return inner_.terms();
  }
  void advance(int fit, double momentum) override { inner_.advance(fit, momentum); }
  void restore(int fit) override { inner_.restore(fit); }
  void adopt_input() override { inner_.adopt_input(); }
  void scan(const Block& block, std::vector<ViewStats>& stats) override {
    inner_.scan(upload(block), stats);
  }
  void row_squares(const Block& block, double* squares) override {
    inner_.row_squares(upload(block), squares);
  }
  void copy_rows(const MatrixView& rows, void* to) const override {
    const std::size_t bytes = static_cast<std::size_t>(rows.columns) * size_of(rows.dtype);
    for (std::int64_t i = 0; i < rows.rows; ++i) {
      std::memcpy(static_cast<std::byte*>(to) + static_cast<std::size_t>(i) * bytes, rows.row(i),
                  bytes);
    }
  }
  [[nodiscard]] int compute_size() const override { return inner_.compute_size(); }

 private:
  Block upload(const Block& block) {
    // Those of the block before are given back, which waits for it.
    arrays_.clear();
    Block result = block;
    for (MatrixView& view : result.views) {
      const std::size_t size = size_of(view.dtype);
      // Rows without gaps, so that they begin anywhere.
      const std::size_t row_bytes = static_cast<std::size_t>(view.columns) * size;
      arrays_.emplace_back(runtime_, view.rows * static_cast<std::int64_t>(row_bytes));
      for (std::int64_t i = 0; i < view.rows; ++i) {
        runtime_.copy_in(arrays_.back().data() + static_cast<std::size_t>(i) * row_bytes,
                         view.row(i), row_bytes, runtime_.compute());
      }
      view.data = arrays_.back().data();
      view.row_stride = view.columns;
      view.memory = Memory::kDevice;
    }
    return result;
  }

  Device runtime_;
  DeviceBackend<Device, T> inner_;
  std::vector<DeviceArray<Device, std::byte>> arrays_;
};

template <class T>
class StreamedProblem final : public Streamed {
 public:
  StreamedProblem(const Problem& problem, const BackendOptions& options, BlockSource& source,
                  const cuda::UploadOptions& upload, unsigned seed)
      : runtime_(std::int64_t{1} << 40, seed),
        backend_(runtime_, problem, options),
        source_(runtime_, source, upload) {}
  [[nodiscard]] Backend& backend() override { return backend_; }
  [[nodiscard]] BlockSource& source() override { return source_; }
  [[nodiscard]] Device& runtime() override { return runtime_; }

 private:
  Device runtime_;
  DeviceBackend<Device, T> backend_;
  cuda::UploadSource<Device> source_;
};

}  // namespace

std::unique_ptr<Streamed> make_streamed(const Problem& problem, const BackendOptions& options,
                                        BlockSource& source, const cuda::UploadOptions& upload,
                                        unsigned seed) {
  if (options.float64) {
    return std::make_unique<StreamedProblem<double>>(problem, options, source, upload, seed);
  }
  return std::make_unique<StreamedProblem<float>>(problem, options, source, upload, seed);
}

std::unique_ptr<Backend> make_backend(const Problem& problem, const BackendOptions& options) {
  if (options.float64) return std::make_unique<UploadingBackend<double>>(problem, options);
  return std::make_unique<UploadingBackend<float>>(problem, options);
}

bool on_cpu() { return false; }

}  // namespace cofactor::testing
