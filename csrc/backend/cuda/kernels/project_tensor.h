#pragma once

// First product on tensor cores: B = X H^T for one view, in slices of columns that are summed
// apart.

#include "backend/cuda/kernels/product_arguments.h"
#include "backend/cuda/kernels/tensor_product.h"

namespace cofactor::cuda {

/// Grid: (tiles of rows * groups of components) x slices.
template <class Shape, class Stored>
struct ProjectTensor {
  using Product = TensorProduct<Shape, Stored>;
  static constexpr int kThreads = Shape::kThreads, kLeastBlocks = 1;
  static constexpr int kItemBytes = Product::kItemBytes;
  static constexpr int kChunks = kGroupIndices * kItemBytes / kChunkBytes;  ///< of a row's stage

  Product product;
  ProjectArguments<float> in;
  int component_groups = 1;
  const float* scales = nullptr;  ///< slices x 8 tiles

  [[nodiscard]] COFACTOR_DEVICE int shared_bytes() const { return product.shared_bytes(); }

  /// Distinct banks for a chunk of eight consecutive rows.
  struct Swizzle {
    COFACTOR_DEVICE int operator()(int row) const {
      return kItemBytes == 2 ? row & 7 : (row >> 1) & 3;
    }
  };

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    const std::int64_t first_row = std::int64_t{block.index() / component_groups} * Shape::kM;
    const int first_tile = block.index() % component_groups * Shape::kTiles;
    const int slice = block.index_y();
    const std::int64_t first_column = std::int64_t{slice} * kSliceColumns;
    const int width =
        static_cast<int>(smaller<std::int64_t>(kSliceColumns, in.columns - first_column));

    Lines tile = in.x;
    tile.data = in.x.at(first_row, 0);
    const std::uint8_t* const tile_present =
        in.present == nullptr ? nullptr : in.present + first_row;
    typename Block::template PerThread<Accumulators<Shape>> acc;
    product.multiply(
        block, acc, first_column / kGroupIndices, divide_up(width, kGroupIndices), first_tile,
        [&](int thread, const auto& to, int group) {
          copy_tile<kThreads, kItemBytes, Shape::kM, kChunks>(
              block, thread, to, tile,
              (first_column + std::int64_t{group} * kGroupIndices) * kItemBytes,
              in.columns * kItemBytes, in.rows - first_row, tile_present, Swizzle{});
        },
        [&](auto& warp, int m, const auto& from, int half, auto& fragments) {
          load_fragments<Block>(warp, m, from, half, fragments);
        });

    block.each([&](int thread) {
      const int warp = thread / kWarpSize, lane = thread % kWarpSize;
      const std::int64_t row = first_row + warp % Shape::kMWarps * (16 * Shape::kMTiles) + lane / 4;
      const int tile_0 = first_tile + warp / Shape::kMWarps * Shape::kNTiles;
      float* const to = in.b + slice * in.slice_stride;
      COFACTOR_UNROLL
      for (int nt = 0; nt < Shape::kNTiles; ++nt) {
        COFACTOR_UNROLL
        for (int e = 0; e < 2; ++e) {
          const int component = (tile_0 + nt) * kTileComponents + lane % 4 * 2 + e;
          if (component >= in.components) continue;
          const float scale =
              scales[slice * std::int64_t{product.tiles} * kTileComponents + component] * in.factor;
          COFACTOR_UNROLL
          for (int mt = 0; mt < Shape::kMTiles; ++mt) {
            COFACTOR_UNROLL
            for (int half = 0; half < 2; ++half) {
              const std::int64_t at = row + (16 * mt + 8 * half);
              if (at < in.rows) {
                to[at * in.row_stride + component] = scale * acc[thread].c[mt][nt].x[2 * half + e];
              }
            }
          }
        }
      }
    });
  }

  /// Matrices of eight rows and 16 bytes of columns: 8 numbers, or 16 bytes of which a lane gets
  /// four and makes two pairs.
  template <class Block, class Shared, class Fragments>
  COFACTOR_KERNEL void load_fragments(typename Block::Warp& warp, int m, const Shared& from,
                                      int half, Fragments& fragments) const {
    COFACTOR_UNROLL
    for (int mt = 0; mt < Shape::kMTiles; ++mt) {
      const auto place = [&](int lane, int first_chunk) {
        const int row = (m * Shape::kMTiles + mt) * 16 + lane % 16;
        const int chunk = first_chunk + lane / 16;
        return from + (row * kChunks + (chunk ^ Swizzle{}(row))) * kChunkBytes;
      };
      if constexpr (kItemBytes == 2) {
        COFACTOR_UNROLL
        for (int step = 0; step < 2; ++step) {
          warp.load_matrices([&](int lane) -> FragmentA& { return fragments[lane].a[mt][step]; },
                             [&](int lane) { return place(lane, 4 * half + 2 * step); });
        }
      } else {
        typename Block::Warp::template PerLane<FragmentA> bytes;
        warp.load_matrices([&](int lane) -> FragmentA& { return bytes[lane]; },
                           [&](int lane) { return place(lane, 2 * half); });
        warp.each([&](int lane) {
          COFACTOR_UNROLL
          for (int step = 0; step < 2; ++step) {
            COFACTOR_UNROLL
            for (int lower = 0; lower < 2; ++lower) {
              const std::uint32_t four = bytes[lane].x[2 * step + lower];
              fragments[lane].a[mt][step].x[lower] = float16_pair_of_bytes(four);
              fragments[lane].a[mt][step].x[2 + lower] = float16_pair_of_bytes(four >> 8);
            }
          }
        });
      }
    }
  }
};

}  // namespace cofactor::cuda
