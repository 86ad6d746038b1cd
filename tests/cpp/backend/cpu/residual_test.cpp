#include "backend/cpu/tiling.h"
#include "testing.h"

namespace cofactor {
namespace {

using testing::Wide;

template <class T>
struct Operands {
  Operands(testing::Random& random, int rows_, int k_, std::int64_t columns_)
      : rows(rows_),
        k(k_),
        columns(columns_),
        n(cpu::round_up(columns, cpu::kColumnAlign)),
        ldx(n + 16 * random.integer(0, 2)),
        ldw(rows + random.integer(0, 3)),
        ldh(n + 16 * random.integer(0, 2)),
        x(static_cast<std::size_t>(rows * ldx)),
        h(static_cast<std::size_t>(k * ldh)),
        w(static_cast<std::size_t>(k * ldw)) {
    const auto fill = [&](AlignedBuffer<T>& to, std::int64_t ld, double low) {
      for (std::size_t at = 0; at < to.size(); ++at) {
        const auto j = static_cast<std::int64_t>(at) % ld;
        to[at] = j < columns ? static_cast<T>(random.uniform(low, 1)) : T{0};
      }
    };
    fill(x, ldx, -1);
    fill(h, ldh, 0);
    for (T& value : w) value = static_cast<T>(random.uniform(0, 1));
  }

  int rows, k;
  std::int64_t columns, n, ldx, ldw, ldh;
  AlignedBuffer<T> x, h;
  std::vector<T> w;
};

class ResidualTest : public testing::KernelTest {
 protected:
  template <class T>
  static void run(const Operands<T>& in, T scale, double* out) {
    table<T>().residual(in.x.data(), in.ldx, in.rows, scale, in.w.data(), in.ldw, in.h.data(),
                        in.ldh, in.k, in.n, out);
  }

  /// ||scale x_i - w_i H||^2 and its bound: each entry of the difference takes one product and k
  /// multiply-adds, and its square joins a sum of n / lanes squares a lane, then the lanes.
  template <class T>
  static std::pair<Wide, Wide> reference(const Operands<T>& in, Wide scale, int i) {
    const Wide gamma = testing::gamma<T>(in.k + 2);
    Wide sum = 0, error = 0, squares = 0;
    for (std::int64_t j = 0; j < in.columns; ++j) {
      const Wide x = scale * in.x.data()[i * in.ldx + j];
      Wide rest = x, magnitude = std::abs(x);
      for (int r = 0; r < in.k; ++r) {
        const Wide term =
            Wide{in.w[static_cast<std::size_t>(r * in.ldw + i)]} * in.h.data()[r * in.ldh + j];
        rest -= term;
        magnitude += std::abs(term);
      }
      const Wide off = gamma * magnitude;
      sum += rest * rest;
      error += 2 * std::abs(rest) * off + off * off;
      squares += (std::abs(rest) + off) * (std::abs(rest) + off);
    }
    const int lanes = ResidualTest::lanes<T>();
    return {sum, error + testing::gamma<T>(in.n / lanes + lanes + 1) * squares};
  }
};

TEST_P(ResidualTest, MatchesTheSquaredNormAndAddsToWhatIsThere) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : testing::kRanks) {
      for (const std::int64_t columns : testing::kColumns) {
        const Operands<T> in(random, static_cast<int>(random.integer(1, 33)), k, columns);
        const T scale = static_cast<T>(random.uniform(0.1, 3));
        std::vector<double> out(static_cast<std::size_t>(in.rows) + 1, 2.5);
        run(in, scale, out.data());
        testing::Comparison comparison;
        for (int i = 0; i < in.rows; ++i) {
          const auto [sum, bound] = reference(in, scale, i);
          comparison.check(out[static_cast<std::size_t>(i)], 2.5 + sum,
                           bound + testing::gamma<double>(1) * (2.5 + sum + bound), "row", i);
        }
        comparison.check(out.back(), 2.5, 0, "untouched");
        ASSERT_TRUE(comparison.result()) << in.rows << " x " << columns << ", k = " << k;
      }
    }
  });
}

TEST_P(ResidualTest, KeepsItsDigitsWhereTheGramIdentityLosesThem) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const std::int64_t columns : {17, 64, 257}) {
      Operands<T> in(random, 9, 4, columns);
      // Whole numbers of few bits times a power of two: W H and the products are exact, and the
      // residual is what was added.
      for (T& value : std::span(in.h.data(), in.h.size())) value = std::floor(value * 64);
      for (T& value : in.w) value = std::floor(value * 64);
      const T small = std::ldexp(T{1}, -6);
      for (int i = 0; i < in.rows; ++i) {
        for (std::int64_t j = 0; j < columns; ++j) {
          T sum = 0;
          for (int r = 0; r < in.k; ++r) {
            sum += in.w[static_cast<std::size_t>(r * in.ldw + i)] * in.h.data()[r * in.ldh + j];
          }
          in.x.data()[i * in.ldx + j] = sum + small;
        }
      }
      std::vector<double> out(static_cast<std::size_t>(in.rows));
      run(in, T{1}, out.data());
      for (const double value : out) {
        EXPECT_EQ(value, static_cast<double>(columns) * std::ldexp(1.0, -12));
      }
    }
  });
}

TEST_P(ResidualTest, ARowsBitsDoNotDependOnItsNeighbours) {
  typed([&](auto zero) {
    using T = decltype(zero);
    const Operands<T> in(random, 33, 7, 129);
    std::vector<double> together(33);
    run(in, T{1}, together.data());
    for (int i = 0; i < in.rows; ++i) {
      double alone = 0;
      table<T>().residual(in.x.data() + i * in.ldx, in.ldx, 1, T{1}, in.w.data() + i, in.ldw,
                          in.h.data(), in.ldh, in.k, in.n, &alone);
      EXPECT_TRUE(testing::same_bits(alone, together[static_cast<std::size_t>(i)])) << i;
    }
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(ResidualTest);

}  // namespace
}  // namespace cofactor
