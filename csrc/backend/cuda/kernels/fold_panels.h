#pragma once

// Adds the sums of panels to S or C, in float64 and in the order of the panels.

#include "backend/cuda/group.h"

namespace cofactor::cuda {

/// Grid: blocks of kThreads columns x components.
template <class T>
struct FoldPanels {
  static constexpr int kThreads = 128;

  const T* panels = nullptr;  ///< panel, component, column
  std::int64_t panel_stride = 0, component_stride = 0;
  int count = 0;
  std::int64_t columns = 0;
  double scale = 1.0;
  double* sums = nullptr;  ///< component, column, without gaps

  static constexpr int shared_bytes() { return 0; }

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    block.each([&](int thread) {
      const std::int64_t column = std::int64_t{block.index()} * kThreads + thread;
      if (column >= columns) return;
      const T* const from = panels + block.index_y() * component_stride + column;
      double* const to = sums + block.index_y() * columns + column;
      double sum = *to;
      for (int panel = 0; panel < count; ++panel) {
        sum += scale * static_cast<double>(from[panel * panel_stride]);
      }
      *to = sum;
    });
  }
};

}  // namespace cofactor::cuda
