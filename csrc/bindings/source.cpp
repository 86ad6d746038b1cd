#include "bindings/source.h"

#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "als/cut_source.h"
#include "als/file_source.h"
#include "als/nonnegative_source.h"
#include "bindings/array_source.h"
#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace cofactor::bindings {
namespace {

using Files = std::vector<std::vector<std::tuple<std::string, std::int64_t, std::int64_t>>>;
using Rules = std::vector<std::tuple<std::string, double>>;
using Cuts = std::vector<std::tuple<std::size_t, std::int64_t, std::int64_t>>;

std::vector<DType> parse_dtypes(const std::vector<std::string>& names) {
  std::vector<DType> dtypes;
  for (const std::string& name : names) dtypes.push_back(parse_dtype(name));
  return dtypes;
}

std::unique_ptr<PySource> from_arrays(const ArraySource::Views& views,
                                      const std::vector<std::string>& dtypes,
                                      std::vector<double> scales, std::int64_t block_rows,
                                      int threads) {
  PySource::Views described{{}, parse_dtypes(dtypes), std::move(scales)};
  if (views.size() != described.dtypes.size()) {
    throw Error(ErrorKind::kValue, "a source needs one dtype a view");
  }
  auto source = std::make_unique<ArraySource>(views, described.dtypes, block_rows, threads);
  described.columns = source->columns();
  const std::optional<int> device = source->device();
  return std::make_unique<PySource>(std::move(described), std::move(source), device);
}

/// The source with its rules applied, and `described` as it is then.
std::unique_ptr<BlockSource> with_rules(std::unique_ptr<BlockSource> source, const Rules& given,
                                        PySource::Views& described) {
  if (given.size() != described.columns.size()) {
    throw Error(ErrorKind::kValue, "a source needs one rule for negative values a view");
  }
  std::vector<NegativeRule> rules;
  bool keeps_all = true;
  for (std::size_t v = 0; v < given.size(); ++v) {
    const auto& [name, minimum] = given[v];
    const NegativeRule& rule = rules.emplace_back(NegativeRule{parse_negative(name), minimum});
    keeps_all = keeps_all && rule.what == Negative::kKeep;
    described.columns[v] = columns_after(rule, described.columns[v]);
    described.dtypes[v] = dtype_after(rule, described.dtypes[v]);
  }
  if (keeps_all) return source;
  return std::make_unique<NonnegativeSource>(std::move(source), std::move(rules));
}

/// Some columns of the source's views as views of their own, and `described` as it is then.
std::unique_ptr<BlockSource> with_cuts(std::unique_ptr<BlockSource> source, const Cuts& given,
                                       PySource::Views& described) {
  std::vector<ColumnCut> cuts;
  PySource::Views after;
  for (const auto& [view, first, last] : given) {
    if (view >= described.columns.size() || first < 0 || first >= last ||
        last > described.columns[view]) {
      throw Error(ErrorKind::kValue, "a cut has columns that its view does not have");
    }
    cuts.push_back({view, first, last - first});
    after.columns.push_back(last - first);
    after.dtypes.push_back(described.dtypes[view]);
    after.scales.push_back(described.scales.at(view));
  }
  described = std::move(after);
  return std::make_unique<CutSource>(std::move(source), std::move(cuts));
}

std::unique_ptr<PySource> from_files(const Files& files, std::vector<std::int64_t> columns,
                                     const std::vector<std::string>& dtypes,
                                     std::vector<double> scales, const Rules& negative,
                                     std::optional<std::vector<std::int64_t>> selection,
                                     std::int64_t block_rows, std::int64_t kept_bytes,
                                     const std::optional<Cuts>& cuts) {
  PySource::Views described{std::move(columns), parse_dtypes(dtypes), std::move(scales)};
  if (files.size() != described.columns.size() || files.size() != described.dtypes.size()) {
    throw Error(ErrorKind::kValue, "a source needs one number of columns and one dtype a view");
  }
  std::vector<FileView> views;
  for (std::size_t v = 0; v < files.size(); ++v) {
    FileView& view = views.emplace_back();
    view.dtype = described.dtypes[v];
    view.columns = described.columns[v];
    for (const auto& [path, offset, rows] : files[v]) view.files.push_back({path, offset, rows});
  }
  FileSourceOptions options{block_rows, kept_bytes, std::move(selection)};
  std::unique_ptr<BlockSource> source =
      std::make_unique<FileSource>(std::move(views), std::move(options));
  source = with_rules(std::move(source), negative, described);
  if (cuts) source = with_cuts(std::move(source), *cuts, described);
  return std::make_unique<PySource>(std::move(described), std::move(source));
}

using Start = py::typing::Callable<py::typing::Iterator<py::typing::List<py::object>>()>;

/// Blocks that a Python iterator gives. The loop runs without the GIL, which each block takes.
class IteratorSource final : public BlockSource {
 public:
  IteratorSource(Start start, const PySource::Views& views, std::int64_t rows, int threads,
                 std::optional<int> device)
      : start_(std::move(start)),
        columns_(views.columns),
        dtypes_(views.dtypes),
        rows_(rows),
        threads_(threads),
        device_(device) {}
  ~IteratorSource() override {
    const py::gil_scoped_acquire gil;
    given_.reset();
    iterator_ = py::object();
    start_ = Start();
  }
  IteratorSource(const IteratorSource&) = delete;
  IteratorSource& operator=(const IteratorSource&) = delete;

  [[nodiscard]] std::int64_t rows() const override { return rows_; }
  void rewind(std::int64_t first_row) override {
    const py::gil_scoped_acquire gil;
    given_.reset();
    iterator_ = start_();
    first_row_ = 0;
    // An iterator starts at row 0: what comes before is asked for and passed over.
    while (first_row > 0 && take()) {
      if (first_row < first_row_ + given_->rows()) {
        given_->rewind(first_row - first_row_);
        break;
      }
    }
  }
  bool next(Block& block) override {
    // What has to be packed comes in several blocks.
    while (given_ == nullptr || !given_->next(block)) {
      if (!take()) return false;
    }
    block.first_row += first_row_;
    return true;
  }

 private:
  /// Asks Python for arrays; false at the end.
  bool take() {
    const py::gil_scoped_acquire gil;
    if (given_ != nullptr) first_row_ += given_->rows();
    given_.reset();
    PyObject* const given = PyIter_Next(iterator_.ptr());
    if (given == nullptr) {
      if (PyErr_Occurred() != nullptr) throw py::error_already_set();
      rows_ = first_row_;
      return false;
    }
    ArraySource::Views views;
    for (const auto& array :
         py::reinterpret_steal<py::object>(given).cast<std::vector<py::object>>()) {
      views.push_back({array});
    }
    if (views.size() != dtypes_.size()) {
      throw Error(ErrorKind::kValue, "a block needs one array a view");
    }
    given_ = std::make_unique<ArraySource>(views, dtypes_, 0, threads_);
    if (given_->columns() != columns_) {
      throw Error(ErrorKind::kValue, "the blocks of a view differ in their number of columns");
    }
    if (given_->device() != device_) {
      throw Error(ErrorKind::kValue, "the blocks are not all in one place");
    }
    return true;
  }

  Start start_;
  std::vector<std::int64_t> columns_;
  std::vector<DType> dtypes_;
  std::int64_t rows_;
  int threads_;
  std::optional<int> device_;
  py::object iterator_;
  std::unique_ptr<ArraySource> given_;
  std::int64_t first_row_ = 0;  ///< of what was given
};

std::unique_ptr<PySource> from_blocks(Start start, std::vector<std::int64_t> columns,
                                      const std::vector<std::string>& dtypes,
                                      std::vector<double> scales, std::int64_t n_rows, int threads,
                                      std::optional<int> device) {
  PySource::Views described{std::move(columns), parse_dtypes(dtypes), std::move(scales)};
  auto source =
      std::make_unique<IteratorSource>(std::move(start), described, n_rows, threads, device);
  return std::make_unique<PySource>(std::move(described), std::move(source), device);
}

}  // namespace

PySource::PySource(Views views, std::unique_ptr<BlockSource> source, std::optional<int> device)
    : views_(std::move(views)), device_(device), source_(std::move(source)) {
  const std::size_t count = views_.columns.size();
  if (count == 0) throw Error(ErrorKind::kValue, "a source needs at least one view");
  if (views_.dtypes.size() != count || views_.scales.size() != count) {
    throw Error(ErrorKind::kValue, "a source needs one dtype and one scale a view");
  }
}

BlockSource& PySource::on_cuda(const BackendOptions& options) {
  if (on_cuda_ == nullptr) on_cuda_ = make_cuda_source(*source_, options);
  return *on_cuda_;
}

void register_source(py::module_& module) {
  py::class_<PySource>(module, "Source", "Rows of all views, a block at a time.")
      .def(
          py::init(&from_arrays), py::arg("views"), py::arg("dtypes"), py::arg("scales"),
          py::kw_only(), py::arg("block_rows") = 0, py::arg("threads") = 0,
          "Of lists of arrays, consecutive pieces of each view's rows, which are kept alive. "
          "Row-major ones are read in place; one of other layout, byte order or integers, or a "
          "sparse one in rows, is packed block by block. All are DeviceMatrix, on one CUDA device, "
          "or none is.")
      .def_static(
          "from_files", &from_files, py::arg("files"), py::arg("columns"), py::arg("dtypes"),
          py::arg("scales"), py::kw_only(), py::arg("negative"), py::arg("selection"),
          py::arg("block_rows"), py::arg("kept_bytes"), py::arg("cuts") = py::none(),
          "Of lists of (path, offset in bytes, rows) that hold a view's rows one after the "
          "other. Of these the selection, if there is one, in its order. To negative values "
          "happens what `negative` says for each view: keep, relu, shift or split, and "
          "the minimum for shift. Cuts, if any, are the views to give: (view, first column, "
          "column after the last).")
      .def_static(
          "from_blocks", &from_blocks, py::arg("start"), py::arg("columns"), py::arg("dtypes"),
          py::arg("scales"), py::kw_only(), py::arg("n_rows"), py::arg("threads") = 0,
          py::arg("device") = py::none(),
          "Of start(), which is called for every pass and gives an iterator of lists of "
          "arrays as above, one a view, all on that CUDA device, if one is named. The number of "
          "rows is known after a pass.")
      .def_property_readonly("device", &PySource::device,
                             "Number of the CUDA device that the rows are on; None where they are "
                             "not on one.")
      .def_property_readonly("n_rows", &PySource::rows);
}

}  // namespace cofactor::bindings
