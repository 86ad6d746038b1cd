#include "backend/device_memory.h"

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

#include "backend/cuda/check.h"
#include "backend/cuda/cuda_runtime.h"
#include "core/error.h"

namespace cofactor {

using cuda::CudaRuntime;

int cuda_device_of(const void* data) {
  cudaPointerAttributes found{};
  COFACTOR_CUDA_CHECK(cudaPointerGetAttributes, &found, data);
  if (found.type != cudaMemoryTypeDevice && found.type != cudaMemoryTypeManaged) {
    throw Error(ErrorKind::kValue,
                "an address was given that does not lie in the memory of a CUDA device");
  }
  return found.device;
}

void wait_for_cuda_stream(int device, std::uint64_t stream) {
  const auto active = CudaRuntime::of(device).activate();
  // A handle, of which 1 and 2 are CUDA's own for the default streams.
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  auto* const handle = reinterpret_cast<cudaStream_t>(stream);
  COFACTOR_CUDA_CHECK(cudaStreamSynchronize, handle);
}

void wait_for_cuda_backend(int device) {
  CudaRuntime& runtime = CudaRuntime::of(device);
  const auto active = runtime.activate();
  runtime.synchronise(runtime.compute());
}

void copy_rows_from_cuda(int device, const MatrixView& matrix, std::span<const std::int64_t> rows,
                         void* to) {
  CudaRuntime& runtime = CudaRuntime::of(device);
  const auto active = runtime.activate();
  const std::size_t size = size_of(matrix.dtype);
  const std::size_t row_bytes = static_cast<std::size_t>(matrix.columns) * size;
  auto* out = static_cast<std::byte*>(to);
  for (std::size_t i = 0; i < rows.size();) {
    // Rows that follow each other take one call.
    std::size_t end = i + 1;
    while (end < rows.size() && rows[end] == rows[end - 1] + 1) ++end;
    runtime.copy_rows_out(out, row_bytes, matrix.row(rows[i]),
                          static_cast<std::size_t>(matrix.row_stride) * size, row_bytes,
                          static_cast<std::int64_t>(end - i), runtime.compute());
    out += (end - i) * row_bytes;
    i = end;
  }
  runtime.synchronise(runtime.compute());
}

}  // namespace cofactor
