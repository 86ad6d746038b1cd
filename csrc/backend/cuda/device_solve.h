#pragma once

// What happens between passes: Gram matrices, the solves for H, and the terms of the loss.

#include <cstdint>
#include <vector>

#include "backend/cuda/kernels/factors.h"
#include "backend/cuda/kernels/gram.h"
#include "backend/cuda/kernels/parts.h"
#include "backend/cuda/kernels/transpose.h"
#include "backend/cuda/kernels/unit_rows.h"

namespace cofactor::cuda {

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::gram_of(const ViewState& state, Factor which, int fit,
                                        double* to) const {
  const int k = rank(fit);
  GramParts<T> parts;
  parts.h = state.factor(which).data() + first_component(fit) * state.stride;
  parts.h_stride = state.stride;
  parts.components = k;
  parts.columns = state.columns;
  parts.parts = gram_parts_.data();
  const std::int64_t count = divide_up(state.columns, std::int64_t{GramParts<T>::kRun});
  launch({GramParts<T>::tiles(k), count}, parts, GramParts<T>::shared_bytes());
  const std::int64_t size = std::int64_t{k} * k;
  launch({divide_up(size, std::int64_t{AddParts<double>::kThreads})},
         AddParts<double>{{gram_parts_.data(), static_cast<int>(count), size}, size, to});
}

template <class Runtime, class T>
std::span<const double> DeviceBackend<Runtime, T>::gram(int fit) const {
  std::vector<double>& gram = host_grams_[static_cast<std::size_t>(fit)];
  if (gram.empty()) {
    const auto active = runtime_.activate();
    const Array<double>& grams = grams_[static_cast<std::size_t>(fit)];
    std::vector<double> by_view(static_cast<std::size_t>(grams.size()));
    runtime_.copy_out(by_view.data(), grams.data(), grams.bytes(), runtime_.compute());
    runtime_.synchronise(runtime_.compute());
    gram.resize(by_view.size() / problem_.views.size());
    for (std::size_t v = 0; v < problem_.views.size(); ++v) {
      const double weight = problem_.views[v].weight;
      if (weight <= 0) continue;
      for (std::size_t i = 0; i < gram.size(); ++i)
        gram[i] += weight * by_view[v * gram.size() + i];
    }
  }
  return gram;
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::solve_h() {
  const auto active = runtime_.activate();
  // Views with the same C and ridge have the same matrices.
  int last_c = -1;
  double last_ridge = 0;
  for (int v = 0; v < problem_.num_views(); ++v) {
    const ViewSpec& spec = problem_.views[static_cast<std::size_t>(v)];
    const ViewState& state = views_[static_cast<std::size_t>(v)];
    if (spec.fixed) continue;
    if (problem_.unit_rows && spec.weight > 0) {
      for (int fit = 0; fit < problem_.num_fits(); ++fit) solve_unit_rows(v, fit);
      continue;
    }
    const int c = layout_.c_index(v);
    if (c != last_c || spec.l2_h != last_ridge) {
      for (int fit = 0; fit < problem_.num_fits(); ++fit) {
        column_grams_[static_cast<std::size_t>(fit)].assign(
            runtime_, sums_.data() + layout_.c(c) + diagonal_block(fit), k_, 1, 0, nullptr,
            spec.l2_h);
      }
      last_c = c;
      last_ridge = spec.l2_h;
    }
    transpose(sums_.data() + layout_.s(v), k_, state.columns, state.columns, column_b_.data(), k_);
    transpose(state.input.data(), k_, state.columns, state.stride, column_x_.data(), k_);
    for (int fit = 0; fit < problem_.num_fits(); ++fit) {
      NnlsProblem<T> problem;
      problem.rows = state.columns;
      problem.shift = static_cast<T>(spec.l1_h);
      problem.b = column_b_.data() + first_component(fit);
      problem.ld_b = k_;
      problem.x = column_x_.data() + first_component(fit);
      problem.ld_x = k_;
      problem.warm = true;
      solver_.solve(runtime_, column_grams_[static_cast<std::size_t>(fit)], problem, {});
    }
    transpose(column_x_.data(), state.columns, k_, k_, state.solved.data(), state.stride);
  }
}

template <class Runtime, class T>
template <class From>
void DeviceBackend<Runtime, T>::transpose(const From* from, std::int64_t rows, std::int64_t columns,
                                          std::int64_t from_stride, T* to,
                                          std::int64_t to_stride) const {
  using Kernel = Transpose<From, T>;
  launch({divide_up(columns, std::int64_t{Kernel::kTile}),
          divide_up(rows, std::int64_t{Kernel::kTile})},
         Kernel{rows, columns, from, from_stride, to, to_stride}, Kernel::kSharedBytes);
}

template <class Runtime, class T>
void DeviceBackend<Runtime, T>::solve_unit_rows(int view, int fit) {
  // Sweeps end when no row moves further than this, or after so many, as on the CPU.
  constexpr double kLeastMove = 1e-5;
  constexpr int kSweeps = 20;
  const ViewState& state = views_[static_cast<std::size_t>(view)];
  const std::int64_t at = first_component(fit) * state.stride;
  runtime_.copy(state.solved.data() + at, state.input.data() + at,
                static_cast<std::size_t>(rank(fit) * state.stride) * sizeof(T), runtime_.compute());
  UnitRows<T> rows;
  rows.columns = state.columns;
  rows.rank = rank(fit);
  rows.c = sums_.data() + layout_.c(layout_.c_index(view)) + diagonal_block(fit);
  rows.ld_c = k_;
  rows.s = sums_.data() + layout_.s(view) + first_component(fit) * state.columns;
  rows.ld_s = state.columns;
  rows.h = state.solved.data() + at;
  rows.ld_h = state.stride;
  const std::int64_t blocks = rows.blocks();
  // One array of numbers and one flag: t, then what the rows moved.
  unit_numbers_.reserve(runtime_, state.columns + rank(fit) * blocks);
  unit_parts_.reserve(runtime_, blocks);
  unit_ended_.reserve(runtime_, 1);
  rows.t = unit_numbers_.data();
  rows.moved = unit_numbers_.data() + state.columns;
  rows.parts = unit_parts_.data();
  rows.ended = unit_ended_.data();
  runtime_.clear(rows.ended, sizeof(int), runtime_.compute());
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (int r = 0; r < rank(fit); ++r) {
      launch({blocks}, FindUnitRow<T>{rows, r}, FindUnitRow<T>::kSharedBytes);
      launch({blocks}, MoveUnitRow<T>{rows, r}, MoveUnitRow<T>::kSharedBytes);
    }
    launch({}, EndUnitSweep<T>{rows, kLeastMove});
  }
}

template <class Runtime, class T>
std::vector<std::vector<ViewTerms>> DeviceBackend<Runtime, T>::terms() const {
  const auto active = runtime_.activate();
  const int fits = problem_.num_fits(), num_views = problem_.num_views();
  double* to = terms_.data();
  for (int v = 0; v < num_views; ++v) {
    const ViewState& state = views_[static_cast<std::size_t>(v)];
    launch({k_},
           ComponentSums<T>{state.solved.data(), state.stride, sums_.data() + layout_.s(v),
                            state.columns, to},
           ComponentSums<T>::shared_bytes());
    to += std::int64_t{2} * k_;
    for (int fit = 0; fit < fits; ++fit) {
      gram_of(state, Factor::kSolved, fit, to);
      to += std::int64_t{rank(fit)} * rank(fit);
    }
  }
  std::vector<double> numbers(static_cast<std::size_t>(terms_.size()));
  runtime_.copy_out(numbers.data(), terms_.data(), terms_.bytes(), runtime_.compute());
  runtime_.synchronise(runtime_.compute());

  std::vector<std::vector<ViewTerms>> result(
      static_cast<std::size_t>(fits), std::vector<ViewTerms>(static_cast<std::size_t>(num_views)));
  const double* from = numbers.data();
  for (int v = 0; v < num_views; ++v) {
    const double* const by_component = from;
    from += std::int64_t{2} * k_;
    for (int fit = 0; fit < fits; ++fit) {
      const std::int64_t k = rank(fit);
      const int begin = first_component(fit);
      ViewTerms& total = result[static_cast<std::size_t>(fit)][static_cast<std::size_t>(v)];
      const double* const c_block = c(v).data() + diagonal_block(fit);
      for (std::int64_t r = 0; r < k; ++r) {
        total.cross += by_component[2 * (begin + r)];
        total.h_l1 += by_component[2 * (begin + r) + 1];
        total.h_l2 += from[r * (k + 1)];
        for (std::int64_t l = 0; l < k; ++l) total.model += c_block[r * k_ + l] * from[r * k + l];
      }
      total.residual = host_sums_.data()[layout_.residual(fit, v)];
      from += k * k;
    }
  }
  return result;
}

}  // namespace cofactor::cuda
