#pragma once

// Plain references in float64: matrices, non-negative least squares, and coupled views in stored
// form beside the numbers that they stand for.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "als/block_source.h"
#include "core/problem.h"
#include "testing.h"

namespace cofactor::testing {

/// Row-major float64 numbers, for references.
struct Matrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(std::int64_t r, std::int64_t c)
      : rows(r), columns(c), values(static_cast<std::size_t>(r * c)) {}
  double& operator()(std::int64_t i, std::int64_t j) {
    return values[static_cast<std::size_t>(i * columns + j)];
  }
  const double& operator()(std::int64_t i, std::int64_t j) const {
    return values[static_cast<std::size_t>(i * columns + j)];
  }
};

template <class Entry>
Matrix make_matrix(std::int64_t rows, std::int64_t columns, const Entry& entry) {
  Matrix result(rows, columns);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) result(i, j) = entry(i, j);
  }
  return result;
}

inline Matrix transpose(const Matrix& a) {
  return make_matrix(a.columns, a.rows, [&](auto i, auto j) { return a(j, i); });
}

inline Matrix multiply(const Matrix& a, const Matrix& b) {
  return make_matrix(a.rows, b.columns, [&](auto i, auto j) {
    Wide sum = 0;
    for (std::int64_t l = 0; l < a.columns; ++l) sum += Wide{a(i, l)} * b(l, j);
    return static_cast<double>(sum);
  });
}

inline double squared_norm(const Matrix& a) {
  Wide sum = 0;
  for (const double value : a.values) sum += Wide{value} * value;
  return static_cast<double>(sum);
}

/// Smallest and largest eigenvalue of a symmetric matrix, by Jacobi rotations.
inline std::pair<double, double> eigenvalue_range(Matrix a) {
  const std::int64_t n = a.rows;
  for (int sweep = 0; sweep < 60; ++sweep) {
    for (std::int64_t p = 0; p < n; ++p) {
      for (std::int64_t q = p + 1; q < n; ++q) {
        if (a(p, q) == 0) continue;
        const double theta = (a(q, q) - a(p, p)) / (2 * a(p, q));
        const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::hypot(1.0, theta));
        const double c = 1 / std::hypot(1.0, t), s = c * t;
        for (std::int64_t l = 0; l < n; ++l) {
          const double lp = a(l, p), lq = a(l, q);
          a(l, p) = c * lp - s * lq;
          a(l, q) = s * lp + c * lq;
        }
        for (std::int64_t l = 0; l < n; ++l) {
          const double pl = a(p, l), ql = a(q, l);
          a(p, l) = c * pl - s * ql;
          a(q, l) = s * pl + c * ql;
        }
      }
    }
  }
  double low = a(0, 0), high = a(0, 0);
  for (std::int64_t i = 1; i < n; ++i) {
    low = std::min(low, a(i, i));
    high = std::max(high, a(i, i));
  }
  return {low, high};
}

/// argmin over x >= 0 of 1/2 x'Gx - b'x for positive definite G, from all 2^k sets of positive
/// coordinates: the unconstrained minimiser on a set, where it is positive, with the least value.
inline std::vector<double> nnls_by_enumeration(const Matrix& g, const std::vector<double>& b) {
  const std::int64_t k = g.rows;
  std::vector<double> best(static_cast<std::size_t>(k), 0.0);
  Wide least = 0;
  for (std::int64_t set = 1; set < (std::int64_t{1} << k); ++set) {
    std::vector<std::int64_t> in;
    for (std::int64_t r = 0; r < k; ++r) {
      if ((set >> r) & 1) in.push_back(r);
    }
    const std::size_t m = in.size();
    std::vector<std::vector<Wide>> a(m, std::vector<Wide>(m + 1));
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < m; ++j) a[i][j] = g(in[i], in[j]);
      a[i][m] = b[static_cast<std::size_t>(in[i])];
    }
    // Positive definite: elimination needs no pivoting.
    for (std::size_t p = 0; p < m; ++p) {
      for (std::size_t i = p + 1; i < m; ++i) {
        const Wide factor = a[i][p] / a[p][p];
        for (std::size_t j = p; j <= m; ++j) a[i][j] -= factor * a[p][j];
      }
    }
    std::vector<Wide> x(m);
    bool feasible = true;
    for (std::size_t p = m; p-- > 0;) {
      Wide sum = a[p][m];
      for (std::size_t j = p + 1; j < m; ++j) sum -= a[p][j] * x[j];
      x[p] = sum / a[p][p];
      feasible = feasible && x[p] > 0;
    }
    if (!feasible) continue;
    // At an unconstrained minimiser the objective is -1/2 b'x.
    Wide value = 0;
    for (std::size_t i = 0; i < m; ++i) value -= x[i] * b[static_cast<std::size_t>(in[i])] / 2;
    if (value >= least) continue;
    least = value;
    std::fill(best.begin(), best.end(), 0.0);
    for (std::size_t i = 0; i < m; ++i) {
      best[static_cast<std::size_t>(in[i])] = static_cast<double>(x[i]);
    }
  }
  return best;
}

/// How far a batched solve is from optimal, and how far it may be.
struct Optimality {
  Wide violation = 0;  ///< max_r |min(sqrt(G_rr) x_r, (Gx + dx - b)_r / sqrt(G_rr))|
  Wide allowed = 0;
};

/// The solver stops at a violation of tolerance * max|b|, in the problem scaled to a unit diagonal.
/// On top comes rounding, `rounding` times the magnitudes of the terms of a gradient. `b` comes
/// before the shift; `diagonal` may be empty.
inline Optimality optimality(const Matrix& g, const std::vector<double>& diagonal,
                             const std::vector<double>& b, double shift,
                             const std::vector<double>& x, double tolerance, Wide rounding) {
  Optimality result;
  Wide largest_b = 0, magnitudes = 0;
  for (std::int64_t r = 0; r < g.rows; ++r) {
    if (g(r, r) <= 0) continue;
    const auto at = static_cast<std::size_t>(r);
    const Wide root = std::sqrt(Wide{g(r, r)});
    const Wide own = diagonal.empty() ? 0 : Wide{diagonal[at]} * x[at];
    Wide gradient = own - b[at] + shift, magnitude = own + std::abs(b[at]) + std::abs(shift);
    for (std::int64_t l = 0; l < g.rows; ++l) {
      const Wide term = Wide{g(r, l)} * x[static_cast<std::size_t>(l)];
      gradient += term;
      magnitude += std::abs(term);
    }
    largest_b = std::max(largest_b, std::abs(b[at] - Wide{shift}) / root);
    const Wide violation = std::abs(std::min(root * x[at], gradient / root));
    // Written so that NaN stays.
    if (!(violation <= result.violation)) result.violation = violation;
    magnitudes = std::max(magnitudes, magnitude / root);
  }
  result.allowed = Wide{tolerance} * largest_b + rounding * magnitudes;
  return result;
}

/// Writes one number, rounded to the dtype, and returns what was written.
inline double write_number(std::byte* to, DType dtype, double number) {
  const auto write = [&](auto stored) { std::memcpy(to, &stored, sizeof(stored)); };
  const float single = static_cast<float>(number);
  const auto bits = std::bit_cast<std::uint32_t>(single);
  const auto high = static_cast<std::uint16_t>(bits >> 16);
  switch (dtype) {
    case DType::kUInt8: {
      const auto q = static_cast<std::uint8_t>(std::isnan(number) ? 255 : std::lround(number));
      write(q);
      return q;
    }
    case DType::kFloat16: {
      // Truncated, and zero below the normal numbers: enough for test data.
      if (!(std::abs(single) >= 0x1p-14F)) {
        write(static_cast<std::uint16_t>(std::isnan(single) ? 0x7e00U : 0U));
        return std::isnan(single) ? number : 0;
      }
      const std::uint32_t magnitude = ((bits & 0x7fffffffU) >> 13) - (112U << 10);
      write(static_cast<std::uint16_t>((high & 0x8000U) | magnitude));
      return std::bit_cast<float>(bits >> 13 << 13);
    }
    case DType::kBFloat16:
      write(high);
      return std::bit_cast<float>(bits >> 16 << 16);
    case DType::kFloat32:
      write(single);
      return single;
    case DType::kFloat64:
      write(number);
      return number;
  }
  return 0;
}

/// Rows of one view as a user stores them, and the numbers that they stand for.
struct StoredView {
  StoredView(const Matrix& numbers, DType type, double scale_)
      : dtype(type), scale(scale_), values(numbers), bytes(numbers.values.size() * size_of(type)) {
    for (std::size_t i = 0; i < values.values.size(); ++i) {
      values.values[i] =
          scale * write_number(bytes.data() + i * size_of(dtype), dtype, values.values[i] / scale);
    }
  }
  [[nodiscard]] MatrixView view() const {
    return {bytes.data(), dtype, values.rows, values.columns, values.columns};
  }

  DType dtype;
  double scale;
  Matrix values;

 private:
  std::vector<std::byte> bytes;
};

/// Coupled views with a low-rank part, and factors to start from.
struct Coupled {
  /// A view per dtype, with a few and with many columns, so that chunks are whole and partial.
  Coupled(Random& random, std::int64_t rows, std::vector<int> ranks, double noise = 0.3)
      : Coupled(random, rows, std::move(ranks), noise,
                {{.columns = 7, .dtype = DType::kFloat64, .weight = 0.7},
                 {.columns = 40, .dtype = DType::kUInt8, .scale = 1.0 / 64},
                 {.columns = 33, .dtype = DType::kFloat16},
                 {.columns = 1, .dtype = DType::kBFloat16, .weight = 2.0},
                 {.columns = 530, .dtype = DType::kFloat32, .weight = 0.1}}) {}
  Coupled(Random& random, std::int64_t rows, std::vector<int> ranks, double noise,
          std::vector<ViewSpec> specs) {
    problem = {.rows = rows, .views = std::move(specs), .ranks = std::move(ranks)};
    const auto draw = [&](std::int64_t r, std::int64_t c) {
      return make_matrix(
          r, c, [&](auto, auto) { return random.chance(0.5) ? random.uniform(0, 1) : 0.0; });
    };
    const Matrix w = draw(rows, 3);
    for (const ViewSpec& spec : problem.views) {
      Matrix x = multiply(w, draw(3, spec.columns));
      for (double& value : x.values) value += noise * random.uniform(0, 1);
      views.emplace_back(x, spec.dtype, spec.scale);
      start.push_back(make_matrix(problem.total_rank(), spec.columns, [&](auto, auto) {
        return static_cast<float>(random.chance(0.5) ? random.uniform(0.1, 1) : 0.05);
      }));
    }
  }
  [[nodiscard]] MatrixSource source(std::int64_t block_rows = 0) const {
    std::vector<std::vector<MatrixView>> pieces;
    for (const StoredView& view : views) pieces.push_back({view.view()});
    return {pieces, block_rows};
  }
  [[nodiscard]] std::vector<double> sum_of_squares() const {
    std::vector<double> result;
    for (const StoredView& view : views) result.push_back(squared_norm(view.values));
    return result;
  }
  /// Columns of all views: the most terms that a sum over columns can have.
  [[nodiscard]] std::int64_t total_columns() const {
    std::int64_t result = 0;
    for (const ViewSpec& view : problem.views) result += view.columns;
    return result;
  }

  Problem problem;
  std::vector<StoredView> views;
  std::vector<Matrix> start;
};

/// A penalty on groups of one row each: whatever norms it is majorised at, it is a diagonal per
/// row.
inline void give_each_row_a_group(Problem& problem) {
  problem.group_penalty = 1;
  problem.row_terms.num_groups = problem.rows;
  for (std::int64_t i = 0; i < problem.rows; ++i) {
    problem.row_terms.group.push_back(static_cast<std::int32_t>(i));
  }
}

/// The norms at which that penalty adds these numbers.
template <class T>
std::vector<double> norms_for(const std::vector<T>& diagonal) {
  std::vector<double> norms;
  for (const T value : diagonal) norms.push_back(1 / static_cast<double>(value));
  return norms;
}

}  // namespace cofactor::testing
