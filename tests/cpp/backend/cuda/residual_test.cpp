// ||X - W H||^2 by row.

#include "backend/cuda/kernels/residual.h"

#include "backend/cuda/kernel_tests.h"

namespace cofactor::cuda {
namespace {

template <class T_, class Stored_>
struct Types {
  using T = T_;
  using Stored = Stored_;
};

template <class TypesOf>
class ResidualTest : public testing::RandomTest {};
using AllTypes =
    ::testing::Types<Types<float, float>, Types<float, Float16>, Types<float, BFloat16>,
                     Types<float, std::uint8_t>, Types<float, double>, Types<double, double>,
                     Types<double, float>, Types<double, std::uint8_t>>;
TYPED_TEST_SUITE(ResidualTest, AllTypes);

struct Size {
  std::int64_t rows;
  int k;
  std::int64_t columns;
};

TYPED_TEST(ResidualTest, IsTheSumOfSquares) {
  using T = typename TypeParam::T;
  using Stored = typename TypeParam::Stored;
  for (const Size& size : std::vector<Size>{{1, 1, 1},
                                            {3, 7, 63},
                                            {31, 15, 64},
                                            {32, 16, 65},
                                            {33, 17, 17},
                                            {2, 33, 1025},
                                            {5, 20, 1023},
                                            {65, 3, 8}}) {
    const StoredNumbers x(this->random, kDTypeOf<Stored>, size.rows, size.columns);
    // Row by row: `rows` components of k numbers.
    const FactorNumbers<T> w(this->random, static_cast<int>(size.rows), size.k, 2, false);
    const FactorNumbers<T> h(this->random, size.k, size.columns, 1, false);
    const std::vector<std::uint8_t> present =
        draw_present(this->random, size.rows, this->random.chance(0.5));
    const T scale = std::is_same_v<Stored, std::uint8_t> ? T{0.0078125} : T{1};
    const std::int64_t slices = divide_up(size.columns, std::int64_t{kSliceColumns});
    std::vector<double> squares(static_cast<std::size_t>(slices * size.rows),
                                std::numeric_limits<double>::quiet_NaN());
    Residual<T, Stored> kernel;
    kernel.x = lines_of<Stored>(x);
    kernel.present = present.empty() ? nullptr : present.data();
    kernel.rows = size.rows;
    kernel.columns = size.columns;
    kernel.scale = scale;
    kernel.components = size.k;
    kernel.w = w.from(0);
    kernel.w_stride = w.ld;
    kernel.h = h.from(0);
    kernel.h_stride = h.ld;
    kernel.squares = squares.data();
    kernel.slice_stride = size.rows;
    Emulate{}(kernel, divide_up(size.rows, std::int64_t{kernel.kRows}), slices,
              kernel.shared_bytes());

    const testing::Matrix numbers = x.template operands<T>(false);
    Comparison comparison;
    for (std::int64_t slice = 0; slice < slices; ++slice) {
      const std::int64_t begin = slice * kSliceColumns;
      const std::int64_t end = std::min(begin + kSliceColumns, size.columns);
      for (std::int64_t i = 0; i < size.rows; ++i) {
        const bool here = present.empty() || present[static_cast<std::size_t>(i)] != 0;
        Wide sum = 0, bound = 0;
        for (std::int64_t j = begin; here && j < end; ++j) {
          Wide rest = Wide{scale} * numbers(i, j), magnitude = std::abs(rest);
          for (int r = 0; r < size.k; ++r) {
            rest -= Wide{w(i, r)} * h(r, j);
            magnitude += std::abs(Wide{w(i, r)} * h(r, j));
          }
          // The rest is off by at most gamma_(k + 1) times its terms. Its square, the sum of four
          // and the sum in float64 round at most 5 times in T and once a step of 64 columns in
          // float64.
          const Wide off = testing::gamma<T>(size.k + 1) * magnitude;
          sum += rest * rest;
          bound += 2 * std::abs(rest) * off + off * off +
                   (testing::gamma<T>(5) + testing::gamma<double>(34)) * (std::abs(rest) + off) *
                       (std::abs(rest) + off);
        }
        comparison.check(squares[static_cast<std::size_t>(slice * size.rows + i)], sum, bound,
                         "slice", slice, "row", i);
      }
    }
    EXPECT_TRUE(comparison.result()) << size.rows << " x " << size.columns << ", k = " << size.k;
  }
}

}  // namespace
}  // namespace cofactor::cuda
