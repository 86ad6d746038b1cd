// Both products in the compute type.

#include "backend/cuda/kernel_tests.h"

namespace cofactor::cuda {
namespace {

/// A compute type and how a view is stored.
template <class T_, class Stored_>
struct Types {
  using T = T_;
  using Stored = Stored_;
};

struct Size {
  std::int64_t rows;
  int k;
  std::int64_t columns;
};

template <class TypesOf>
class PlainProductTest : public testing::RandomTest {};

template <class T>
Lines lines_of_factor(const FactorNumbers<T>& factor) {
  return make_lines(factor.from(0), factor.ld * static_cast<std::int64_t>(sizeof(T)),
                    static_cast<int>(sizeof(T)));
}

using AllTypes = ::testing::Types<Types<float, float>, Types<float, double>, Types<double, double>,
                                  Types<double, float>, Types<double, Float16>,
                                  Types<double, BFloat16>, Types<double, std::uint8_t>>;
TYPED_TEST_SUITE(PlainProductTest, AllTypes);

/// Every shape of tiles, and sizes around those of vectors, stages, slices and panels.
const std::vector<Size> kProjectSizes{{1, 1, 1},     {3, 7, 3},    {7, 8, 7},     {8, 9, 8},
                                      {15, 16, 15},  {16, 17, 17}, {17, 20, 16},  {63, 24, 31},
                                      {64, 25, 33},  {65, 32, 63}, {127, 33, 64}, {128, 48, 65},
                                      {129, 49, 20}, {5, 3, 1025}, {6, 64, 1023}, {2, 65, 1024},
                                      {9, 129, 40},  {3, 512, 5},  {257, 20, 40}, {20, 50, 511}};

TYPED_TEST(PlainProductTest, FirstIsTheProductAtEverySize) {
  using T = typename TypeParam::T;
  using Stored = typename TypeParam::Stored;
  using Precise = testing::Precise<T>;
  for (const Size& size : kProjectSizes) {
    const StoredNumbers x(this->random, kDTypeOf<Stored>, size.rows, size.columns);
    const FactorNumbers<T> h(this->random, size.k, size.columns, this->random.integer(0, 3), false);
    const std::vector<std::uint8_t> present =
        draw_present(this->random, size.rows, this->random.chance(0.5));
    const std::int64_t slices = divide_up(size.columns, std::int64_t{kSliceColumns});
    const std::int64_t row_stride = size.k + 1;
    std::vector<T> b(static_cast<std::size_t>(slices * size.rows * row_stride),
                     std::numeric_limits<T>::quiet_NaN());
    ProjectArguments<T> in;
    in.x = lines_of<Stored>(x);
    in.present = present.empty() ? nullptr : present.data();
    in.rows = size.rows;
    in.columns = size.columns;
    in.factor = T{0.75};
    in.components = size.k;
    in.b = b.data();
    in.slice_stride = size.rows * row_stride;
    in.row_stride = row_stride;
    launch_project_plain<Stored>(in, lines_of_factor(h), Emulate{});

    const testing::Matrix numbers = x.template operands<T>(false);
    Comparison comparison;
    for (std::int64_t slice = 0; slice < slices; ++slice) {
      const std::int64_t begin = slice * kSliceColumns;
      const std::int64_t end = std::min(begin + kSliceColumns, size.columns);
      // Without fused multiply-adds every product and every sum rounds, and the factor does.
      const Wide gamma = testing::gamma<T>(end - begin + 2);
      for (std::int64_t i = 0; i < size.rows; ++i) {
        const bool here = present.empty() || present[static_cast<std::size_t>(i)] != 0;
        const auto at = static_cast<std::size_t>((slice * size.rows + i) * row_stride);
        for (int r = 0; r < size.k; ++r) {
          Precise sum = 0, magnitude = 0;
          for (std::int64_t j = begin; here && j < end; ++j) {
            const auto term = Precise{numbers(i, j)} * h(r, j);
            sum += term;
            magnitude += std::abs(term);
          }
          comparison.check(b[at + static_cast<std::size_t>(r)], Wide{0.75} * sum,
                           Wide{0.75} * gamma * magnitude, "slice", slice, "row", i, "component",
                           r);
        }
        EXPECT_TRUE(std::isnan(b[at + static_cast<std::size_t>(size.k)]));
      }
    }
    EXPECT_TRUE(comparison.result()) << size.rows << " x " << size.columns << ", k = " << size.k;
  }
}

TYPED_TEST(PlainProductTest, SecondIsTheProductAtEverySize) {
  using T = typename TypeParam::T;
  using Stored = typename TypeParam::Stored;
  using Precise = testing::Precise<T>;
  for (const Size& transposed : kProjectSizes) {
    const Size size{smaller<std::int64_t>(transposed.columns, 600), transposed.k, transposed.rows};
    const StoredNumbers x(this->random, kDTypeOf<Stored>, size.rows, size.columns);
    // Row by row: `rows` components of k numbers.
    const FactorNumbers<T> w(this->random, static_cast<int>(size.rows), size.k,
                             this->random.integer(0, 3), false);
    const std::vector<std::uint8_t> present =
        draw_present(this->random, size.rows, this->random.chance(0.5));
    const std::int64_t panels = divide_up(size.rows, kPanelRows);
    const std::int64_t stride = size.columns + 1;
    std::vector<T> sums(static_cast<std::size_t>(panels * size.k * stride),
                        std::numeric_limits<T>::quiet_NaN());
    AccumulateArguments<T> in;
    in.x = lines_of<Stored>(x);
    in.present = present.empty() ? nullptr : present.data();
    in.rows = size.rows;
    in.columns = size.columns;
    in.components = size.k;
    in.sums = sums.data();
    in.panel_stride = size.k * stride;
    in.component_stride = stride;
    launch_accumulate_plain<Stored>(in, lines_of_factor(w), Emulate{});

    const testing::Matrix numbers = x.template operands<T>(false);
    Comparison comparison;
    for (std::int64_t panel = 0; panel < panels; ++panel) {
      const std::int64_t begin = panel * kPanelRows;
      const std::int64_t end = std::min(begin + kPanelRows, size.rows);
      const Wide gamma = testing::gamma<T>(end - begin + 1);
      for (int r = 0; r < size.k; ++r) {
        const auto at = static_cast<std::size_t>((panel * size.k + r) * stride);
        for (std::int64_t j = 0; j < size.columns; ++j) {
          Precise sum = 0, magnitude = 0;
          for (std::int64_t i = begin; i < end; ++i) {
            if (!present.empty() && present[static_cast<std::size_t>(i)] == 0) continue;
            const auto term = Precise{numbers(i, j)} * w(i, r);
            sum += term;
            magnitude += std::abs(term);
          }
          comparison.check(sums[at + static_cast<std::size_t>(j)], sum, gamma * magnitude, "panel",
                           panel, "component", r, "column", j);
        }
        EXPECT_TRUE(std::isnan(sums[at + static_cast<std::size_t>(size.columns)]));
      }
    }
    EXPECT_TRUE(comparison.result()) << size.rows << " x " << size.columns << ", k = " << size.k;
  }
}

}  // namespace
}  // namespace cofactor::cuda
