#pragma once

#include <cuda_runtime_api.h>

namespace cofactor::cuda {

/// Throws Error with the name of the call and what CUDA says of it, unless it succeeded.
void check(cudaError_t status, const char* call);

}  // namespace cofactor::cuda

#define COFACTOR_CUDA_CHECK(call, ...) ::cofactor::cuda::check(call(__VA_ARGS__), #call)
