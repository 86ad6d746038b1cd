#pragma once

// What the bindings need of a GPU's memory that others own; DESIGN section 5 keeps CUDA's own
// headers in backend/cuda.

#include <cstdint>
#include <span>

#include "core/matrix_view.h"

namespace cofactor {

/// The CUDA device that `data` lies on. Throws Error unless that is a device's memory.
[[nodiscard]] int cuda_device_of(const void* data);

/// Waits until a stream of a CUDA device has done what it was given. As in DLPack, 1 is the
/// device's legacy default stream, 2 this thread's default stream, and more is a handle.
void wait_for_cuda_stream(int device, std::uint64_t stream);

/// Waits until a CUDA device has done what backends have given it.
void wait_for_cuda_backend(int device);

/// Copies rows of a matrix on a CUDA device to the host, one after the other without gaps.
void copy_rows_from_cuda(int device, const MatrixView& matrix, std::span<const std::int64_t> rows,
                         void* to);

}  // namespace cofactor
