#pragma once

// The kernel of the table: block pivoting, or sweeps of coordinate descent alone.

#include <cstdint>

#include "backend/cpu/kernels.h"
#include "backend/cpu/nnls/block_pivoting.h"
#include "backend/cpu/nnls/tile.h"

namespace cofactor::cpu {
namespace {

template <class V>
void descend(const NnlsArgs<typename V::T>& args) {
  Tile<V> tile(args, reinterpret_cast<typename V::T*>(args.scratch));
  for (std::int64_t first = 0; first < args.count; first += V::kLanes) {
    const std::int64_t left = args.count - first;
    const int n = left < V::kLanes ? static_cast<int>(left) : V::kLanes;
    tile.load_start(first, n);
    for (int sweep = 0; sweep < args.sweeps; ++sweep) tile.sweep();
    tile.store(first, n);
  }
}

template <class V>
std::int64_t nnls(const NnlsArgs<typename V::T>& args) {
  if (args.sweeps > 0) {
    descend<V>(args);
    return 0;
  }
  BlockPivoting<V> solver(args);
  std::int64_t unfinished = 0;
  for (std::int64_t first = 0; first < args.count; first += kNnlsBatch) {
    const std::int64_t left = args.count - first;
    unfinished += solver.solve(first, static_cast<int>(left < kNnlsBatch ? left : kNnlsBatch));
  }
  return unfinished;
}

}  // namespace
}  // namespace cofactor::cpu
