#include "backend/cpu/dispatch.h"

#include "backend/cpu/levels.h"

namespace cofactor::cpu {
namespace {

template <class T, Level kLevel>
const Kernels<T>& table() {
  static const Kernels<T> instance = [] {
    Kernels<T> filled{};
    fill_pack<kLevel>(filled);
    fill_project<kLevel>(filled);
    fill_accumulate<kLevel>(filled);
    fill_residual<kLevel>(filled);
    fill_nnls<kLevel>(filled);
    return filled;
  }();
  return instance;
}

#ifdef COFACTOR_X86
/// AVX-512 with the bfloat16 unit, which changes the rounded products alone.
const Kernels<float>& table_with_bf16() {
  static const Kernels<float> instance = [] {
    Kernels<float> filled = table<float, Level::kAvx512>();
    fill_project<Level::kAvx512BF16>(filled);
    fill_accumulate<Level::kAvx512BF16>(filled);
    return filled;
  }();
  return instance;
}
#endif

}  // namespace

template <class T>
const Kernels<T>& kernels(Level level) {
#ifdef COFACTOR_X86
  if (level == Level::kAvx512BF16) {
    if constexpr (sizeof(T) == 4) return table_with_bf16();
    return table<T, Level::kAvx512>();
  }
  if (level == Level::kAvx512) return table<T, Level::kAvx512>();
  if (level == Level::kAvx2) return table<T, Level::kAvx2>();
#elif defined(COFACTOR_ARM64)
  if (level == Level::kNeon) return table<T, Level::kNeon>();
#else
  static_cast<void>(level);
#endif
  return table<T, Level::kScalar>();
}

template const Kernels<float>& kernels<float>(Level level);
template const Kernels<double>& kernels<double>(Level level);

}  // namespace cofactor::cpu
