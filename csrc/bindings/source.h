#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "als/block_source.h"
#include "bindings/array_source.h"
#include "core/dtype.h"

namespace cofactor::bindings {

/// Arrays of Python as a block source; keeps them alive.
class PySource {
 public:
  PySource(const ArraySource::Views& views, const std::vector<std::string>& dtypes,
           std::vector<double> scales, std::int64_t block_rows, int threads);

  BlockSource& source() { return *source_; }
  [[nodiscard]] const std::vector<std::int64_t>& columns() const { return columns_; }
  [[nodiscard]] const std::vector<DType>& dtypes() const { return dtypes_; }
  [[nodiscard]] const std::vector<double>& scales() const { return scales_; }
  [[nodiscard]] std::int64_t rows() const { return source_->rows(); }

 private:
  std::vector<DType> dtypes_;
  std::vector<double> scales_;
  std::vector<std::int64_t> columns_;
  std::unique_ptr<BlockSource> source_;
};

}  // namespace cofactor::bindings
