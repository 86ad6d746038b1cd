// Rows of H_v on the unit sphere.

#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu_backend.h"

namespace cofactor::cpu {
namespace {

/// Sweeps end when no row moves further than this, or after so many: they read no data.
constexpr double kLeastMove = 1e-5;
constexpr int kSweeps = 20;

}  // namespace

// With the other rows given, 1/2 <C H, H> - <S, H> is -<t, h_r> plus a constant on the sphere, with
// t = S_r - sum over l != r of C_rl h_l. Over h_r >= 0 of unit norm, [t]_+ normalised has the least
// value; where no entry is positive it is the largest entry alone.
template <class T>
void CpuBackend<T>::solve_unit_rows(int view, int fit) {
  ViewState& state = views_[static_cast<std::size_t>(view)];
  const std::int64_t begin = first_component(fit);
  const std::int64_t rank = problem_.ranks[static_cast<std::size_t>(fit)];
  const double* const c_block = c(view).data() + begin * (k_ + 1);
  const double* const s_block = s(view).data() + begin * state.columns;
  T* const h = state.solved.data() + begin * state.stride;
  std::copy_n(state.input.data() + begin * state.stride, rank * state.stride, h);

  // Chunks of fixed width, so that no number of threads changes the order of a sum.
  const std::int64_t chunks = divide_up(state.columns, kProjectColumns);
  struct Part {
    double square = 0.0, largest = 0.0, moved = 0.0;
    std::int64_t at = 0;
  };
  std::vector<Part> parts(static_cast<std::size_t>(chunks));
  std::vector<double> t(static_cast<std::size_t>(state.columns));
  const auto over_chunks = [&](const auto& work) {
    run(chunks, [&](std::int64_t chunk, int) {
      const std::int64_t j0 = chunk * kProjectColumns;
      work(chunk, j0, std::min(state.columns, j0 + kProjectColumns));
    });
  };
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    double moved = 0.0;
    for (std::int64_t r = 0; r < rank; ++r) {
      // No row of W has the component: any h_r is as good.
      if (c_block[r * (k_ + 1)] <= 0) continue;
      T* const h_r = h + r * state.stride;
      over_chunks([&](std::int64_t chunk, std::int64_t j0, std::int64_t j1) {
        Part& part = parts[static_cast<std::size_t>(chunk)];
        double* const from = t.data();
        std::copy(s_block + r * state.columns + j0, s_block + r * state.columns + j1, from + j0);
        for (std::int64_t l = 0; l < rank; ++l) {
          const double factor = c_block[r * k_ + l];
          if (l == r || factor == 0) continue;
          const T* const h_l = h + l * state.stride;
          for (std::int64_t j = j0; j < j1; ++j) from[j] -= factor * static_cast<double>(h_l[j]);
        }
        part = {0.0, from[j0], 0.0, j0};
        for (std::int64_t j = j0; j < j1; ++j) {
          const double positive = std::max(from[j], 0.0);
          part.square += positive * positive;
          if (from[j] > part.largest) {
            part.largest = from[j];
            part.at = j;
          }
        }
      });
      Part all = parts.front();
      for (std::size_t chunk = 1; chunk < parts.size(); ++chunk) {
        all.square += parts[chunk].square;
        if (parts[chunk].largest > all.largest) {
          all.largest = parts[chunk].largest;
          all.at = parts[chunk].at;
        }
      }
      const double norm = std::sqrt(all.square);
      over_chunks([&](std::int64_t chunk, std::int64_t j0, std::int64_t j1) {
        Part& part = parts[static_cast<std::size_t>(chunk)];
        for (std::int64_t j = j0; j < j1; ++j) {
          const double value = norm > 0 ? std::max(t[static_cast<std::size_t>(j)], 0.0) / norm
                                        : static_cast<double>(j == all.at);
          const double step = value - static_cast<double>(h_r[j]);
          part.moved += step * step;
          h_r[j] = static_cast<T>(value);
        }
      });
      double square = 0.0;
      for (const Part& part : parts) square += part.moved;
      moved = std::max(moved, square);
    }
    if (moved <= kLeastMove * kLeastMove) break;
  }
}

template class CpuBackend<float>;
template class CpuBackend<double>;

}  // namespace cofactor::cpu
