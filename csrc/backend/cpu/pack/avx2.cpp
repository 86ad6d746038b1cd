#include "backend/cpu/simd/avx2.h"
#include "backend/cpu/levels.h"
#include "backend/cpu/pack/tile.h"

namespace cofactor::cpu {

template <>
void fill_pack<Level::kAvx2>(Kernels<float>& table) {
  table.lanes = SimdF32::kLanes;
  table.pack[static_cast<int>(DType::kUInt8)] = pack<SimdF32, std::uint8_t>;
  table.pack[static_cast<int>(DType::kFloat16)] = pack<SimdF32, Float16>;
  table.pack[static_cast<int>(DType::kBFloat16)] = pack<SimdF32, BFloat16>;
  table.pack[static_cast<int>(DType::kFloat32)] = pack<SimdF32, float>;
  table.pack[static_cast<int>(DType::kFloat64)] = pack_plain<float, double>;
  table.stats = stats<SimdF32>;
}

template <>
void fill_pack<Level::kAvx2>(Kernels<double>& table) {
  table.lanes = SimdF64::kLanes;
  table.pack[static_cast<int>(DType::kUInt8)] = pack_plain<double, std::uint8_t>;
  table.pack[static_cast<int>(DType::kFloat16)] = pack_plain<double, Float16>;
  table.pack[static_cast<int>(DType::kBFloat16)] = pack_plain<double, BFloat16>;
  table.pack[static_cast<int>(DType::kFloat32)] = pack_plain<double, float>;
  table.pack[static_cast<int>(DType::kFloat64)] = pack_plain<double, double>;
  table.stats = stats<SimdF64>;
}

}  // namespace cofactor::cpu
