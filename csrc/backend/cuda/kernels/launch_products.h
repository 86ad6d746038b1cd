#pragma once

// Picks the shape of a product's tiles and hands the kernel to `launch`, which is called as
// launch(kernel, blocks_x, blocks_y, shared_bytes). Shapes change speed alone: no sum depends on
// one.

#include "backend/cuda/kernels/accumulate_plain.h"
#include "backend/cuda/kernels/accumulate_tensor.h"
#include "backend/cuda/kernels/project_plain.h"
#include "backend/cuda/kernels/project_tensor.h"
#include "core/dtype.h"

namespace cofactor::cuda {

/// How a product on tensor cores divides its components.
struct TensorPlan {
  bool wide = false;  ///< 256 rows or columns a block and two warps beside, else 128 and one
  int warp_tiles = 0;
  int groups = 0;  ///< of components, a block each
  int tiles = 0;   ///< of all groups: those that a factor is packed into
  int shared_limit = 0;
};

/// Up to 64 components go in one narrow group. More are divided evenly: into wide groups of up to
/// 128, which read the factor half as often, where a block may have the shared memory.
[[nodiscard]] inline TensorPlan plan_tensor(int components, int parts, int shared_limit) {
  const int tiles = divide_up(components, kTileComponents);
  const auto fits = [&](int rows, int block_tiles, int stages) {
    return stages * (rows * kGroupIndices * 2 + block_tiles * 2 * parts * kUnitBytes) <=
           shared_limit;
  };
  TensorPlan plan;
  plan.shared_limit = shared_limit;
  plan.wide = tiles > 8 && fits(256, 16, 2);
  const int most = plan.wide ? 16 : 8;
  plan.groups = divide_up(tiles, most);
  const int warps = plan.wide ? 2 : 1;
  plan.warp_tiles = divide_up(divide_up(tiles, plan.groups), warps);
  // Shapes that are compiled: every number would take twice as long to build for a few percent.
  if (!plan.wide && plan.warp_tiles == 5) plan.warp_tiles = 6;
  if (!plan.wide && plan.warp_tiles == 7) plan.warp_tiles = 8;
  plan.tiles = plan.groups * plan.warp_tiles * warps;
  return plan;
}

/// Calls use(TensorShape{}) with the shape of a plan.
template <class Use>
void with_shape(const TensorPlan& plan, const Use& use) {
  const int key = (plan.wide ? 10 : 0) + plan.warp_tiles;
  switch (key) {
    case 1:
      return use(TensorShape<2, 1, 4, 1>{});
    case 2:
      return use(TensorShape<2, 2, 4, 1>{});
    case 3:
      return use(TensorShape<2, 3, 4, 1>{});
    case 4:
      return use(TensorShape<2, 4, 4, 1>{});
    case 6:
      return use(TensorShape<2, 6, 4, 1>{});
    case 8:
      return use(TensorShape<2, 8, 4, 1>{});
    case 15:
      return use(TensorShape<4, 5, 4, 2>{});
    case 16:
      return use(TensorShape<4, 6, 4, 2>{});
    case 17:
      return use(TensorShape<4, 7, 4, 2>{});
    default:
      return use(TensorShape<4, 8, 4, 2>{});
  }
}

/// A factor as PackFactor leaves it, with the tiles of the plan.
struct PackedFactor {
  const Words4* packed = nullptr;
  const float* scales = nullptr;  ///< runs x 8 tiles
  int parts = 0;
};

namespace internal {

template <class Kernel, class Arguments, class Launch>
void launch_tensor(const TensorPlan& plan, const Arguments& in, const PackedFactor& factor,
                   std::int64_t tiles, std::int64_t runs, const Launch& launch) {
  Kernel kernel;
  kernel.in = in;
  kernel.component_groups = plan.groups;
  kernel.scales = factor.scales;
  kernel.product = {factor.packed, factor.parts, plan.tiles, 3};
  if (kernel.shared_bytes() > plan.shared_limit) kernel.product.stages = 2;
  launch(kernel, tiles * plan.groups, runs, kernel.shared_bytes());
}

/// Calls use(shape) with as few components as hold those of one block.
template <class Use>
void with_plain_shape(int components, const Use& use) {
  if (components <= 8) return use(PlainShape<1>{});
  if (components <= 16) return use(PlainShape<2>{});
  if (components <= 24) return use(PlainShape<3>{});
  if (components <= 32) return use(PlainShape<4>{});
  if (components <= 48) return use(PlainShape<6>{});
  return use(PlainShape<8>{});
}

/// More than 64 components are divided evenly.
[[nodiscard]] inline int plain_groups(int components) { return divide_up(components, 64); }

}  // namespace internal

template <class Stored, class Launch>
void launch_project_tensor(const TensorPlan& plan, const ProjectArguments<float>& in,
                           const PackedFactor& h, const Launch& launch) {
  with_shape(plan, [&](auto shape) {
    using Shape = decltype(shape);
    internal::launch_tensor<ProjectTensor<Shape, Stored>>(
        plan, in, h, divide_up(in.rows, std::int64_t{Shape::kM}),
        divide_up(in.columns, std::int64_t{kSliceColumns}), launch);
  });
}

template <class Stored, class Launch>
void launch_accumulate_tensor(const TensorPlan& plan, const AccumulateArguments<float>& in,
                              const PackedFactor& w, const Launch& launch) {
  with_shape(plan, [&](auto shape) {
    using Shape = decltype(shape);
    internal::launch_tensor<AccumulateTensor<Shape, Stored>>(
        plan, in, w, divide_up(in.columns, std::int64_t{Shape::kM}), divide_up(in.rows, kPanelRows),
        launch);
  });
}

/// `h` are components of T.
template <class Stored, class T, class Launch>
void launch_project_plain(const ProjectArguments<T>& in, const Lines& h, const Launch& launch) {
  const int groups = internal::plain_groups(in.components);
  internal::with_plain_shape(divide_up(in.components, groups), [&](auto shape) {
    using Shape = decltype(shape);
    const ProjectPlain<Shape, T, Stored> kernel{in, divide_up(in.components, Shape::kComponents),
                                                h};
    launch(kernel, divide_up(in.rows, std::int64_t{Shape::kM}) * kernel.component_groups,
           divide_up(in.columns, std::int64_t{kSliceColumns}), kernel.shared_bytes());
  });
}

/// `w` are rows of T.
template <class Stored, class T, class Launch>
void launch_accumulate_plain(const AccumulateArguments<T>& in, const Lines& w,
                             const Launch& launch) {
  const int groups = internal::plain_groups(in.components);
  internal::with_plain_shape(divide_up(in.components, groups), [&](auto shape) {
    using Shape = decltype(shape);
    const AccumulatePlain<Shape, T, Stored> kernel{in, divide_up(in.components, Shape::kComponents),
                                                   w};
    launch(kernel, divide_up(in.columns, std::int64_t{Shape::kM}) * kernel.component_groups,
           divide_up(in.rows, kPanelRows), kernel.shared_bytes());
  });
}

/// Packs a factor of `components` x `indices` numbers in runs of kSliceColumns or kPanelRows. The
/// output has packed_bytes(indices, plan.tiles, parts) bytes, and 8 tiles scales a run.
template <class E, class Launch>
void launch_pack(const TensorPlan& plan, PackFactor<E> kernel, const Launch& launch) {
  kernel.tiles = plan.tiles;
  launch(kernel, std::int64_t{plan.tiles}, divide_up(kernel.indices, kernel.run),
         kernel.shared_bytes());
}

}  // namespace cofactor::cuda
