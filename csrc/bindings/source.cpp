#include "bindings/source.h"

#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "als/cut_source.h"
#include "als/file_source.h"
#include "als/nonnegative_source.h"
#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace cofactor::bindings {

std::vector<DType> parse_dtypes(const std::vector<std::string>& names) {
  std::vector<DType> dtypes;
  for (const std::string& name : names) dtypes.push_back(parse_dtype(name));
  return dtypes;
}

MatrixView view_of(const py::array& array, DType dtype, std::size_t number) {
  const std::string name = "view number " + std::to_string(number);
  if (array.ndim() != 2) {
    throw Error(ErrorKind::kValue, name + " has " + std::to_string(array.ndim()) +
                                       " dimensions; expected rows x columns");
  }
  const auto size = static_cast<py::ssize_t>(size_of(dtype));
  if (array.itemsize() != size) {
    throw Error(ErrorKind::kType, name + " has numbers of " + std::to_string(array.itemsize()) +
                                      " bytes; its dtype has " + std::to_string(size));
  }
  const bool contiguous = array.shape(1) <= 1 || array.strides(1) == size;
  if (!contiguous || array.strides(0) % size != 0 || array.strides(0) < 0) {
    throw Error(ErrorKind::kValue, name + " is not row-major; pass numpy.ascontiguousarray of it");
  }
  if (reinterpret_cast<std::uintptr_t>(array.data()) % size_of(dtype) != 0) {
    throw Error(ErrorKind::kValue, name + " is not aligned to its dtype; pass a copy of it");
  }
  return {array.data(), dtype, array.shape(0), array.shape(1), array.strides(0) / size};
}

namespace {

using Arrays = std::vector<std::vector<py::array>>;
using Files = std::vector<std::vector<std::tuple<std::string, std::int64_t, std::int64_t>>>;
using Rules = std::vector<std::tuple<std::string, double>>;
using Cuts = std::vector<std::tuple<std::size_t, std::int64_t, std::int64_t>>;

/// Arrays in memory, which live as long as their source.
class ArraySource final : public BlockSource {
 public:
  ArraySource(Arrays arrays, const std::vector<DType>& dtypes, std::int64_t block_rows)
      : owners_(std::move(arrays)), source_(pieces(owners_, dtypes), block_rows) {}

  [[nodiscard]] std::int64_t rows() const override { return source_.rows(); }
  void rewind() override { source_.rewind(); }
  bool next(Block& block) override { return source_.next(block); }

 private:
  static std::vector<std::vector<MatrixView>> pieces(const Arrays& arrays,
                                                     const std::vector<DType>& dtypes) {
    std::vector<std::vector<MatrixView>> result(arrays.size());
    for (std::size_t v = 0; v < arrays.size(); ++v) {
      for (const py::array& array : arrays[v]) {
        result[v].push_back(view_of(array, dtypes[v], v));
        if (result[v].back().columns != result[v].front().columns) {
          throw Error(ErrorKind::kValue, "the arrays of view number " + std::to_string(v) +
                                             " differ in their number of columns");
        }
      }
    }
    return result;
  }

  Arrays owners_;
  MatrixSource source_;
};

std::unique_ptr<PySource> from_arrays(Arrays views, const std::vector<std::string>& dtypes,
                                      std::vector<double> scales, std::int64_t block_rows) {
  PySource::Views described{{}, parse_dtypes(dtypes), std::move(scales)};
  if (views.size() != described.dtypes.size()) {
    throw Error(ErrorKind::kValue, "a source needs one dtype a view");
  }
  for (const std::vector<py::array>& view : views) {
    if (view.empty()) throw Error(ErrorKind::kValue, "a view needs at least one array");
    described.columns.push_back(view.front().ndim() == 2 ? view.front().shape(1) : 0);
  }
  auto source = std::make_unique<ArraySource>(std::move(views), described.dtypes, block_rows);
  return std::make_unique<PySource>(std::move(described), std::move(source));
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

using Start = py::typing::Callable<py::typing::Iterator<py::typing::List<py::array>>()>;

/// Blocks that a Python iterator gives. The loop runs without the GIL, which each block takes.
class IteratorSource final : public BlockSource {
 public:
  IteratorSource(Start start, std::vector<DType> dtypes, std::int64_t rows)
      : start_(std::move(start)), dtypes_(std::move(dtypes)), rows_(rows) {}
  ~IteratorSource() override {
    const py::gil_scoped_acquire gil;
    arrays_.clear();
    iterator_ = py::object();
    start_ = Start();
  }
  IteratorSource(const IteratorSource&) = delete;
  IteratorSource& operator=(const IteratorSource&) = delete;

  [[nodiscard]] std::int64_t rows() const override { return rows_; }
  void rewind() override {
    const py::gil_scoped_acquire gil;
    arrays_.clear();
    iterator_ = start_();
    next_row_ = 0;
  }
  bool next(Block& block) override {
    const py::gil_scoped_acquire gil;
    arrays_.clear();
    PyObject* const given = PyIter_Next(iterator_.ptr());
    if (given == nullptr) {
      if (PyErr_Occurred() != nullptr) throw py::error_already_set();
      rows_ = next_row_;
      return false;
    }
    arrays_ = py::reinterpret_steal<py::object>(given).cast<std::vector<py::array>>();
    if (arrays_.size() != dtypes_.size()) {
      throw Error(ErrorKind::kValue, "a block needs one array a view");
    }
    block.views.clear();
    for (std::size_t v = 0; v < arrays_.size(); ++v) {
      block.views.push_back(view_of(arrays_[v], dtypes_[v], v));
    }
    block.first_row = next_row_;
    block.rows = block.views.front().rows;
    next_row_ += block.rows;
    return true;
  }

 private:
  Start start_;
  std::vector<DType> dtypes_;
  std::int64_t rows_;
  py::object iterator_;
  std::vector<py::array> arrays_;
  std::int64_t next_row_ = 0;
};

std::unique_ptr<PySource> from_blocks(Start start, std::vector<std::int64_t> columns,
                                      const std::vector<std::string>& dtypes,
                                      std::vector<double> scales, std::int64_t n_rows) {
  PySource::Views described{std::move(columns), parse_dtypes(dtypes), std::move(scales)};
  auto source = std::make_unique<IteratorSource>(std::move(start), described.dtypes, n_rows);
  return std::make_unique<PySource>(std::move(described), std::move(source));
}

}  // namespace

PySource::PySource(Views views, std::unique_ptr<BlockSource> source)
    : views_(std::move(views)), source_(std::move(source)) {
  const std::size_t count = views_.columns.size();
  if (count == 0) throw Error(ErrorKind::kValue, "a source needs at least one view");
  if (views_.dtypes.size() != count || views_.scales.size() != count) {
    throw Error(ErrorKind::kValue, "a source needs one dtype and one scale a view");
  }
}

void register_source(py::module_& module) {
  py::class_<PySource>(module, "Source", "Rows of all views, a block at a time.")
      .def(py::init(&from_arrays), py::arg("views"), py::arg("dtypes"), py::arg("scales"),
           py::kw_only(), py::arg("block_rows") = 0,
           "Of lists of row-major arrays, consecutive pieces of their rows. Keeps the arrays alive "
           "and copies nothing.")
      .def_static(
          "from_files", &from_files, py::arg("files"), py::arg("columns"), py::arg("dtypes"),
          py::arg("scales"), py::kw_only(), py::arg("negative"), py::arg("selection"),
          py::arg("block_rows"), py::arg("kept_bytes"), py::arg("cuts") = py::none(),
          "Of lists of (path, offset in bytes, rows) that hold a view's rows one after the "
          "other. Of these the selection, if there is one, in its order. To negative values "
          "happens what `negative` says for each view: keep, relu, shift or split, and "
          "the minimum for shift. Cuts, if any, are the views to give: (view, first column, "
          "column after the last).")
      .def_static("from_blocks", &from_blocks, py::arg("start"), py::arg("columns"),
                  py::arg("dtypes"), py::arg("scales"), py::kw_only(), py::arg("n_rows"),
                  "Of start(), which is called for every pass and gives an iterator of lists of "
                  "row-major arrays, one a view. The number of rows is known after a pass.")
      .def_property_readonly("n_rows", &PySource::rows);
}

}  // namespace cofactor::bindings
