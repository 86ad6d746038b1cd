#pragma once

// What the tests of the CUDA kernels share: launches on the emulation, packed factors and the error
// that they may have.

#include <vector>

#include "backend/cpu/products.h"
#include "backend/cuda/emulation/host_group.h"
#include "backend/cuda/kernels/launch_products.h"

namespace cofactor::cuda {

using testing::Comparison;
using testing::FactorNumbers;
using testing::StoredNumbers;
using testing::Wide;

template <class Stored>
inline constexpr DType kDTypeOf = DType::kUInt8;
template <>
inline constexpr DType kDTypeOf<Float16> = DType::kFloat16;
template <>
inline constexpr DType kDTypeOf<BFloat16> = DType::kBFloat16;
template <>
inline constexpr DType kDTypeOf<float> = DType::kFloat32;
template <>
inline constexpr DType kDTypeOf<double> = DType::kFloat64;

/// Runs a kernel on the emulation.
struct Emulate {
  template <class Kernel>
  void operator()(const Kernel& kernel, std::int64_t x, std::int64_t y, int shared_bytes) const {
    emulation::run_grid(kernel, x, y, static_cast<std::size_t>(shared_bytes));
  }
};

/// Of a GPU with as much shared memory as any, and of one with as little.
inline constexpr int kMostShared = static_cast<int>(emulation::kMostSharedBytes);
inline constexpr int kLeastShared = 99 * 1024;

template <class Stored>
Lines lines_of(const StoredNumbers& x, std::int64_t row = 0) {
  const cpu::StoredRows from = x.from(row);
  return make_lines(from.data, from.stride, static_cast<int>(sizeof(Stored)));
}

/// Gives every component a magnitude of its own, over most of float32's range.
inline void spread(testing::Random& random, FactorNumbers<float>& factor, int k, std::int64_t n) {
  for (int r = 0; r < k; ++r) {
    const auto power = static_cast<float>(std::exp2(random.integer(-40, 40)));
    for (std::int64_t j = 0; j < n; ++j)
      factor.values[static_cast<std::size_t>(r * factor.ld + j)] *= power;
  }
}

/// Some rows that lack a view, or none.
inline std::vector<std::uint8_t> draw_present(testing::Random& random, std::int64_t rows,
                                              bool all) {
  std::vector<std::uint8_t> present;
  for (std::int64_t i = 0; !all && i < rows; ++i) present.push_back(random.chance(0.7) ? 1 : 0);
  return present;
}

/// A factor, packed in runs.
template <class E>
struct Packed {
  Packed(const FactorNumbers<float>& factor, int k, std::int64_t n, std::int64_t run, int parts,
         bool bytes, const TensorPlan& plan)
      : parts_(parts),
        tiles(plan.tiles),
        words(static_cast<std::size_t>(packed_bytes(n, plan.tiles, parts)) / sizeof(Words4)),
        scales(static_cast<std::size_t>(divide_up(n, run) * plan.tiles * kTileComponents)) {
    PackFactor<E> kernel;
    kernel.from = factor.from(0);
    kernel.component_stride = factor.ld;
    kernel.index_stride = 1;
    kernel.components = k;
    kernel.indices = n;
    kernel.run = run;
    kernel.parts = parts;
    kernel.bytes = bytes;
    kernel.packed = words.data();
    kernel.scales = scales.data();
    launch_pack(plan, kernel, Emulate{});
  }
  [[nodiscard]] PackedFactor get() const { return {words.data(), scales.data(), parts_}; }
  [[nodiscard]] double scale(std::int64_t run, int component) const {
    return scales[static_cast<std::size_t>(run * tiles * kTileComponents + component)];
  }

  int parts_, tiles;
  std::vector<Words4> words;
  std::vector<float> scales;
};

/// Unit roundoff of the 16-bit types.
template <class E>
inline constexpr double kHalfUnit = std::is_same_v<E, BFloat16> ? 0x1p-8 : 0x1p-11;

/// Bound on the error of a product of packed numbers whose sum has `terms` terms, where `magnitude`
/// is the sum of |x v| and `sum_of_x` that of |x|. The parts of a number add up to it up to
/// |v| u^parts + 2^-25 scale, and together are at most |v| (1 + u) / (1 - u) in magnitude; each
/// product of matrices adds 16 of their terms at once and rounds the sum; the scale rounds once,
/// and once more with the factor.
template <class E>
Wide packed_bound(std::int64_t terms, int parts, Wide magnitude, Wide sum_of_x, double scale) {
  const Wide u = kHalfUnit<E>;
  Wide split = 1;
  for (int part = 0; part < parts; ++part) split *= u;
  const std::int64_t roundings = (terms + 15) / 16 * parts + 2;
  return (split + testing::gamma<float>(roundings) * (1 + u) / (1 - u) * (1 + split)) * magnitude +
         Wide{0x1p-25} * 2 * scale * sum_of_x;
}

}  // namespace cofactor::cuda
