// First product on tensor cores.

#include "backend/cuda/kernel_tests.h"

namespace cofactor::cuda {
namespace {

struct Size {
  std::int64_t rows;
  int k;
  std::int64_t columns;
};

/// One view, one factor, and what the product of them is.
template <class Stored>
struct Case {
  using E = Operand<Stored>;
  Case(testing::Random& random, const Size& size_, int parts_, bool all_rows)
      : size(size_),
        parts(parts_),
        factor(static_cast<float>(random.uniform(0.1, 2))),
        x(random, kDTypeOf<Stored>, size.rows, size.columns),
        h(random, size.k, size.columns, random.integer(0, 3), false),
        present(draw_present(random, size.rows, all_rows)) {
    spread(random, h, size.k, size.columns);
  }
  [[nodiscard]] std::int64_t slices() const {
    return divide_up(size.columns, std::int64_t{kSliceColumns});
  }
  /// Rows [i0, i1) of the first k components; what is not written is NaN.
  [[nodiscard]] std::vector<float> run(std::int64_t i0, std::int64_t i1, int k, int limit,
                                       std::int64_t row_stride) const {
    const TensorPlan plan = plan_tensor(k, parts, limit);
    const Packed<E> packed(h, k, size.columns, kSliceColumns, parts, sizeof(Stored) == 1, plan);
    std::vector<float> b(static_cast<std::size_t>(slices() * (i1 - i0) * row_stride),
                         std::numeric_limits<float>::quiet_NaN());
    ProjectArguments<float> in;
    in.x = lines_of<Stored>(x, i0);
    in.present = present.empty() ? nullptr : present.data() + i0;
    in.rows = i1 - i0;
    in.columns = size.columns;
    in.factor = factor;
    in.components = k;
    in.b = b.data();
    in.slice_stride = (i1 - i0) * row_stride;
    in.row_stride = row_stride;
    launch_project_tensor<Stored>(plan, in, packed.get(), Emulate{});
    return b;
  }
  void check(int limit) const {
    const std::int64_t row_stride = size.k + 2;
    const std::vector<float> b = run(0, size.rows, size.k, limit, row_stride);
    const testing::Matrix numbers = x.template operands<float>(false);
    Comparison comparison;
    for (std::int64_t slice = 0; slice < slices(); ++slice) {
      const std::int64_t begin = slice * kSliceColumns;
      const std::int64_t end = std::min(begin + kSliceColumns, size.columns);
      for (int r = 0; r < size.k; ++r) {
        float largest = 0;
        for (std::int64_t j = begin; j < end; ++j) largest = std::max(largest, std::abs(h(r, j)));
        const double scale = bits_as<float>(PackFactor<E>::scale_exponent(largest) << 23);
        for (std::int64_t i = 0; i < size.rows; ++i) {
          Wide sum = 0, magnitude = 0, sum_of_x = 0;
          const bool here = present.empty() || present[static_cast<std::size_t>(i)] != 0;
          for (std::int64_t j = begin; here && j < end; ++j) {
            const Wide term = Wide{numbers(i, j)} * h(r, j);
            sum += term;
            magnitude += std::abs(term);
            sum_of_x += std::abs(numbers(i, j));
          }
          const Wide bound = packed_bound<E>(end - begin, parts, magnitude, sum_of_x, scale);
          comparison.check(b[static_cast<std::size_t>((slice * size.rows + i) * row_stride + r)],
                           factor * sum, factor * bound, "slice", slice, "row", i, "component", r);
        }
      }
      for (std::int64_t i = 0; i < size.rows; ++i) {
        const auto at = static_cast<std::size_t>((slice * size.rows + i) * row_stride + size.k);
        EXPECT_TRUE(std::isnan(b[at]) && std::isnan(b[at + 1]));
      }
    }
    EXPECT_TRUE(comparison.result())
        << size.rows << " x " << size.columns << ", k = " << size.k << ", parts " << parts;
  }

  Size size;
  int parts;
  float factor;
  StoredNumbers x;
  FactorNumbers<float> h;
  std::vector<std::uint8_t> present;
};

template <class Stored>
class ProjectTensorTest : public testing::RandomTest {};
using StoredTypes = ::testing::Types<std::uint8_t, Float16, BFloat16>;
TYPED_TEST_SUITE(ProjectTensorTest, StoredTypes);

TYPED_TEST(ProjectTensorTest, IsTheProductAtEverySize) {
  // Every shape of tiles, and sizes around those of fragments, chunks, stages and slices.
  const std::vector<Size> sizes{{1, 1, 1},     {3, 7, 3},      {7, 8, 7},    {8, 9, 8},
                                {9, 16, 9},    {15, 17, 15},   {16, 20, 16}, {17, 24, 17},
                                {63, 31, 63},  {64, 33, 64},   {65, 48, 65}, {127, 64, 40},
                                {128, 20, 31}, {129, 3, 1025}, {5, 20, 513}, {20, 65, 511},
                                {33, 96, 33},  {257, 100, 17}, {6, 128, 64}, {2, 129, 20}};
  for (const Size& size : sizes) {
    for (const int parts : {1, kFullParts<Operand<TypeParam>>}) {
      const Case<TypeParam> in(this->random, size, parts, this->random.chance(0.5));
      in.check(kMostShared);
    }
  }
}

TYPED_TEST(ProjectTensorTest, IsTheProductWithLittleSharedMemoryAndAtHighRank) {
  for (const Size& size : std::vector<Size>{{17, 72, 70}, {3, 128, 16}, {2, 200, 65}}) {
    Case<TypeParam>(this->random, size, kFullParts<Operand<TypeParam>>, true).check(kLeastShared);
  }
  Case<TypeParam>(this->random, {2, 512, 9}, 1, true).check(kMostShared);
}

TYPED_TEST(ProjectTensorTest, BitsDependNeitherOnRowsNorOnShapes) {
  const Case<TypeParam> in(this->random, {150, 70, 200}, kFullParts<Operand<TypeParam>>, false);
  const std::vector<float> whole = in.run(0, 150, 70, kMostShared, 70);
  const std::vector<float> narrow = in.run(0, 150, 70, kLeastShared, 70);
  EXPECT_TRUE(testing::same_bits_of(whole, narrow));
  for (const int k : {1, 20, 64}) {
    const std::vector<float> part = in.run(37, 150, k, kMostShared, k);
    for (std::int64_t i = 37; i < 150; ++i) {
      for (int r = 0; r < k; ++r) {
        ASSERT_TRUE(testing::same_bits(part[static_cast<std::size_t>((i - 37) * k + r)],
                                       whole[static_cast<std::size_t>(i * 70 + r)]));
      }
    }
  }
}

}  // namespace
}  // namespace cofactor::cuda
