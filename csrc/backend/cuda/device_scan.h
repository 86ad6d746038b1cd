#pragma once

// Reads of rows in the device's memory that are no pass: statistics, and copies.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/cuda/kernels/scan_rows.h"

namespace cofactor::cuda {

template <class Runtime, class T>
template <class Work>
void DeviceBackend<Runtime, T>::scan_view(const Block& block, std::size_t v, const Work& work) {
  constexpr std::int64_t kRows = std::int64_t{1} << 15;
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(RowStatistics));
  statistics_.reserve(runtime_, kRows * kSize);
  auto* const on_device = reinterpret_cast<RowStatistics*>(statistics_.data());
  std::vector<RowStatistics> statistics;
  for (std::int64_t first = 0; first < block.rows; first += kRows) {
    check_interrupt();
    const std::int64_t rows = std::min(kRows, block.rows - first);
    const ViewRows from = rows_of(block.views[v].slice(first, rows), v, block.first_row + first);
    const auto launch_for = [&](auto stored) {
      using Kernel = ScanRows<decltype(stored)>;
      launch({divide_up(rows, std::int64_t{Kernel::kRows})},
             Kernel{from.lines, rows, from.columns, on_device}, Kernel::shared_bytes());
    };
    if (const auto packing = packing_of(from.dtype, false)) {
      with_packing(*packing, launch_for);
    } else {
      with_plain_dtype<float>(from.dtype, launch_for);
    }
    statistics.resize(static_cast<std::size_t>(rows));
    runtime_.copy_out(statistics.data(), on_device, static_cast<std::size_t>(rows * kSize),
                      runtime_.compute());
    runtime_.synchronise(runtime_.compute());
    for (std::int64_t i = 0; i < rows; ++i) {
      if (problem_.row_terms.has(block.first_row + first + i, static_cast<int>(v))) {
        work(first + i, statistics[static_cast<std::size_t>(i)]);
      }
    }
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::scan(const Block& block, std::vector<ViewStats>& stats) {
  check_memory(block);
  const auto active = runtime_.activate();
  for (std::size_t v = 0; v < views_.size(); ++v) {
    const double scale = problem_.views[v].scale;
    ViewStats& total = stats[v];
    scan_view(block, v, [&](std::int64_t i, const RowStatistics& row) {
      total.sum_of_squares +=
          problem_.row_terms.weight_of(block.first_row + i) * row.sum_of_squares * scale * scale;
      total.minimum = std::min(total.minimum, row.minimum * scale);
      total.nonfinite += row.nonfinite;
    });
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::row_squares(const Block& block, double* squares) {
  check_memory(block);
  const auto active = runtime_.activate();
  std::fill_n(squares, block.rows, 0.0);
  for (std::size_t v = 0; v < views_.size(); ++v) {
    const ViewSpec& spec = problem_.views[v];
    if (spec.weight <= 0) continue;
    scan_view(block, v, [&](std::int64_t i, const RowStatistics& row) {
      squares[i] += spec.weight * row.sum_of_squares * spec.scale * spec.scale;
    });
  }
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::copy_rows(const MatrixView& rows, void* to) const {
  const auto active = runtime_.activate();
  const std::size_t size = size_of(rows.dtype);
  const std::size_t row_bytes = static_cast<std::size_t>(rows.columns) * size;
  runtime_.copy_rows_out(to, row_bytes, rows.data, static_cast<std::size_t>(rows.row_stride) * size,
                         row_bytes, rows.rows, runtime_.compute());
  runtime_.synchronise(runtime_.compute());
}

}  // namespace cofactor::cuda
