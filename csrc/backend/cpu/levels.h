#pragma once

// What each folder of kernels defines at each instruction-set level; dispatch.cpp puts the tables
// together.

#include "backend/cpu/kernels.h"
#include "core/level.h"

namespace cofactor::cpu {

template <Level kLevel>
void fill_pack(Kernels<float>& table);
template <Level kLevel>
void fill_pack(Kernels<double>& table);

template <Level kLevel>
void fill_project(Kernels<float>& table);
template <Level kLevel>
void fill_project(Kernels<double>& table);

template <Level kLevel>
void fill_accumulate(Kernels<float>& table);
template <Level kLevel>
void fill_accumulate(Kernels<double>& table);

template <Level kLevel>
void fill_residual(Kernels<float>& table);
template <Level kLevel>
void fill_residual(Kernels<double>& table);

template <Level kLevel>
void fill_nnls(Kernels<float>& table);
template <Level kLevel>
void fill_nnls(Kernels<double>& table);

}  // namespace cofactor::cpu
