#include "reference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace cofactor::testing {

Matrix transpose(const Matrix& a) {
  return make_matrix(a.columns, a.rows, [&](auto i, auto j) { return a(j, i); });
}

Matrix multiply(const Matrix& a, const Matrix& b) {
  Matrix result(a.rows, b.columns);
  std::vector<Wide> sums(static_cast<std::size_t>(b.columns));
  for (std::int64_t i = 0; i < a.rows; ++i) {
    std::fill(sums.begin(), sums.end(), Wide{0});
    for (std::int64_t l = 0; l < a.columns; ++l) {
      const Wide factor = a(i, l);
      const double* const row = b.values.data() + l * b.columns;
      for (std::size_t j = 0; j < sums.size(); ++j) sums[j] += factor * row[j];
    }
    std::transform(sums.begin(), sums.end(), result.values.data() + i * b.columns,
                   [](Wide sum) { return static_cast<double>(sum); });
  }
  return result;
}

double squared_norm(const Matrix& a) {
  Wide sum = 0;
  for (const double value : a.values) sum += Wide{value} * value;
  return static_cast<double>(sum);
}

std::pair<double, double> eigenvalue_range(Matrix a) {
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

std::vector<double> nnls_by_enumeration(const Matrix& g, const std::vector<double>& b) {
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

Optimality optimality(const Matrix& g, const std::vector<double>& diagonal,
                      const std::vector<double>& b, double shift, const std::vector<double>& x,
                      double tolerance, Wide rounding) {
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

double write_number(std::byte* to, DType dtype, double number) {
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

}  // namespace cofactor::testing
