#pragma once

// How CudaRuntime launches a kernel. Only for files that nvcc compiles: each instantiates the
// launches of its kernels, so that all other code needs no more than a C++ compiler.

#include <array>
#include <atomic>
#include <string>
#include <typeinfo>

#include "backend/cuda/check.h"
#include "backend/cuda/cuda_runtime.h"
#include "backend/cuda/device_group.h"

namespace cofactor::cuda {

template <class Kernel>
void CudaRuntime::launch(const Grid& grid, const Kernel& kernel, std::size_t shared_bytes,
                         Stream& stream) {
  // More than this has to be asked for, on each device, and never less again: a graph may hold a
  // launch that needs it.
  constexpr std::size_t kPlainSharedBytes = 48 * 1024;
  static std::array<std::atomic<std::size_t>, kMaxDevices> allowed{};
  std::atomic<std::size_t>& most = allowed[static_cast<std::size_t>(device_)];
  if (shared_bytes > kPlainSharedBytes && shared_bytes > most) {
    COFACTOR_CUDA_CHECK(cudaFuncSetAttribute, run_kernel<Kernel>,
                        cudaFuncAttributeMaxDynamicSharedMemorySize,
                        static_cast<int>(shared_bytes));
    most = shared_bytes;
  }
  const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y));
  run_kernel<Kernel><<<blocks, Kernel::kThreads, shared_bytes, stream.raw()>>>(kernel);
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) {
    check(status, (std::string("the launch of ") + typeid(Kernel).name()).c_str());
  }
}

}  // namespace cofactor::cuda

/// Makes a kernel one that CudaRuntime can launch.
#define COFACTOR_INSTANTIATE(...) \
  template void CudaRuntime::launch(const Grid&, const __VA_ARGS__&, std::size_t, Stream&)
