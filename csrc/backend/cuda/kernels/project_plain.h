#pragma once

// First product in the compute type: B = X H^T for one view, in slices of columns that are summed
// apart.

#include "backend/cuda/kernels/plain_tile.h"
#include "backend/cuda/kernels/product_arguments.h"

namespace cofactor::cuda {

/// Grid: (tiles of rows * groups of components) x slices.
template <class Shape, class T, class Stored>
struct ProjectPlain {
  static constexpr int kThreads = Shape::kThreads, kLeastBlocks = 1;
  static constexpr int kChunks = 8;                            ///< of a stage's row
  static constexpr int kDepth = kChunks * Chunk<T>::kNumbers;  ///< columns of a stage
  static constexpr int kDataBytes = Shape::kM * kChunks * kChunkBytes;
  static constexpr int kFactorBytes = Shape::kComponents * kChunks * kChunkBytes;
  static constexpr int kRows = 4, kComponents = 2 * Shape::kQ;  ///< of a thread

  ProjectArguments<T> in;
  int component_groups = 1;
  Lines h;  ///< components of T

  static constexpr int shared_bytes() { return kPlainStages * (kDataBytes + kFactorBytes); }

  /// Eight rows, or four components, that are read together lie on different banks.
  struct Swizzle {
    COFACTOR_DEVICE int operator()(int line) const { return line & 7; }
  };

  struct Sums {
    T x[kRows][kComponents];
  };

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    const std::int64_t first_row = std::int64_t{block.index() / component_groups} * Shape::kM;
    const int first_component = block.index() % component_groups * Shape::kComponents;
    const int slice = block.index_y();
    const std::int64_t first_column = std::int64_t{slice} * kSliceColumns;
    const int width =
        static_cast<int>(smaller<std::int64_t>(kSliceColumns, in.columns - first_column));

    auto data = block.template shared<char>(kPlainStages * kDataBytes);
    auto factors = block.template shared<char>(kPlainStages * kFactorBytes);
    Lines x_tile = in.x, h_tile = h;
    x_tile.data = in.x.at(first_row, 0);
    h_tile.data = h.at(first_component, 0);
    typename Block::template PerThread<Sums> sums;
    block.each([&](int thread) { sums[thread] = {}; });
    walk_stages(
        block, divide_up(width, kDepth),
        [&](int thread, int stage, int index) {
          const std::int64_t column = first_column + std::int64_t{index} * kDepth;
          copy_numbers<T, Stored, kThreads, Shape::kM, kChunks>(
              block, thread, data + stage * kDataBytes, x_tile, column, in.columns,
              in.rows - first_row, in.present == nullptr ? nullptr : in.present + first_row,
              Swizzle{});
          copy_numbers<T, T, kThreads, Shape::kComponents, kChunks>(
              block, thread, factors + stage * kFactorBytes, h_tile, column, in.columns,
              in.components - first_component, nullptr, Swizzle{});
        },
        [&](int stage) {
          block.each([&](int thread) {
            multiply(thread, data + stage * kDataBytes, factors + stage * kFactorBytes,
                     sums[thread]);
          });
        });

    block.each([&](int thread) {
      COFACTOR_UNROLL
      for (int q = 0; q < kRows; ++q) {
        const std::int64_t row = first_row + row_of(thread, q);
        COFACTOR_UNROLL
        for (int c = 0; c < kComponents; ++c) {
          const int component = first_component + thread % 4 + 4 * c;
          if (row < in.rows && component < in.components) {
            in.b[slice * in.slice_stride + row * in.row_stride + component] =
                in.factor * sums[thread].x[q][c];
          }
        }
      }
    });
  }

  COFACTOR_DEVICE static int row_of(int thread, int q) {
    return thread / kWarpSize * kWarpSize + thread % kWarpSize / 4 + 8 * q;
  }

  template <class Shared>
  COFACTOR_KERNEL void multiply(int thread, const Shared& data, const Shared& factors,
                                Sums& sums) const {
    const auto place = [](int line, int chunk) {
      return (line * kChunks + (chunk ^ Swizzle{}(line))) * kChunkBytes;
    };
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      Chunk<T> xs[kRows];
      COFACTOR_UNROLL
      for (int q = 0; q < kRows; ++q) {
        xs[q] = load_vector<Chunk<T>>(data + place(row_of(thread, q), chunk));
      }
      COFACTOR_UNROLL
      for (int c = 0; c < kComponents; ++c) {
        const auto hs = load_vector<Chunk<T>>(factors + place(thread % 4 + 4 * c, chunk));
        COFACTOR_UNROLL
        for (int q = 0; q < kRows; ++q) {
          COFACTOR_UNROLL
          for (int e = 0; e < Chunk<T>::kNumbers; ++e) sums.x[q][c] += xs[q].x[e] * hs.x[e];
        }
      }
    }
  }
};

}  // namespace cofactor::cuda
