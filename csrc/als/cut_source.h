#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "als/block_source.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/matrix_view.h"

namespace cofactor {

/// Consecutive columns of a view of another source.
struct ColumnCut {
  std::size_t view = 0;
  std::int64_t first = 0;
  std::int64_t columns = 0;
};

/// Another source's rows, of which every view is some columns of one of its views. Nothing is
/// copied.
class CutSource final : public BlockSource {
 public:
  CutSource(std::unique_ptr<BlockSource> source, std::vector<ColumnCut> cuts)
      : source_(std::move(source)), cuts_(std::move(cuts)) {}

  [[nodiscard]] std::int64_t rows() const override { return source_->rows(); }
  void rewind(std::int64_t first_row) override { source_->rewind(first_row); }
  /// Throws Error for columns that a view does not have.
  bool next(Block& block) override {
    if (!source_->next(inner_)) return false;
    block.first_row = inner_.first_row;
    block.rows = inner_.rows;
    block.views.clear();
    for (const ColumnCut& cut : cuts_) block.views.push_back(apply(cut));
    return true;
  }

 private:
  [[nodiscard]] MatrixView apply(const ColumnCut& cut) const {
    if (cut.view >= inner_.views.size() || cut.first < 0 || cut.columns < 1 ||
        cut.first + cut.columns > inner_.views[cut.view].columns) {
      throw Error(ErrorKind::kValue, "a cut has columns that its view does not have");
    }
    MatrixView view = inner_.views[cut.view];
    view.data = static_cast<const std::byte*>(view.data) +
                static_cast<std::size_t>(cut.first) * size_of(view.dtype);
    view.columns = cut.columns;
    return view;
  }

  std::unique_ptr<BlockSource> source_;
  std::vector<ColumnCut> cuts_;
  Block inner_;
};

}  // namespace cofactor
