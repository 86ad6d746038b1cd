#pragma once

// The products in the compute type, in all shapes that launch_products.h picks from.

#include "backend/cuda/kernels/launch_products.h"
#include "backend/cuda/launch.h"

#define COFACTOR_INSTANTIATE_SHAPE(T, Stored, kQ)                \
  COFACTOR_INSTANTIATE(ProjectPlain<PlainShape<kQ>, T, Stored>); \
  COFACTOR_INSTANTIATE(AccumulatePlain<PlainShape<kQ>, T, Stored>)

#define COFACTOR_INSTANTIATE_PLAIN(T, Stored) \
  COFACTOR_INSTANTIATE_SHAPE(T, Stored, 1);   \
  COFACTOR_INSTANTIATE_SHAPE(T, Stored, 2);   \
  COFACTOR_INSTANTIATE_SHAPE(T, Stored, 3);   \
  COFACTOR_INSTANTIATE_SHAPE(T, Stored, 4);   \
  COFACTOR_INSTANTIATE_SHAPE(T, Stored, 6);   \
  COFACTOR_INSTANTIATE_SHAPE(T, Stored, 8)
