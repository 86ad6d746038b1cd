#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "als/loop.h"
#include "backend/backend.h"
#include "bindings/bindings.h"
#include "bindings/device_matrix.h"
#include "bindings/matrix.h"
#include "bindings/py_reducer.h"
#include "bindings/source.h"
#include "core/error.h"

namespace py = pybind11;

namespace cofactor::bindings {
namespace {

using Column = Matrix;

void raise_pending_signals() {
  const py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

Compute parse_compute(const std::string& name) {
  if (name == "full") return Compute::kFull;
  if (name == "bfloat16") return Compute::kBFloat16;
  if (name == "auto") return Compute::kAuto;
  throw Error(ErrorKind::kValue, "unknown compute '" + name + "'; expected full, bfloat16 or auto");
}

/// Number of the CUDA device that "cuda:N" names, -1 of "cuda" and nothing of "cpu".
std::optional<int> parse_device(std::string_view name) {
  constexpr std::string_view kCuda = "cuda";
  if (name == "cpu") return std::nullopt;
  if (name == kCuda) return -1;
  int number = -1;
  if (name.starts_with(kCuda) && name.substr(kCuda.size()).starts_with(':')) {
    const char* const end = name.data() + name.size();
    const auto read = std::from_chars(name.data() + kCuda.size() + 1, end, number);
    if (read.ec == std::errc{} && read.ptr == end && number >= 0) return number;
  }
  throw Error(ErrorKind::kValue,
              "unknown device '" + std::string(name) + "'; expected cpu, cuda or cuda:N");
}

/// A problem, its data and its factors on one device. Argument checks hold the GIL, work does not.
class Engine {
 public:
  Engine(PySource& source, std::vector<int> ranks, const std::vector<double>& weights, double l1_w,
         double l2_w, const std::vector<double>& l1_h, const std::vector<double>& l2_h,
         const std::string& device, bool float64, int threads, const std::vector<bool>& fixed,
         bool unit_rows, double group_penalty, const std::optional<RowTerms>& row_terms,
         std::optional<Reduce> reduce, std::optional<Exchange> exchange, bool reduce_on_device)
      : source_(source),
        cuda_device_(parse_device(device)),
        reducer_(std::move(reduce), std::move(exchange),
                 reduce_on_device ? Memory::kDevice : Memory::kHost) {
    if (source.device() && !cuda_device_) {
      throw Error(ErrorKind::kValue, "the source is on a CUDA device; expected device='cuda'");
    }
    const std::size_t views = source.columns().size();
    if (weights.size() != views || l1_h.size() != views || l2_h.size() != views ||
        (!fixed.empty() && fixed.size() != views)) {
      throw Error(ErrorKind::kValue, "weights and penalties need one number a view");
    }
    problem_.rows = source.rows();
    for (std::size_t v = 0; v < views; ++v) {
      problem_.views.push_back({source.columns()[v], source.dtypes()[v], source.scales()[v],
                                weights[v], l1_h[v], l2_h[v], !fixed.empty() && fixed[v]});
    }
    problem_.ranks = std::move(ranks);
    for (const int rank : problem_.ranks) {
      if (rank < 1) throw Error(ErrorKind::kValue, "every rank must be at least 1");
    }
    problem_.l1_w = l1_w;
    problem_.l2_w = l2_w;
    problem_.unit_rows = unit_rows;
    problem_.group_penalty = group_penalty;
    if (row_terms) {
      check_rows(*row_terms);
      problem_.row_terms = *row_terms;
    }
    options_.threads = threads;
    options_.float64 = float64;
    options_.device = source.device().value_or(cuda_device_.value_or(-1));
    options_.check_interrupt = raise_pending_signals;
    make_backend();
  }

  [[nodiscard]] std::int64_t rows() const { return problem_.rows; }
  [[nodiscard]] bool float64() const { return backend_->compute_size() == 8; }

  void set_h(int view, const Matrix& h) {
    check_h(view, h);
    backend_->set_input(view, h.data());
  }

  void set_previous_h(int view, const Matrix& h) {
    check_h(view, h);
    backend_->set_previous(view, h.data());
  }

  [[nodiscard]] py::array_t<double> h(int view) const { return factor(Factor::kInput, view); }
  [[nodiscard]] py::array_t<double> previous_h(int view) const {
    return factor(Factor::kPrevious, view);
  }

  FitResult fit(const std::vector<double>& sum_of_squares, int max_iterations, double tolerance,
                bool extrapolate, const std::string& compute, bool verify,
                const std::optional<std::function<void(const IterationInfo&)>>& progress,
                const std::optional<LoopState>& state,
                const std::optional<std::function<void(const LoopState&)>>& checkpoint,
                int checkpoint_every, bool drop_finished) {
    check_squares(sum_of_squares);
    if (checkpoint_every < 1) throw Error(ErrorKind::kValue, "checkpoint_every must be positive");
    AlsOptions options;
    options.max_iterations = max_iterations;
    options.tolerance = tolerance;
    options.extrapolate = extrapolate;
    options.compute = parse_compute(compute);
    options.verify = verify;
    options.sum_of_squares = sum_of_squares;
    options.drop_finished = drop_finished;
    if (progress) options.progress = *progress;
    if (checkpoint) options.checkpoint = *checkpoint;
    options.checkpoint_every = checkpoint_every;
    reducer_.set_owner(py::cast(this, py::return_value_policy::reference));
    const py::gil_scoped_release unlocked;
    FitResult result =
        als_fit(*backend_, problem_, data(), reducer_, options, state.value_or(LoopState{}));
    if (drop_finished) bring_back(result);
    return result;
  }

  /// Iterations on the rows of the source with the sums of earlier rows; gives the sums of both.
  py::typing::Tuple<FitTrace, py::array_t<double>> online(const std::vector<double>& sum_of_squares,
                                                          const Column& past, int iterations) {
    check_squares(sum_of_squares);
    if (problem_.num_fits() != 1) throw Error(ErrorKind::kValue, "online needs one fit");
    AlsOptions options;
    options.max_iterations = iterations;
    options.sum_of_squares = sum_of_squares;
    std::vector<double> sums(past.data(), past.data() + past.size());
    FitTrace trace;
    reducer_.set_owner(py::cast(this, py::return_value_policy::reference));
    {
      const py::gil_scoped_release unlocked;
      backend_->begin_pass(PassMode::kFit);
      if (!sums.empty() && sums.size() != backend_->end_pass(Memory::kHost).numbers.size()) {
        throw Error(ErrorKind::kValue, "these sums are of another problem");
      }
      trace = als_online(*backend_, problem_, data(), reducer_, options, sums);
    }
    return py::make_tuple(std::move(trace), matrix_of(sums, 1, std::ssize(sums)));
  }

  [[nodiscard]] std::optional<Column> row_weight() const {
    const std::vector<double>& weight = problem_.row_terms.weight;
    if (weight.empty()) return std::nullopt;
    return Column(std::ssize(weight), weight.data());
  }

  /// Norms of W by group and component that the penalty on groups is majorised at.
  [[nodiscard]] py::array_t<double> group_norms() const {
    return matrix_of(backend_->group_norms(), problem_.row_terms.num_groups, problem_.total_rank());
  }
  void set_group_norms(const Matrix& norms) {
    if (std::cmp_not_equal(norms.size(), backend_->group_norms().size())) {
      throw Error(ErrorKind::kValue, "norms must be groups x components");
    }
    backend_->set_group_norms(norms.data());
  }

  EncodeResult encode(const std::vector<double>& sum_of_squares, bool exact,
                      const std::optional<py::array>& w) {
    return encode_to(sum_of_squares, exact, output(w).get());
  }

  EncodeResult encode_to_device(const std::vector<double>& sum_of_squares, bool exact,
                                const DeviceMatrix& w) {
    MemorySink sink(memory_of(w), row_bytes());
    return encode_to(sum_of_squares, exact, &sink);
  }

  EncodeResult encode_to_file(const std::vector<double>& sum_of_squares, bool exact, int descriptor,
                              const std::string& path, std::int64_t offset) {
    FileSink sink(descriptor, path, offset, row_bytes());
    return encode_to(sum_of_squares, exact, &sink);
  }

  using Sums = py::typing::Tuple<py::array_t<double>, py::typing::List<py::array_t<double>>>;

  Sums power(const std::optional<py::array>& y,
             const std::optional<std::vector<std::int64_t>>& sample, bool rounded) {
    const std::unique_ptr<RowSink> sink = sample ? sampled(y, *sample) : output(y);
    reducer_.set_owner(py::cast(this, py::return_value_policy::reference));
    {
      const py::gil_scoped_release unlocked;
      als_power(*backend_, data(), reducer_, rounded ? Precision::kBFloat16 : Precision::kFull,
                sink.get());
    }
    const int k = problem_.total_rank();
    py::typing::List<py::array_t<double>> s;
    for (int v = 0; v < problem_.num_views(); ++v) {
      s.append(matrix_of(backend_->s(v), k, problem_.views[static_cast<std::size_t>(v)].columns));
    }
    return py::make_tuple(matrix_of(backend_->c(kEveryRow), k, k), s);
  }

  std::vector<ViewStats> scan() {
    const py::gil_scoped_release unlocked;
    return als_scan(*backend_, problem_, data());
  }

 private:
  /// Where the device finds the rows.
  [[nodiscard]] BlockSource& data() {
    return cuda_device_ ? source_.on_cuda(options_) : source_.source();
  }

  [[nodiscard]] py::array_t<double> factor(Factor factor, int view) const {
    check_view(view);
    py::array_t<double> result({std::int64_t{problem_.total_rank()},
                                problem_.views[static_cast<std::size_t>(view)].columns});
    backend_->get_factor(factor, view, result.mutable_data());
    return result;
  }

  void make_backend() {
    backend_ =
        cuda_device_ ? make_cuda_backend(problem_, options_) : make_cpu_backend(problem_, options_);
  }

  /// A backend of all fits with the factors that a fit which dropped some ended with.
  void bring_back(FitResult& result) {
    backend_.reset();
    make_backend();
    for (std::size_t v = 0; v < problem_.views.size(); ++v) {
      std::vector<double> all;
      for (const FitFactors& fit : result.factors) {
        all.insert(all.end(), fit.h[v].begin(), fit.h[v].end());
      }
      backend_->set_input(static_cast<int>(v), all.data());
    }
    std::vector<double> norms;
    while (norms.size() < backend_->group_norms().size()) {
      const auto group = static_cast<std::ptrdiff_t>(norms.size()) / problem_.total_rank();
      for (std::size_t f = 0; f < result.factors.size(); ++f) {
        const auto first = result.factors[f].group_norms.begin() + group * problem_.ranks[f];
        norms.insert(norms.end(), first, first + problem_.ranks[f]);
      }
    }
    backend_->set_group_norms(norms.data());
    result.factors.clear();
  }

  void check_rows(const RowTerms& terms) const {
    for (const std::size_t size : {terms.weight.size(), terms.pattern.size(), terms.group.size()}) {
      if (size != 0 && std::cmp_not_equal(size, problem_.rows)) {
        throw Error(ErrorKind::kValue, "row terms are of " + std::to_string(size) +
                                           " rows; the source has " +
                                           std::to_string(problem_.rows));
      }
    }
    for (const std::vector<bool>& pattern : terms.patterns) {
      if (pattern.size() != problem_.views.size()) {
        throw Error(ErrorKind::kValue, "patterns need one flag a view");
      }
    }
  }
  void check_view(int view) const {
    if (view < 0 || view >= problem_.num_views()) {
      throw Error(ErrorKind::kValue, "there is no view number " + std::to_string(view));
    }
  }
  void check_squares(const std::vector<double>& sum_of_squares) const {
    if (sum_of_squares.size() != problem_.views.size()) {
      throw Error(ErrorKind::kValue, "sum_of_squares needs one number a view");
    }
  }
  void check_h(int view, const Matrix& h) const {
    check_view(view);
    const std::int64_t columns = problem_.views[static_cast<std::size_t>(view)].columns;
    if (h.ndim() != 2 || h.shape(0) != problem_.total_rank() || h.shape(1) != columns) {
      throw Error(ErrorKind::kValue, "H of view number " + std::to_string(view) + " must be " +
                                         std::to_string(problem_.total_rank()) + " x " +
                                         std::to_string(columns));
    }
  }

  EncodeResult encode_to(const std::vector<double>& sum_of_squares, bool exact, RowSink* sink) {
    check_squares(sum_of_squares);
    reducer_.set_owner(py::cast(this, py::return_value_policy::reference));
    const py::gil_scoped_release unlocked;
    return als_encode(*backend_, problem_, data(), reducer_, sum_of_squares, exact, sink);
  }

  [[nodiscard]] std::size_t row_bytes() const {
    return static_cast<std::size_t>(problem_.total_rank() * backend_->compute_size());
  }

  /// The memory of a caller's array of rows x K numbers of the compute type.
  [[nodiscard]] std::byte* memory_of(const py::array& array, std::int64_t rows) const {
    const bool fits = array.ndim() == 2 && array.shape(0) == rows &&
                      array.shape(1) == problem_.total_rank() &&
                      array.itemsize() == backend_->compute_size() && array.dtype().kind() == 'f' &&
                      (array.flags() & py::array::c_style) != 0 && array.writeable();
    if (!fits) {
      throw Error(ErrorKind::kValue,
                  "the output must be a writeable row-major array of " + std::to_string(rows) +
                      " x " + std::to_string(problem_.total_rank()) + " numbers of float" +
                      std::to_string(8 * backend_->compute_size()));
    }
    return static_cast<std::byte*>(const_cast<void*>(array.data()));
  }

  /// The same on a CUDA device, which no other device writes to.
  [[nodiscard]] std::byte* memory_of(const DeviceMatrix& matrix) const {
    const MatrixView& view = matrix.view();
    const DType dtype = float64() ? DType::kFloat64 : DType::kFloat32;
    const bool fits = view.rows == problem_.rows && view.columns == problem_.total_rank() &&
                      view.row_stride == view.columns && view.dtype == dtype && matrix.writable();
    if (!fits || !cuda_device_) {
      throw Error(ErrorKind::kValue,
                  "an output on a CUDA device must be a writable row-major matrix of the engine's "
                  "rows, components and compute type, and the engine must be on that device");
    }
    return static_cast<std::byte*>(const_cast<void*>(view.data));
  }

  [[nodiscard]] std::unique_ptr<RowSink> output(const std::optional<py::array>& array) const {
    if (!array) return nullptr;
    return std::make_unique<MemorySink>(memory_of(*array, problem_.rows), row_bytes());
  }

  [[nodiscard]] std::unique_ptr<RowSink> sampled(const std::optional<py::array>& array,
                                                 const std::vector<std::int64_t>& sample) const {
    if (!array) return nullptr;
    if (!std::is_sorted(sample.begin(), sample.end())) {
      throw Error(ErrorKind::kValue, "the sample must ascend");
    }
    return std::make_unique<SampleSink>(
        sample, memory_of(*array, static_cast<std::int64_t>(sample.size())), row_bytes());
  }

  PySource& source_;
  std::optional<int> cuda_device_;
  Problem problem_;
  BackendOptions options_;
  std::unique_ptr<Backend> backend_;
  PyReducer reducer_;
};

}  // namespace

void register_engine(py::module_& module) {
  py::class_<IterationInfo>(module, "IterationInfo", "What a pass did for one fit.")
      .def_readonly("fit", &IterationInfo::fit)
      .def_readonly("iteration", &IterationInfo::iteration)
      .def_readonly("loss", &IterationInfo::loss)
      .def_readonly("accepted", &IterationInfo::accepted)
      .def_readonly("seconds", &IterationInfo::seconds);

  py::class_<FitTrace>(module, "FitTrace", "What one fit learned, apart from its factors.")
      .def(py::init<>())
      .def_readwrite("losses", &FitTrace::losses)
      .def_readwrite("rejected_losses", &FitTrace::rejected_losses)
      .def_readwrite("view_losses", &FitTrace::view_losses)
      .def_readwrite("iterations", &FitTrace::iterations)
      .def_readwrite("reseeded", &FitTrace::reseeded)
      .def_readwrite("stop_reason", &FitTrace::stop_reason);

  py::class_<FitState>(module, "FitState", "Where one fit stands between two iterations.")
      .def(py::init([](bool extrapolate, double momentum) {
             return FitState{.momentum = Momentum(extrapolate, momentum)};
           }),
           py::arg("extrapolate"), py::arg("momentum"))
      .def_property_readonly("extrapolate", [](const FitState& f) { return f.momentum.enabled(); })
      .def_property_readonly("momentum", [](const FitState& f) { return f.momentum.t(); })
      .def_readwrite("objective", &FitState::objective)
      .def_readwrite("extrapolated", &FitState::extrapolated)
      .def_readwrite("done", &FitState::done)
      .def_readwrite("slow", &FitState::slow)
      .def_readwrite("reseeds_left", &FitState::reseeds_left);

  py::class_<LoopState>(module, "LoopState", "All that the next iteration reads beside factors.")
      .def(py::init<>())
      .def_readwrite("iterations", &LoopState::iterations)
      .def_readwrite("passes", &LoopState::passes)
      .def_readwrite("may_switch", &LoopState::may_switch)
      .def_readwrite("fits", &LoopState::fits)
      .def_readwrite("traces", &LoopState::traces);

  py::class_<FitResult>(module, "FitResult")
      .def_readonly("fits", &FitResult::fits)
      .def_readonly("passes", &FitResult::passes);

  py::class_<EncodeResult>(module, "EncodeResult")
      .def_readonly("losses", &EncodeResult::losses)
      .def_readonly("view_losses", &EncodeResult::view_losses);

  py::class_<ViewStats>(module, "ViewStats")
      .def_readonly("sum_of_squares", &ViewStats::sum_of_squares)
      .def_readonly("minimum", &ViewStats::minimum)
      .def_readonly("nonfinite", &ViewStats::nonfinite);

  py::class_<Engine>(module, "Engine", "A problem, its data and its factors on one device.")
      .def(
          py::init<PySource&, std::vector<int>, const std::vector<double>&, double, double,
                   const std::vector<double>&, const std::vector<double>&, const std::string&, bool,
                   int, const std::vector<bool>&, bool, double, const std::optional<RowTerms>&,
                   std::optional<Reduce>, std::optional<Exchange>, bool>(),
          py::arg("source"), py::kw_only(), py::arg("ranks"), py::arg("weights"), py::arg("l1_w"),
          py::arg("l2_w"), py::arg("l1_h"), py::arg("l2_h"), py::arg("device"), py::arg("float64"),
          py::arg("threads"), py::arg("fixed") = std::vector<bool>{}, py::arg("unit_rows") = false,
          py::arg("group_penalty") = 0.0, py::arg("row_terms") = py::none(),
          py::arg("reduce") = py::none(), py::arg("exchange") = py::none(),
          py::arg("reduce_on_device") = false, py::keep_alive<1, 2>(),
          "`device` is cpu, cuda or cuda:N. `reduce` adds up an array of float64 over all "
          "processes, in place, and `exchange` gives the bytes of all of them; without these there "
          "is one process. With `reduce_on_device` the array is a DeviceMatrix of one row where "
          "the sums are on a CUDA device.")
      .def_property_readonly("n_rows", &Engine::rows)
      .def_property_readonly("float64", &Engine::float64, "Whether products are in float64.")
      .def("set_h", &Engine::set_h, py::arg("view"), py::arg("h"))
      .def("h", &Engine::h, py::arg("view"))
      .def("set_previous_h", &Engine::set_previous_h, py::arg("view"), py::arg("h"))
      .def("previous_h", &Engine::previous_h, py::arg("view"))
      .def("fit", &Engine::fit, py::arg("sum_of_squares"), py::kw_only(), py::arg("max_iterations"),
           py::arg("tolerance"), py::arg("extrapolate"), py::arg("compute") = "full",
           py::arg("verify"), py::arg("progress"), py::arg("state") = py::none(),
           py::arg("checkpoint") = py::none(), py::arg("checkpoint_every") = 1,
           py::arg("drop_finished") = false)
      .def("online", &Engine::online, py::arg("sum_of_squares"), py::arg("past"), py::kw_only(),
           py::arg("iterations"))
      .def_property_readonly("row_weight", &Engine::row_weight, "Weights of the rows, if any.")
      .def_property("group_norms", &Engine::group_norms, &Engine::set_group_norms,
                    "Norms of W by group and component, at which the penalty on groups is "
                    "majorised.")
      .def("encode", &Engine::encode, py::arg("sum_of_squares"), py::kw_only(), py::arg("exact"),
           py::arg("w"))
      .def("encode_to_device", &Engine::encode_to_device, py::arg("sum_of_squares"), py::kw_only(),
           py::arg("exact"), py::arg("w"),
           "As encode, with W written to the memory of the CUDA device that the engine is on.")
      .def("encode_to_file", &Engine::encode_to_file, py::arg("sum_of_squares"), py::kw_only(),
           py::arg("exact"), py::arg("descriptor"), py::arg("path"), py::arg("offset"),
           "As encode, with W written to an open file, row 0 at the offset.")
      .def("power", &Engine::power, py::arg("y"), py::arg("sample") = py::none(), py::kw_only(),
           py::arg("rounded") = false,
           "C = Y^T Y and S_v = Y^T X_v for Y = sum_v w_v X_v H_v^T, written to y, or some of its "
           "rows; products of numbers rounded to bfloat16 if asked for.")
      .def("scan", &Engine::scan);
}

}  // namespace cofactor::bindings
