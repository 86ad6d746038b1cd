#pragma once

// ||X - W H||^2 by row for one view and one fit, for losses so small that the Gram identity has
// lost them to cancellation. Products and differences in T; squares of a thread's step join a
// float64 sum.

#include "backend/cuda/kernels/product_arguments.h"

namespace cofactor::cuda {

/// Grid: tiles of kRows rows x slices of kSliceColumns columns.
template <class T, class Stored>
struct Residual {
  static constexpr int kThreads = 128, kLeastBlocks = 4;
  static constexpr int kRows = 32;     ///< of a block
  static constexpr int kColumns = 64;  ///< of a step
  static constexpr int kDepth = 16;    ///< components in shared memory at a time
  static constexpr int kAcross = 16;   ///< threads side by side along a row
  static constexpr int kOwn = 4;       ///< rows, and columns, of a thread

  Lines x;
  const std::uint8_t* present = nullptr;  ///< by row; null for all
  std::int64_t rows = 0, columns = 0;
  T scale = 1;
  int components = 0;
  const T* w = nullptr;  ///< rows x components
  std::int64_t w_stride = 0;
  const T* h = nullptr;  ///< components x columns
  std::int64_t h_stride = 0;
  double* squares = nullptr;  ///< slice, row; 0 for rows without the view
  std::int64_t slice_stride = 0;

  static constexpr int shared_bytes() {
    return kDepth * (kRows + kColumns) * static_cast<int>(sizeof(T)) +
           kRows * kAcross * static_cast<int>(sizeof(double));
  }

  struct Kept {
    T rest[kOwn][kOwn];
    double squares[kOwn];
  };

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    auto partial = block.template shared<double>(kRows * kAcross);
    auto w_tile = block.template shared<T>(kDepth * kRows);
    auto h_tile = block.template shared<T>(kDepth * kColumns);
    const std::int64_t first_row = std::int64_t{block.index()} * kRows;
    const std::int64_t begin = std::int64_t{block.index_y()} * kSliceColumns;
    const std::int64_t end = smaller(begin + kSliceColumns, columns);

    typename Block::template PerThread<Kept> kept;
    block.each([&](int thread) {
      COFACTOR_UNROLL
      for (int q = 0; q < kOwn; ++q) kept[thread].squares[q] = 0;
    });
    for (std::int64_t column = begin; column < end; column += kColumns) {
      block.each([&](int thread) { load_data(thread, first_row, column, kept[thread]); });
      for (int first = 0; first < components; first += kDepth) {
        block.sync();
        block.each([&](int thread) {
          for (int at = thread; at < kDepth * kRows; at += kThreads) {
            const int r = first + at % kDepth;
            const std::int64_t row = first_row + at / kDepth;
            const bool here = r < components && row < rows;
            w_tile[at % kDepth * kRows + at / kDepth] = here ? w[row * w_stride + r] : T{0};
          }
          for (int at = thread; at < kDepth * kColumns; at += kThreads) {
            const int r = first + at / kColumns;
            const std::int64_t j = column + at % kColumns;
            h_tile[at] = r < components && j < end ? h[r * h_stride + j] : T{0};
          }
        });
        block.sync();
        block.each([&](int thread) { subtract(thread, w_tile, h_tile, kept[thread]); });
      }
      block.each([&](int thread) { add_squares(kept[thread]); });
    }
    block.each([&](int thread) {
      COFACTOR_UNROLL
      for (int q = 0; q < kOwn; ++q) {
        partial[(thread / kAcross * kOwn + q) * kAcross + thread % kAcross] =
            kept[thread].squares[q];
      }
    });
    block.sync();
    block.each([&](int thread) {
      const std::int64_t row = first_row + thread;
      if (thread >= kRows || row >= rows) return;
      double sum = 0;
      for (int at = 0; at < kAcross; ++at) {
        const double part = partial[thread * kAcross + at];
        sum += part;
      }
      const bool here = present == nullptr || present[row] != 0;
      squares[block.index_y() * slice_stride + row] = here ? sum : 0.0;
    });
  }

  COFACTOR_KERNEL void load_data(int thread, std::int64_t first_row, std::int64_t column,
                                 Kept& kept) const {
    COFACTOR_UNROLL
    for (int q = 0; q < kOwn; ++q) {
      const std::int64_t row = first_row + (thread / kAcross * kOwn + q);
      COFACTOR_UNROLL
      for (int c = 0; c < kOwn; ++c) {
        const std::int64_t j = column + (thread % kAcross + c * kAcross);
        kept.rest[q][c] = 0;
        if (row < rows && j < columns) {
          kept.rest[q][c] = scale * to_compute<T>(*reinterpret_cast<const Stored*>(
                                        x.at(row, j * static_cast<std::int64_t>(sizeof(Stored)))));
        }
      }
    }
  }

  template <class Shared>
  COFACTOR_KERNEL void subtract(int thread, const Shared& w_tile, const Shared& h_tile,
                                Kept& kept) const {
    for (int r = 0; r < kDepth; ++r) {
      T ws[kOwn], hs[kOwn];
      COFACTOR_UNROLL
      for (int at = 0; at < kOwn; ++at) {
        ws[at] = w_tile[r * kRows + thread / kAcross * kOwn + at];
        hs[at] = h_tile[r * kColumns + thread % kAcross + at * kAcross];
      }
      COFACTOR_UNROLL
      for (int q = 0; q < kOwn; ++q) {
        COFACTOR_UNROLL
        for (int c = 0; c < kOwn; ++c) kept.rest[q][c] -= ws[q] * hs[c];
      }
    }
  }

  COFACTOR_KERNEL static void add_squares(Kept& kept) {
    COFACTOR_UNROLL
    for (int q = 0; q < kOwn; ++q) {
      T sum = 0;
      COFACTOR_UNROLL
      for (int c = 0; c < kOwn; ++c) sum += kept.rest[q][c] * kept.rest[q][c];
      kept.squares[q] += static_cast<double>(sum);
    }
  }
};

}  // namespace cofactor::cuda
