#pragma once

// The small factor (H in the first product, W in the second) as the tensor cores read it: divided
// by a power of two per component and run, split into parts of 16 bits, and laid out so that one
// load of 16 bytes a lane brings the fragments of two steps.
//
// A run is what one scale belongs to: a slice of columns, or a panel of rows. Runs are divided into
// groups of 64 indices along the contraction. In memory: [group][tile of 8 components][half of the
// group][part][lane][8 numbers]. Lane 4 g + t has component g of the tile at the indices that it
// needs in the two steps of half a group: 2 t and 2 t + 1 of each run of eight, or, where the data
// has bytes, which come to a lane by four, 4 t + (0, 2, 1, 3) of each run of sixteen.
//
// A number v is scale * (part 0 + part 1 + ...) with |v / scale| < 2^15, up to an error of
// |v| u^parts + 2^-25 scale, with u = 2^-11 for float16 (whose subnormal numbers make the second
// term) and 2^-8 for bfloat16.

#include "backend/cuda/group.h"

namespace cofactor::cuda {

inline constexpr int kGroupIndices = 64;
inline constexpr int kTileComponents = 8;
/// Bytes of one tile's part of half a group.
inline constexpr int kUnitBytes = 512;
inline constexpr int kMostParts = 3;

/// Parts that carry the 24 bits of float32, or as many as E allows within its range.
template <class E>
inline constexpr int kFullParts = 2;
template <>
inline constexpr int kFullParts<BFloat16> = 3;

[[nodiscard]] COFACTOR_DEVICE constexpr std::int64_t packed_bytes(std::int64_t indices, int tiles,
                                                                  int parts) {
  return divide_up(indices, std::int64_t{kGroupIndices}) * tiles * 2 * parts * kUnitBytes;
}

/// Grid: tiles x runs.
template <class E>
struct PackFactor {
  static constexpr int kThreads = 256;

  const float* from = nullptr;  ///< component r, index l at r * component_stride + l * index_stride
  std::int64_t component_stride = 0, index_stride = 0;
  int components = 0;
  std::int64_t indices = 0;
  std::int64_t run = 0;  ///< indices of a run, a multiple of kGroupIndices
  int parts = 0;
  bool bytes = false;  ///< the order of indices for data of bytes
  int tiles = 0;       ///< of the packed factor; those beyond the components are zeros
  Words4* packed = nullptr;
  float* scales = nullptr;  ///< runs x 8 tiles

  static constexpr int shared_bytes() { return kThreads * 4; }

  /// Eight numbers of one lane's item, counted in the run.
  template <class Visit>
  COFACTOR_DEVICE void visit(int tile, std::int64_t first, int item,
                             const Visit& visit_number) const {
    const int lane = item % kWarpSize, half = item / kWarpSize % 2;
    const int t = lane % 4, component = tile * kTileComponents + lane / 4;
    const std::int64_t begin = first + (item / kGroupIndices * kGroupIndices + 32 * half);
    COFACTOR_UNROLL
    for (int e = 0; e < 8; ++e) {
      const int in_half =
          bytes ? 16 * (e / 4) + 4 * t + 2 * (e % 2) + e / 2 % 2 : 8 * (e / 2) + 2 * t + e % 2;
      const std::int64_t index = begin + in_half;
      float value = 0.0F;
      if (component < components && index < indices) {
        value = from[component * component_stride + index * index_stride];
      }
      visit_number(e, value);
    }
  }

  template <class Block>
  COFACTOR_KERNEL void operator()(Block& block) const {
    const int tile = block.index();
    const std::int64_t first = block.index_y() * run;
    // An item is one lane's 16 bytes of every part: there are as many as indices.
    const int items =
        static_cast<int>(round_up(smaller(run, indices - first), std::int64_t{kGroupIndices}));
    auto largest = block.template shared<float>(kThreads);
    block.each([&](int thread) {
      float maximum = 0.0F;
      for (int item = thread; item < items; item += kThreads) {
        visit(tile, first, item, [&](int, float value) {
          const float magnitude = value < 0 ? -value : value;
          maximum = larger(maximum, magnitude);
        });
      }
      largest[thread] = maximum;
    });
    block.sync();
    block.each([&](int thread) {
      // The threads with the same component: lanes 4 g to 4 g + 3 of every warp.
      const int g = thread % kWarpSize / 4;
      float maximum = 0.0F;
      for (int at = 0; at < kThreads / kTileComponents; ++at) {
        const float other = largest[at / 4 * kWarpSize + 4 * g + at % 4];
        maximum = larger(maximum, other);
      }
      const std::uint32_t exponent = scale_exponent(maximum);
      const auto scale = bits_as<float>(exponent << 23);
      const auto inverse = bits_as<float>((254U - exponent) << 23);
      if (thread < kWarpSize && thread % 4 == 0) {
        scales[(block.index_y() * std::int64_t{tiles} + tile) * kTileComponents + g] = scale;
      }
      for (int item = thread; item < items; item += kThreads) {
        Words4 words[kMostParts] = {};
        visit(tile, first, item, [&](int e, float value) {
          float rest = value * inverse;
          COFACTOR_UNROLL
          for (Words4& part : words) {
            const E number = from_float<E>(rest);
            part.x[e / 2] |= static_cast<std::uint32_t>(number.bits) << (16 * (e % 2));
            rest -= to_float(number);
          }
        });
        const std::int64_t group = (first + item) / kGroupIndices;
        const std::int64_t unit = ((group * tiles + tile) * 2 + item / kWarpSize % 2) * parts;
        COFACTOR_UNROLL
        for (int part = 0; part < kMostParts; ++part) {
          if (part < parts) {
            packed[(unit + part) * kWarpSize + item % kWarpSize] = words[part];
          }
        }
      }
    });
  }

  /// Biased exponent of the power of two that brings `maximum` to at least 2^14 and below 2^15; of
  /// the ends of the range where that or its inverse is not a normal number.
  COFACTOR_DEVICE static std::uint32_t scale_exponent(float maximum) {
    const std::uint32_t exponent = bits_as<std::uint32_t>(maximum) >> 23;
    if (exponent == 0) return 127;
    return exponent < 15 ? 1U : smaller(exponent - 14U, 253U);
  }
};

}  // namespace cofactor::cuda
