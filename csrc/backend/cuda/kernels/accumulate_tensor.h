#pragma once

// Second product on tensor cores: W^T X of every panel of rows, apart, in float32. fold_panels.h
// adds the panels to S in order.

#include "backend/cuda/kernels/product_arguments.h"
#include "backend/cuda/kernels/tensor_product.h"

namespace cofactor::cuda {

/// Grid: (tiles of columns * groups of components) x panels. The first row is at the start of a
/// panel.
template <class Shape, class Stored>
struct AccumulateTensor {
  using Product = TensorProduct<Shape, Stored>;
  static constexpr int kThreads = Shape::kThreads, kLeastBlocks = 1;
  static constexpr int kItemBytes = Product::kItemBytes;
  static constexpr int kChunks = Shape::kM * kItemBytes / kChunkBytes;  ///< of a row's stage
  static constexpr int kRows = static_cast<int>(kPanelRows);

  Product product;
  AccumulateArguments<float> in;
  int component_groups = 1;
  const float* scales = nullptr;  ///< panels x 8 tiles

  [[nodiscard]] COFACTOR_DEVICE int shared_bytes() const { return product.shared_bytes(); }

  /// Distinct banks for a chunk of eight consecutive rows.
  struct Swizzle {
    COFACTOR_DEVICE int operator()(int row) const { return row & 7; }
  };

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    const std::int64_t first_column = std::int64_t{block.index() / component_groups} * Shape::kM;
    const int first_tile = block.index() % component_groups * Shape::kTiles;
    const int panel = block.index_y();
    const std::int64_t first_row = std::int64_t{panel} * kRows;
    const int height = static_cast<int>(smaller<std::int64_t>(kRows, in.rows - first_row));

    typename Block::template PerThread<Accumulators<Shape>> acc;
    product.multiply(
        block, acc, first_row / kGroupIndices, divide_up(height, kGroupIndices), first_tile,
        [&](int thread, const auto& to, int group) {
          const int row = group * kGroupIndices;
          Lines tile = in.x;
          tile.data = in.x.at(first_row + row, 0);
          copy_tile<kThreads, kItemBytes, kGroupIndices, kChunks>(
              block, thread, to, tile, first_column * kItemBytes, in.columns * kItemBytes,
              height - row, in.present == nullptr ? nullptr : in.present + first_row + row,
              Swizzle{});
        },
        [&](auto& warp, int m, const auto& from, int half, auto& fragments) {
          load_fragments<Block>(warp, m, from, half, fragments);
        });

    block.each([&](int thread) {
      const int warp = thread / kWarpSize, lane = thread % kWarpSize;
      const std::int64_t column = first_column + warp % Shape::kMWarps * (16 * Shape::kMTiles);
      const int tile_0 = first_tile + warp / Shape::kMWarps * Shape::kNTiles;
      float* const to = in.sums + panel * in.panel_stride;
      COFACTOR_UNROLL
      for (int nt = 0; nt < Shape::kNTiles; ++nt) {
        COFACTOR_UNROLL
        for (int e = 0; e < 2; ++e) {
          const int component = (tile_0 + nt) * kTileComponents + lane % 4 * 2 + e;
          if (component >= in.components) continue;
          const float scale =
              scales[panel * std::int64_t{product.tiles} * kTileComponents + component];
          COFACTOR_UNROLL
          for (int mt = 0; mt < Shape::kMTiles; ++mt) {
            COFACTOR_UNROLL
            for (int half = 0; half < 2; ++half) {
              const std::int64_t at = column + (16 * mt + column_of(lane / 4, half));
              if (at < in.columns) {
                to[component * in.component_stride + at] =
                    scale * acc[thread].c[mt][nt].x[2 * half + e];
              }
            }
          }
        }
      }
    });
  }

  /// Column in its tile of row g of a fragment's upper or lower half.
  COFACTOR_DEVICE static int column_of(int g, int half) {
    return kItemBytes == 2 ? g + 8 * half : 2 * g + half;
  }

  /// Matrices of eight rows and 16 bytes of columns, transposed on their way to the registers.
  /// Pairs of bytes travel as one number: each gives the even and the odd columns of a tile.
  template <class Block, class Shared, class Fragments>
  COFACTOR_KERNEL void load_fragments(typename Block::Warp& warp, int m, const Shared& from,
                                      int half, Fragments& fragments) const {
    const auto place = [&](int row, int chunk) {
      return from + (row * kChunks + (chunk ^ Swizzle{}(row))) * kChunkBytes;
    };
    COFACTOR_UNROLL
    for (int mt = 0; mt < Shape::kMTiles; ++mt) {
      const int tile = m * Shape::kMTiles + mt;
      if constexpr (kItemBytes == 2) {
        COFACTOR_UNROLL
        for (int step = 0; step < 2; ++step) {
          warp.load_matrices_transposed(
              [&](int lane) -> FragmentA& { return fragments[lane].a[mt][step]; },
              [&](int lane) {
                return place(32 * half + 16 * step + lane / 16 * 8 + lane % 8,
                             2 * tile + lane / 8 % 2);
              });
        }
      } else {
        typename Block::Warp::template PerLane<FragmentA> pairs;
        warp.load_matrices_transposed([&](int lane) -> FragmentA& { return pairs[lane]; },
                                      [&](int lane) { return place(32 * half + lane, tile); });
        warp.each([&](int lane) {
          COFACTOR_UNROLL
          for (int step = 0; step < 2; ++step) {
            COFACTOR_UNROLL
            for (int upper = 0; upper < 2; ++upper) {
              const std::uint32_t pair = pairs[lane].x[2 * step + upper];
              fragments[lane].a[mt][step].x[2 * upper] = float16_pair_of_bytes(pair);
              fragments[lane].a[mt][step].x[2 * upper + 1] = float16_pair_of_bytes(pair >> 8);
            }
          }
        });
      }
    }
  }
};

}  // namespace cofactor::cuda
