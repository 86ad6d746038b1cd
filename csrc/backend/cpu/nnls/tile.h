#pragma once

// Batched non-negative least squares by cyclic coordinate descent, one problem a lane.
//
// The problem is scaled to a unit diagonal, x <- sqrt(G_rr) x and b <- b / sqrt(G_rr), where a
// coordinate's step is -min(x_r, g_r): the size of a step is the coordinate's violation of the
// optimality conditions, so the stopping test costs nothing. A lane whose largest step in a sweep
// is within tolerance is frozen; its result depends on its own problem alone and not on its
// neighbours, hence not on how rows fall into tiles.

#include <cstdint>

#include "backend/cpu/kernels.h"

namespace cofactor::cpu {
namespace {

template <class V, int kVectors>
std::int64_t nnls_tile(const NnlsArgs<typename V::T>& args, std::int64_t first) {
  using T = typename V::T;
  using Reg = typename V::Reg;
  constexpr std::int64_t kWidth = std::int64_t{kVectors} * V::kLanes;
  const std::int64_t left = args.count - first;
  const std::int64_t width = left < kWidth ? left : kWidth;
  const int k = args.k;
  T* const x = args.scratch;
  T* const b = x + k * kWidth;
  T* const inv = b + k * kWidth;  // 1 / (1 + d), used only with a diagonal

  for (int r = 0; r < k; ++r) {
    const T s = args.inv_sqrt_diag[r];
    for (std::int64_t i = 0; i < width; ++i) {
      b[r * kWidth + i] = (args.b[r * args.ldb + first + i] - args.shift) * s;
      const T start = args.warm && s > 0 ? args.x[r * args.ldx + first + i] / s : T{0};
      x[r * kWidth + i] = start;
      if (args.diagonal != nullptr) {
        inv[r * kWidth + i] =
            T{1} / (T{1} + args.diagonal[r * args.ld_diagonal + first + i] * s * s);
      }
    }
    for (std::int64_t i = width; i < kWidth; ++i) {
      b[r * kWidth + i] = 0;
      x[r * kWidth + i] = 0;
      inv[r * kWidth + i] = 1;
    }
  }

  Reg limit[kVectors], active[kVectors];
  for (int c = 0; c < kVectors; ++c) {
    Reg largest = V::zero();
    for (int r = 0; r < k; ++r) {
      largest = V::max(largest, V::abs(V::load(b + r * kWidth + c * V::kLanes)));
    }
    limit[c] = V::mul(V::broadcast(args.tolerance), largest);
    active[c] = V::broadcast(T{1});
  }

  for (int sweep = 0; sweep < args.max_sweeps; ++sweep) {
    Reg violation[kVectors];
    for (int c = 0; c < kVectors; ++c) violation[c] = V::zero();
    for (int r = 0; r < k; ++r) {
      const T* const row = args.gram + static_cast<std::int64_t>(r) * k;
      // Two chains, with the newest coordinate in the last term: the next sum starts early.
      Reg g0[kVectors], g1[kVectors];
      for (int c = 0; c < kVectors; ++c) {
        g0[c] = V::sub(V::zero(), V::load(b + r * kWidth + c * V::kLanes));
        g1[c] = V::zero();
      }
      const auto add_terms = [&](int l0, int l1) {
        int l = l0;
        for (; l + 1 < l1; l += 2) {
          const Reg a0 = V::broadcast(row[l]), a1 = V::broadcast(row[l + 1]);
          for (int c = 0; c < kVectors; ++c) {
            g0[c] = V::fma(a0, V::load(x + l * kWidth + c * V::kLanes), g0[c]);
            g1[c] = V::fma(a1, V::load(x + (l + 1) * kWidth + c * V::kLanes), g1[c]);
          }
        }
        if (l < l1) {
          const Reg a0 = V::broadcast(row[l]);
          for (int c = 0; c < kVectors; ++c) {
            g0[c] = V::fma(a0, V::load(x + l * kWidth + c * V::kLanes), g0[c]);
          }
        }
      };
      add_terms(r, k);
      add_terms(0, r);
      for (int c = 0; c < kVectors; ++c) {
        const Reg old = V::load(x + r * kWidth + c * V::kLanes);
        Reg g = V::add(g0[c], g1[c]);
        Reg step = g;
        if (args.diagonal != nullptr) {
          // g lacks the row's own diagonal d x, with 1 / (1 + d) at hand: d = 1 / inv - 1.
          const Reg iv = V::load(inv + r * kWidth + c * V::kLanes);
          const Reg d = V::sub(V::div(V::broadcast(T{1}), iv), V::broadcast(T{1}));
          g = V::fma(d, old, g);
          step = V::mul(g, iv);
        }
        const Reg next = V::max(V::sub(old, step), V::zero());
        const Reg delta = V::mul(V::sub(next, old), active[c]);
        violation[c] = V::max(violation[c], V::abs(delta));
        V::store(x + r * kWidth + c * V::kLanes, V::add(old, delta));
      }
    }
    bool any = false;
    for (int c = 0; c < kVectors; ++c) {
      active[c] = V::mul(active[c], V::greater(violation[c], limit[c]));
      any = any || V::any_nonzero(active[c]);
    }
    if (!any) break;
  }

  for (int r = 0; r < k; ++r) {
    const T s = args.inv_sqrt_diag[r];
    for (std::int64_t i = 0; i < width; ++i) {
      args.x[r * args.ldx + first + i] = x[r * kWidth + i] * s;
    }
  }
  for (int c = 0; c < kVectors; ++c) V::store(x + c * V::kLanes, active[c]);
  std::int64_t unfinished = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    const bool open = x[i] != 0;
    if (args.unfinished != nullptr) args.unfinished[first + i] = open ? 1 : 0;
    unfinished += open ? 1 : 0;
  }
  return unfinished;
}

template <class V>
std::int64_t nnls(const NnlsArgs<typename V::T>& args) {
  // Two vectors side by side hide the latency of the coordinate's chain.
  constexpr int kVectors = 2;
  std::int64_t unfinished = 0;
  for (std::int64_t i = 0; i < args.count; i += std::int64_t{kVectors} * V::kLanes) {
    unfinished += nnls_tile<V, kVectors>(args, i);
  }
  return unfinished;
}

}  // namespace
}  // namespace cofactor::cpu
