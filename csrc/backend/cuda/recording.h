#pragma once

#include <algorithm>
#include <optional>

#include "core/matrix_view.h"

namespace cofactor::cuda {

/// What a pass does with a block of rows, to be given to the device at once. It knows addresses and
/// no numbers: whatever lies there when it is played is what it works on.
template <class Runtime>
struct Recording {
  Block block;
  bool rounded = false;
  std::optional<typename Runtime::Graph> graph = std::nullopt;  ///< once it is recorded

  [[nodiscard]] bool is_of(const Block& other, bool rounds) const {
    return rounded == rounds && block.first_row == other.first_row && block.rows == other.rows &&
           std::ranges::equal(block.views, other.views, [](const auto& a, const auto& b) {
             return a.data == b.data && a.dtype == b.dtype && a.rows == b.rows &&
                    a.columns == b.columns && a.row_stride == b.row_stride;
           });
  }
};

}  // namespace cofactor::cuda
