#pragma once

// Both products of a pass on a runtime, whatever the dtype of a view.

#include <cstdint>
#include <optional>

#include "backend/cuda/kernels/fold_panels.h"
#include "backend/cuda/kernels/launch_products.h"
#include "backend/cuda/runtime.h"

namespace cofactor::cuda {

/// Rows of one view.
struct ViewRows {
  Lines lines;
  DType dtype = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  const std::uint8_t* present = nullptr;  ///< by row; null for all
};

/// Forms of the small factor for tensor cores, by what is stored in the views that they multiply.
enum class Packing { kFloat16, kBFloat16, kBytes };
/// Of the second product, where bytes take the order of float16.
[[nodiscard]] inline Packing row_packing(Packing packing) {
  return packing == Packing::kBytes ? Packing::kFloat16 : packing;
}
inline constexpr int kNumRowPackings = 2;

/// What tensor cores multiply a view with; none for views that are multiplied in the compute type.
[[nodiscard]] inline std::optional<Packing> packing_of(DType dtype, bool float64) {
  if (float64) return std::nullopt;
  switch (dtype) {
    case DType::kUInt8:
      return Packing::kBytes;
    case DType::kFloat16:
      return Packing::kFloat16;
    case DType::kBFloat16:
      return Packing::kBFloat16;
    case DType::kFloat32:
    case DType::kFloat64:
      break;
  }
  return std::nullopt;
}

/// Calls f(Stored{}).
template <class F>
void with_packing(Packing packing, const F& f) {
  switch (packing) {
    case Packing::kFloat16:
      return f(Float16{});
    case Packing::kBFloat16:
      return f(BFloat16{});
    case Packing::kBytes:
      return f(std::uint8_t{});
  }
}

/// Calls f(Stored{}) for the dtypes that are multiplied in T.
template <class T, class F>
void with_plain_dtype(DType dtype, const F& f) {
  if (dtype == DType::kFloat64) return f(double{});
  if (dtype == DType::kFloat32) return f(float{});
  if constexpr (sizeof(T) == 8) {
    if (const auto packing = packing_of(dtype, false)) with_packing(*packing, f);
  }
}

/// What launches kernels of launch_products.h.
template <class Runtime>
[[nodiscard]] auto launcher(Runtime& runtime) {
  return [&runtime](const auto& kernel, std::int64_t x, std::int64_t y, int shared_bytes) {
    runtime.launch({x, y}, kernel, static_cast<std::size_t>(shared_bytes), runtime.compute());
  };
}

/// A small factor for tensor cores, in the memory of the device.
template <class Runtime>
class DeviceFactor {
 public:
  DeviceFactor() = default;
  /// Of at most so many indices along the contraction, in runs of `run`.
  DeviceFactor(Runtime& runtime, Packing packing, int components, std::int64_t indices,
               std::int64_t run)
      : packing_(packing), components_(components), run_(run) {
    // Either precision's.
    const int parts = full_parts();
    const int tiles = larger(plan(runtime, parts).tiles, plan(runtime, 1).tiles);
    numbers_ = DeviceArray<Runtime, Words4>(
        runtime, packed_bytes(indices, tiles, parts) / static_cast<std::int64_t>(sizeof(Words4)));
    scales_ =
        DeviceArray<Runtime, float>(runtime, divide_up(indices, run) * tiles * kTileComponents);
  }

  /// Component r, index l of the factor is from[r * component_stride + l * index_stride].
  void pack(Runtime& runtime, const float* from, std::int64_t component_stride,
            std::int64_t index_stride, std::int64_t indices, bool rounded) {
    parts_ = rounded ? 1 : full_parts();
    plan_ = plan(runtime, parts_);
    with_packing(packing_, [&](auto stored) {
      PackFactor<Operand<decltype(stored)>> kernel;
      kernel.from = from;
      kernel.component_stride = component_stride;
      kernel.index_stride = index_stride;
      kernel.components = components_;
      kernel.indices = indices;
      kernel.run = run_;
      kernel.parts = parts_;
      kernel.bytes = packing_ == Packing::kBytes;
      kernel.packed = numbers_.data();
      kernel.scales = scales_.data();
      launch_pack(plan_, kernel, launcher(runtime));
    });
  }

  void project(Runtime& runtime, const ProjectArguments<float>& arguments) const {
    with_packing(packing_, [&](auto stored) {
      launch_project_tensor<decltype(stored)>(plan_, arguments, packed(), launcher(runtime));
    });
  }
  /// Of a view with this packing or one of the same operands.
  void accumulate(Runtime& runtime, Packing view,
                  const AccumulateArguments<float>& arguments) const {
    with_packing(view, [&](auto stored) {
      launch_accumulate_tensor<decltype(stored)>(plan_, arguments, packed(), launcher(runtime));
    });
  }

 private:
  [[nodiscard]] int full_parts() const {
    return packing_ == Packing::kBFloat16 ? kFullParts<BFloat16> : kFullParts<Float16>;
  }
  [[nodiscard]] TensorPlan plan(const Runtime& runtime, int parts) const {
    return plan_tensor(components_, parts, static_cast<int>(runtime.limits().shared_bytes));
  }
  [[nodiscard]] PackedFactor packed() const { return {numbers_.data(), scales_.data(), parts_}; }

  Packing packing_ = Packing::kFloat16;
  int components_ = 0;
  std::int64_t run_ = 0;
  int parts_ = 0;
  TensorPlan plan_;
  DeviceArray<Runtime, Words4> numbers_;
  DeviceArray<Runtime, float> scales_;
};

/// The first product in T, with H as components x columns.
template <class T, class Runtime>
void project_plain(Runtime& runtime, DType dtype, const ProjectArguments<T>& arguments, const T* h,
                   std::int64_t h_stride) {
  constexpr int kSize = static_cast<int>(sizeof(T));
  with_plain_dtype<T>(dtype, [&](auto stored) {
    launch_project_plain<decltype(stored)>(arguments, make_lines(h, h_stride * kSize, kSize),
                                           launcher(runtime));
  });
}

/// The second product in T, with W as rows x components.
template <class T, class Runtime>
void accumulate_plain(Runtime& runtime, DType dtype, const AccumulateArguments<T>& arguments,
                      const T* w) {
  constexpr int kSize = static_cast<int>(sizeof(T));
  with_plain_dtype<T>(dtype, [&](auto stored) {
    launch_accumulate_plain<decltype(stored)>(
        arguments, make_lines(w, std::int64_t{arguments.components} * kSize, kSize),
        launcher(runtime));
  });
}

/// Adds the sums of panels that the second product left to components x columns of float64.
template <class T, class Runtime>
void fold_panels(Runtime& runtime, const AccumulateArguments<T>& from, double scale, double* sums) {
  FoldPanels<T> kernel;
  kernel.panels = from.sums;
  kernel.panel_stride = from.panel_stride;
  kernel.component_stride = from.component_stride;
  kernel.count = static_cast<int>(divide_up(from.rows, kPanelRows));
  kernel.columns = from.columns;
  kernel.scale = scale;
  kernel.sums = sums;
  runtime.launch({divide_up(from.columns, std::int64_t{FoldPanels<T>::kThreads}), from.components},
                 kernel, 0, runtime.compute());
}

}  // namespace cofactor::cuda
