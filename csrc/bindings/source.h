#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "als/block_source.h"
#include "backend/backend.h"
#include "core/dtype.h"

namespace cofactor::bindings {

/// The data of Python as a block source: arrays, files, or an iterable of blocks.
class PySource {
 public:
  /// What the core needs to know of a view, wherever its rows are.
  struct Views {
    std::vector<std::int64_t> columns;
    std::vector<DType> dtypes;
    std::vector<double> scales;
  };
  /// Throws Error unless there is at least one view, and everything once for each.
  PySource(Views views, std::unique_ptr<BlockSource> source,
           std::optional<int> device = std::nullopt);

  BlockSource& source() { return *source_; }
  /// The same rows on the CUDA device that the options of the first call name. They stay there as
  /// far as it has room, for whoever asks again.
  BlockSource& on_cuda(const BackendOptions& options);
  [[nodiscard]] const std::vector<std::int64_t>& columns() const { return views_.columns; }
  [[nodiscard]] const std::vector<DType>& dtypes() const { return views_.dtypes; }
  [[nodiscard]] const std::vector<double>& scales() const { return views_.scales; }
  [[nodiscard]] std::int64_t rows() const { return source_->rows(); }
  /// Number of the CUDA device that its blocks are on, if they are on one.
  [[nodiscard]] std::optional<int> device() const { return device_; }

 private:
  Views views_;
  std::optional<int> device_;
  std::unique_ptr<BlockSource> source_;
  std::unique_ptr<BlockSource> on_cuda_;
};

}  // namespace cofactor::bindings
