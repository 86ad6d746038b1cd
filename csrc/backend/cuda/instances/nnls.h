#pragma once

// The non-negative solves in all shapes that nnls_problem.h picks from.

#include "backend/cuda/kernels/finish_nnls.h"
#include "backend/cuda/kernels/nnls.h"
#include "backend/cuda/kernels/scale_gram.h"
#include "backend/cuda/launch.h"

#define COFACTOR_INSTANTIATE_SHAPE(T, ...) \
  COFACTOR_INSTANTIATE(SolveNnls<T, NnlsShape<__VA_ARGS__>>)

#define COFACTOR_INSTANTIATE_NNLS(T)    \
  COFACTOR_INSTANTIATE(ScaleGram<T>);   \
  COFACTOR_INSTANTIATE(FinishNnls<T>);  \
  COFACTOR_INSTANTIATE_SHAPE(T, 4, 2);  \
  COFACTOR_INSTANTIATE_SHAPE(T, 4, 4);  \
  COFACTOR_INSTANTIATE_SHAPE(T, 4, 6);  \
  COFACTOR_INSTANTIATE_SHAPE(T, 4, 8);  \
  COFACTOR_INSTANTIATE_SHAPE(T, 8, 6);  \
  COFACTOR_INSTANTIATE_SHAPE(T, 8, 8);  \
  COFACTOR_INSTANTIATE_SHAPE(T, 16, 6); \
  COFACTOR_INSTANTIATE_SHAPE(T, 16, 8); \
  COFACTOR_INSTANTIATE_SHAPE(T, 32, 6); \
  COFACTOR_INSTANTIATE_SHAPE(T, 32, 8); \
  COFACTOR_INSTANTIATE_SHAPE(T, 32, 16)
