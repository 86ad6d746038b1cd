// What of CUDA there is on this machine.

#include <string>

#include "backend/backend.h"
#include "backend/cuda/check.h"

namespace cofactor {
namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

CudaInfo cuda_info() {
  CudaInfo info;
  info.built = true;
  int runtime = 0, driver = 0, count = 0;
  COFACTOR_CUDA_CHECK(cudaRuntimeGetVersion, &runtime);
  COFACTOR_CUDA_CHECK(cudaDriverGetVersion, &driver);
  info.runtime = version_text(runtime);
  if (driver == 0) {
    info.missing = "there is no NVIDIA driver on this machine (libcuda.so.1 was not found)";
    return info;
  }
  info.driver = version_text(driver);
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    static_cast<void>(cudaGetLastError());
    info.missing = "the NVIDIA driver supports CUDA " + info.driver + ", and this build needs " +
                   info.runtime + "; update the driver";
    return info;
  }
  if (status != cudaSuccess && status != cudaErrorNoDevice) {
    static_cast<void>(cudaGetLastError());
    info.missing = std::string("the GPU cannot be used: ") + cudaGetErrorString(status) + " (" +
                   cudaGetErrorName(status) + ")";
    return info;
  }
  if (status == cudaErrorNoDevice || count == 0) {
    static_cast<void>(cudaGetLastError());
    info.missing = "the NVIDIA driver finds no GPU (see nvidia-smi and CUDA_VISIBLE_DEVICES)";
    return info;
  }
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties{};
    COFACTOR_CUDA_CHECK(cudaGetDeviceProperties, &properties, device);
    info.devices.push_back(
        {properties.name, std::to_string(properties.major) + "." + std::to_string(properties.minor),
         static_cast<std::int64_t>(properties.totalGlobalMem)});
  }
  return info;
}

bool cuda_available() {
  try {
    return cuda_info().missing.empty();
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace cofactor
