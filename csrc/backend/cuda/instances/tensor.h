#pragma once

// The products on tensor cores in all shapes that launch_products.h picks from.

#include "backend/cuda/kernels/launch_products.h"
#include "backend/cuda/launch.h"

#define COFACTOR_INSTANTIATE_SHAPE(Stored, ...)                          \
  COFACTOR_INSTANTIATE(ProjectTensor<TensorShape<__VA_ARGS__>, Stored>); \
  COFACTOR_INSTANTIATE(AccumulateTensor<TensorShape<__VA_ARGS__>, Stored>)

#define COFACTOR_INSTANTIATE_TENSOR(Stored)       \
  COFACTOR_INSTANTIATE_SHAPE(Stored, 2, 1, 4, 1); \
  COFACTOR_INSTANTIATE_SHAPE(Stored, 2, 2, 4, 1); \
  COFACTOR_INSTANTIATE_SHAPE(Stored, 2, 3, 4, 1); \
  COFACTOR_INSTANTIATE_SHAPE(Stored, 2, 4, 4, 1); \
  COFACTOR_INSTANTIATE_SHAPE(Stored, 2, 6, 4, 1); \
  COFACTOR_INSTANTIATE_SHAPE(Stored, 2, 8, 4, 1); \
  COFACTOR_INSTANTIATE_SHAPE(Stored, 4, 5, 4, 2); \
  COFACTOR_INSTANTIATE_SHAPE(Stored, 4, 6, 4, 2); \
  COFACTOR_INSTANTIATE_SHAPE(Stored, 4, 7, 4, 2); \
  COFACTOR_INSTANTIATE_SHAPE(Stored, 4, 8, 4, 2)
