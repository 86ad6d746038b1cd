#pragma once

// What both products on tensor cores share: X, a matrix of 16-bit numbers or bytes that is read
// once, times a packed factor. Rows of mma's product are rows of X in the first product and its
// columns in the second; columns are components, 8 a tile, so that 20 components cost 24.
//
// A block owns kM of the former and kN of the latter and walks the contraction in stages of 64
// indices, of which two or three are on their way to shared memory while one is multiplied.
//
// Bytes of shared memory that one stage reads and writes per byte of 16-bit data, at 24 components
// in two parts (a block of 128 x 24): 1 written and 1 read for X, 0.375 written and 1.5 read for
// the factor, 3.9 in all. An H100 reads 15 bytes of memory and moves 128 of shared memory a clock
// and multiprocessor, so that this takes half of it. At 128 components (256 x 128) it is 1 and 2
// for X, 1 and 4 for the factor: 8 per byte, 0.125 per multiply-add, which at 1,250 multiply-adds a
// clock (what mma.sync reaches of the 2,048) is 80 of the 128. The factor comes from the
// second-level cache: components * parts / kM bytes of it per byte of X.

#include <type_traits>

#include "backend/cuda/kernels/copy_tile.h"
#include "backend/cuda/kernels/packed_factor.h"

namespace cofactor::cuda {

/// Tiles of a block: kMTiles x kNTiles products of 16 x 8 a warp, kMWarps x kNWarps warps.
template <int kMTiles_, int kNTiles_, int kMWarps_, int kNWarps_>
struct TensorShape {
  static constexpr int kMTiles = kMTiles_, kNTiles = kNTiles_;
  static constexpr int kMWarps = kMWarps_, kNWarps = kNWarps_;
  static constexpr int kThreads = kWarpSize * kMWarps * kNWarps;
  static constexpr int kM = 16 * kMTiles * kMWarps;
  static constexpr int kTiles = kNTiles * kNWarps;  ///< of components
};

/// What the 16-bit operands of a stored number are.
template <class Stored>
using Operand = std::conditional_t<std::is_same_v<Stored, BFloat16>, BFloat16, Float16>;

template <class Shape>
struct Accumulators {
  FragmentC c[Shape::kMTiles][Shape::kNTiles];
};

template <class Shape, class Stored>
struct TensorProduct {
  using E = Operand<Stored>;
  static constexpr int kThreads = Shape::kThreads;
  static constexpr int kItemBytes = static_cast<int>(sizeof(Stored));
  /// Of one stage.
  static constexpr int kDataBytes = Shape::kM * kGroupIndices * kItemBytes;

  const Words4* packed = nullptr;
  int parts = 0;   ///< 1 or kFullParts<E>
  int tiles = 0;   ///< of the packed factor
  int stages = 0;  ///< 2 or 3

  [[nodiscard]] COFACTOR_DEVICE int factor_bytes() const {
    return Shape::kTiles * 2 * parts * kUnitBytes;
  }
  [[nodiscard]] COFACTOR_DEVICE int shared_bytes() const {
    return stages * (kDataBytes + factor_bytes());
  }

  /// acc = the product over `count` groups of indices from group `first_group` on, for the
  /// components from tile `first_tile` on. `copy_data(thread, to, group)` copies a stage of X, and
  /// `load_data(warp, m, from, half, fragments)` sets fragments[lane].a[mt][step].
  template <class Block, class Acc, class CopyData, class LoadData>
  COFACTOR_KERNEL void multiply(Block& block, Acc& acc, std::int64_t first_group, int count,
                                int first_tile, const CopyData& copy_data,
                                const LoadData& load_data) const {
    auto data = block.template shared<char>(stages * kDataBytes);
    auto factor = block.template shared<char>(stages * factor_bytes());
    int filled = 0, used = 0;  // stages, in turn
    const auto next = [&](int stage) { return stage + 1 == stages ? 0 : stage + 1; };
    const auto copy_stage = [&](int group) {
      if (group < count) {
        block.each([&](int thread) {
          copy_data(thread, data + filled * kDataBytes, group);
          const auto* const from =
              reinterpret_cast<const char*>(packed) +
              ((first_group + group) * tiles + first_tile) * 2 * parts * kUnitBytes;
          for (int at = thread * kChunkBytes; at < factor_bytes(); at += kThreads * kChunkBytes) {
            block.template copy_async<kChunkBytes>(factor + filled * factor_bytes() + at, from + at,
                                                   kChunkBytes);
          }
        });
        filled = next(filled);
      }
      // Also without a copy: batches are counted.
      block.copy_commit();
    };

    block.each([&](int thread) { acc[thread] = {}; });
    copy_stage(0);
    if (stages == 3) copy_stage(1);
    for (int group = 0; group < count; ++group) {
      if (stages == 3) {
        block.template copy_wait<1>();
      } else {
        block.template copy_wait<0>();
      }
      // Everyone's copies are there, and nobody reads the stage any more that is filled next.
      block.sync();
      copy_stage(group + stages - 1);
      block.each_warp([&](typename Block::Warp& warp) {
        const auto x = data + used * kDataBytes, h = factor + used * factor_bytes();
        // Both known when compiled, so that loads run ahead of the products of all parts.
        if (parts == 1) {
          multiply_stage<Block, 1>(warp, acc, x, h, load_data);
        } else {
          multiply_stage<Block, kFullParts<E>>(warp, acc, x, h, load_data);
        }
      });
      used = next(used);
    }
    block.template copy_wait<0>();
  }

  /// The data's fragments of half a group: two steps.
  struct Fragments {
    FragmentA a[Shape::kMTiles][2];
  };

 private:
  template <class Block, int kParts, class Acc, class Shared, class LoadData>
  COFACTOR_KERNEL void multiply_stage(typename Block::Warp& warp, Acc& acc, const Shared& data,
                                      const Shared& factor, const LoadData& load_data) const {
    using Warp = typename Block::Warp;
    const int m = warp.index() % Shape::kMWarps, n = warp.index() / Shape::kMWarps;
    // Large tiles have no registers left for what would be loaded ahead.
    COFACTOR_UNROLL_BY(Shape::kMTiles == 2 ? 2 : 1)
    for (int half = 0; half < 2; ++half) {
      typename Warp::template PerLane<Fragments> fragments;
      load_data(warp, m, data, half, fragments);
      COFACTOR_UNROLL
      for (int part = 0; part < kParts; ++part) {
        COFACTOR_UNROLL
        for (int nt = 0; nt < Shape::kNTiles; ++nt) {
          typename Warp::template PerLane<Words4> b;
          const int unit = ((n * Shape::kNTiles + nt) * 2 + half) * kParts + part;
          warp.each([&](int lane) {
            b[lane] = load_vector<Words4>(factor + unit * kUnitBytes + lane * kChunkBytes);
          });
          COFACTOR_UNROLL
          for (int step = 0; step < 2; ++step) {
            COFACTOR_UNROLL
            for (int mt = 0; mt < Shape::kMTiles; ++mt) {
              warp.template mma<E>(
                  [&](int lane) -> FragmentC& { return acc[warp.thread(lane)].c[mt][nt]; },
                  [&](int lane) -> const FragmentA& { return fragments[lane].a[mt][step]; },
                  [&](int lane) {
                    return FragmentB{{b[lane].x[2 * step], b[lane].x[2 * step + 1]}};
                  });
            }
          }
        }
      }
    }
  }
};

}  // namespace cofactor::cuda
