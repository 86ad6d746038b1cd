#pragma once

// Plain references in float64: matrices, non-negative least squares, and coupled views in stored
// form beside the numbers that they stand for.

#include <cstddef>
#include <cstdint>
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

[[nodiscard]] Matrix transpose(const Matrix& a);
[[nodiscard]] Matrix multiply(const Matrix& a, const Matrix& b);
[[nodiscard]] double squared_norm(const Matrix& a);

/// Smallest and largest eigenvalue of a symmetric matrix, by Jacobi rotations.
[[nodiscard]] std::pair<double, double> eigenvalue_range(Matrix a);

/// argmin over x >= 0 of 1/2 x'Gx - b'x for positive definite G, from all 2^k sets of positive
/// coordinates: the unconstrained minimiser on a set, where it is positive, with the least value.
[[nodiscard]] std::vector<double> nnls_by_enumeration(const Matrix& g,
                                                      const std::vector<double>& b);

/// How far a batched solve is from optimal, and how far it may be.
struct Optimality {
  Wide violation = 0;  ///< max_r |min(sqrt(G_rr) x_r, (Gx + dx - b)_r / sqrt(G_rr))|
  Wide allowed = 0;
};

/// The solver stops at a violation of tolerance * max|b|, in the problem scaled to a unit diagonal.
/// On top comes rounding, `rounding` times the magnitudes of the terms of a gradient. `b` comes
/// before the shift; `diagonal` may be empty.
[[nodiscard]] Optimality optimality(const Matrix& g, const std::vector<double>& diagonal,
                                    const std::vector<double>& b, double shift,
                                    const std::vector<double>& x, double tolerance, Wide rounding);

/// Writes one number, rounded to the dtype, and returns what was written.
double write_number(std::byte* to, DType dtype, double number);

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
