#pragma once

// Second product in the compute type: W^T X of every panel of rows, apart. Every sum takes the rows
// in order.

#include "backend/cuda/kernels/plain_tile.h"
#include "backend/cuda/kernels/product_arguments.h"

namespace cofactor::cuda {

/// Grid: (tiles of columns * groups of components) x panels. The first row is at the start of a
/// panel.
template <class Shape, class T, class Stored>
struct AccumulatePlain {
  static constexpr int kThreads = Shape::kThreads, kLeastBlocks = 1;
  static constexpr int kDepth = sizeof(T) == 4 ? 32 : 16;  ///< rows of a stage
  static constexpr int kDataChunks = Shape::kM / Chunk<T>::kNumbers;
  static constexpr int kFactorChunks = Shape::kComponents / Chunk<T>::kNumbers;
  static constexpr int kDataBytes = kDepth * kDataChunks * kChunkBytes;
  static constexpr int kFactorBytes = kDepth * kFactorChunks * kChunkBytes;
  static constexpr int kColumns = 4, kPairs = Shape::kQ;  ///< of a thread
  static constexpr int kRows = static_cast<int>(kPanelRows);

  AccumulateArguments<T> in;
  int component_groups = 1;
  Lines w;  ///< rows of T

  static constexpr int shared_bytes() { return kPlainStages * (kDataBytes + kFactorBytes); }

  /// A warp reads neighbouring chunks of one row.
  struct InOrder {
    COFACTOR_DEVICE int operator()(int /*line*/) const { return 0; }
  };

  struct Sums {
    T x[kPairs][2][kColumns];
  };

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    const std::int64_t first_column = std::int64_t{block.index() / component_groups} * Shape::kM;
    const int first_component = block.index() % component_groups * Shape::kComponents;
    const int panel = block.index_y();
    const std::int64_t first_row = std::int64_t{panel} * kRows;
    const int height = static_cast<int>(smaller<std::int64_t>(kRows, in.rows - first_row));

    auto data = block.template shared<char>(kPlainStages * kDataBytes);
    auto factors = block.template shared<char>(kPlainStages * kFactorBytes);
    typename Block::template PerThread<Sums> kept;
    block.each([&](int thread) { kept[thread] = {}; });
    walk_stages(
        block, divide_up(height, kDepth),
        [&](int thread, int stage, int index) {
          const int row = index * kDepth;
          Lines x_tile = in.x, w_tile = w;
          x_tile.data = in.x.at(first_row + row, 0);
          w_tile.data = w.at(first_row + row, 0);
          copy_numbers<T, Stored, kThreads, kDepth, kDataChunks>(
              block, thread, data + stage * kDataBytes, x_tile, first_column, in.columns,
              height - row, in.present == nullptr ? nullptr : in.present + first_row + row,
              InOrder{});
          copy_numbers<T, T, kThreads, kDepth, kFactorChunks>(
              block, thread, factors + stage * kFactorBytes, w_tile, first_component, in.components,
              height - row, nullptr, InOrder{});
        },
        [&](int stage) {
          block.each([&](int thread) {
            multiply(thread, data + stage * kDataBytes, factors + stage * kFactorBytes,
                     kept[thread]);
          });
        });

    block.each([&](int thread) {
      COFACTOR_UNROLL
      for (int q = 0; q < kPairs; ++q) {
        COFACTOR_UNROLL
        for (int e = 0; e < 2; ++e) {
          const int component = first_component + 8 * q + thread % 4 * 2 + e;
          COFACTOR_UNROLL
          for (int c = 0; c < kColumns; ++c) {
            const std::int64_t column = first_column + column_of(thread, c);
            if (column < in.columns && component < in.components) {
              in.sums[panel * in.panel_stride + component * in.component_stride + column] =
                  kept[thread].x[q][e][c];
            }
          }
        }
      }
    });
  }

  /// Chunks g, g + 8, ... of the warp's columns.
  COFACTOR_DEVICE static int chunk_of(int thread, int c) {
    return thread / kWarpSize * (kWarpSize / Chunk<T>::kNumbers) + thread % kWarpSize / 4 +
           8 * (c / Chunk<T>::kNumbers);
  }
  COFACTOR_DEVICE static int column_of(int thread, int c) {
    return chunk_of(thread, c) * Chunk<T>::kNumbers + c % Chunk<T>::kNumbers;
  }

  template <class Shared>
  COFACTOR_KERNEL void multiply(int thread, const Shared& data, const Shared& factors,
                                Sums& to) const {
    constexpr int kSize = static_cast<int>(sizeof(T));
    for (int row = 0; row < kDepth; ++row) {
      Chunk<T> xs[kColumns / Chunk<T>::kNumbers];
      COFACTOR_UNROLL
      for (int c = 0; c < kColumns; c += Chunk<T>::kNumbers) {
        xs[c / Chunk<T>::kNumbers] =
            load_vector<Chunk<T>>(data + (row * kDataChunks + chunk_of(thread, c)) * kChunkBytes);
      }
      COFACTOR_UNROLL
      for (int q = 0; q < kPairs; ++q) {
        const auto ws = load_vector<Pair<T>>(factors + row * kFactorChunks * kChunkBytes +
                                             (8 * q + thread % 4 * 2) * kSize);
        COFACTOR_UNROLL
        for (int c = 0; c < kColumns; ++c) {
          const T value = xs[c / Chunk<T>::kNumbers].x[c % Chunk<T>::kNumbers];
          to.x[q][0][c] += ws.x[0] * value;
          to.x[q][1][c] += ws.x[1] * value;
        }
      }
    }
  }
};

}  // namespace cofactor::cuda
