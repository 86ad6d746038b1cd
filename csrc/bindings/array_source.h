#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "als/block_source.h"
#include "core/dtype.h"

namespace cofactor::bindings {

/// Arrays of Python, consecutive pieces of each view's rows, which live as long as their source.
/// Row-major ones are read in place; one of other layout, byte order or integers, or a sparse one
/// in rows, is packed block by block. A DeviceMatrix is an array on a CUDA device, and all are that
/// or none is.
class ArraySource final : public BlockSource {
 public:
  using Views = std::vector<std::vector<pybind11::object>>;
  /// Throws Error for arrays that are not as `dtypes` say or do not fit together. `threads` pack.
  ArraySource(const Views& views, const std::vector<DType>& dtypes, std::int64_t block_rows,
              int threads);
  /// Waits until a device has done with what is now let go.
  ~ArraySource() override;
  ArraySource(const ArraySource&) = delete;
  ArraySource& operator=(const ArraySource&) = delete;

  [[nodiscard]] std::int64_t rows() const override { return source_->rows(); }
  void rewind(std::int64_t first_row) override { source_->rewind(first_row); }
  bool next(Block& block) override { return source_->next(block); }
  [[nodiscard]] const std::vector<std::int64_t>& columns() const { return columns_; }
  /// Number of the CUDA device that its arrays are on, if they are on one.
  [[nodiscard]] std::optional<int> device() const { return device_; }

 private:
  void take_device_matrices(const Views& views, const std::vector<DType>& dtypes,
                            std::int64_t block_rows);

  std::vector<pybind11::object> owners_;
  std::optional<int> device_;
  std::vector<std::int64_t> columns_;
  std::unique_ptr<BlockSource> source_;
};

}  // namespace cofactor::bindings
