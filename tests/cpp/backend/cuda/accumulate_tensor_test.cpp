// Second product on tensor cores, and the panels that join in float64.

#include "backend/cuda/kernel_tests.h"
#include "backend/cuda/kernels/fold_panels.h"

namespace cofactor::cuda {
namespace {

struct Size {
  std::int64_t rows;
  int k;
  std::int64_t columns;
};

template <class Stored>
struct Case {
  using E = Operand<Stored>;
  Case(testing::Random& random, const Size& size_, int parts_, bool all_rows)
      : size(size_),
        parts(parts_),
        x(random, kDTypeOf<Stored>, size.rows, size.columns),
        w(random, size.k, size.rows, random.integer(0, 3), false),
        present(draw_present(random, size.rows, all_rows)) {
    spread(random, w, size.k, size.rows);
  }
  [[nodiscard]] std::int64_t panels() const { return divide_up(size.rows, kPanelRows); }
  /// Sums of the first k components over the panels from `first` on; what is not written is NaN.
  [[nodiscard]] std::vector<float> run(std::int64_t first, int k, int limit,
                                       std::int64_t stride) const {
    const TensorPlan plan = plan_tensor(k, parts, limit);
    const std::int64_t row = first * kPanelRows;
    FactorNumbers<float> from = w;
    from.values.erase(from.values.begin(), from.values.begin() + row);
    const Packed<E> packed(from, k, size.rows - row, kPanelRows, parts, false, plan);
    std::vector<float> sums(static_cast<std::size_t>((panels() - first) * k * stride),
                            std::numeric_limits<float>::quiet_NaN());
    AccumulateArguments<float> in;
    in.x = lines_of<Stored>(x, row);
    in.present = present.empty() ? nullptr : present.data() + row;
    in.rows = size.rows - row;
    in.columns = size.columns;
    in.components = k;
    in.sums = sums.data();
    in.panel_stride = k * stride;
    in.component_stride = stride;
    launch_accumulate_tensor<Stored>(plan, in, packed.get(), Emulate{});
    return sums;
  }
  void check(int limit) const {
    const std::int64_t stride = size.columns + 3;
    const std::vector<float> sums = run(0, size.k, limit, stride);
    const testing::Matrix numbers = x.template operands<float>(false);
    Comparison comparison;
    for (std::int64_t panel = 0; panel < panels(); ++panel) {
      const std::int64_t begin = panel * kPanelRows;
      const std::int64_t end = std::min(begin + kPanelRows, size.rows);
      for (int r = 0; r < size.k; ++r) {
        float largest = 0;
        for (std::int64_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(w(r, i)));
        const double scale = bits_as<float>(PackFactor<E>::scale_exponent(largest) << 23);
        const auto at = static_cast<std::size_t>((panel * size.k + r) * stride);
        for (std::int64_t j = 0; j < size.columns; ++j) {
          Wide sum = 0, magnitude = 0, sum_of_x = 0;
          for (std::int64_t i = begin; i < end; ++i) {
            if (!present.empty() && present[static_cast<std::size_t>(i)] == 0) continue;
            const Wide term = Wide{numbers(i, j)} * w(r, i);
            sum += term;
            magnitude += std::abs(term);
            sum_of_x += std::abs(numbers(i, j));
          }
          comparison.check(sums[at + static_cast<std::size_t>(j)], sum,
                           packed_bound<E>(end - begin, parts, magnitude, sum_of_x, scale), "panel",
                           panel, "component", r, "column", j);
        }
        EXPECT_TRUE(std::isnan(sums[at + static_cast<std::size_t>(size.columns)]));
      }
    }
    EXPECT_TRUE(comparison.result())
        << size.rows << " x " << size.columns << ", k = " << size.k << ", parts " << parts;
  }

  Size size;
  int parts;
  StoredNumbers x;
  FactorNumbers<float> w;
  std::vector<std::uint8_t> present;
};

template <class Stored>
class AccumulateTensorTest : public testing::RandomTest {};
using StoredTypes = ::testing::Types<std::uint8_t, Float16, BFloat16>;
TYPED_TEST_SUITE(AccumulateTensorTest, StoredTypes);

TYPED_TEST(AccumulateTensorTest, IsTheProductAtEverySize) {
  // Every shape of tiles, and sizes around those of fragments, chunks, stages and panels.
  const std::vector<Size> sizes{{1, 1, 1},     {3, 7, 3},      {7, 8, 7},    {8, 9, 8},
                                {9, 16, 9},    {15, 17, 15},   {16, 20, 16}, {17, 24, 17},
                                {63, 31, 63},  {64, 33, 64},   {65, 48, 65}, {40, 64, 127},
                                {31, 20, 128}, {513, 3, 129},  {512, 20, 5}, {511, 65, 20},
                                {33, 96, 33},  {17, 100, 257}, {64, 128, 6}, {20, 129, 2}};
  for (const Size& size : sizes) {
    for (const int parts : {1, kFullParts<Operand<TypeParam>>}) {
      const Case<TypeParam> in(this->random, size, parts, this->random.chance(0.5));
      in.check(kMostShared);
    }
  }
}

TYPED_TEST(AccumulateTensorTest, IsTheProductWithLittleSharedMemoryAndAtHighRank) {
  for (const Size& size : std::vector<Size>{{70, 72, 17}, {16, 128, 3}, {65, 200, 2}}) {
    Case<TypeParam>(this->random, size, kFullParts<Operand<TypeParam>>, true).check(kLeastShared);
  }
  Case<TypeParam>(this->random, {9, 512, 2}, 1, true).check(kMostShared);
}

TYPED_TEST(AccumulateTensorTest, BitsDependNeitherOnPanelsNorOnShapes) {
  const Case<TypeParam> in(this->random, {600, 70, 40}, kFullParts<Operand<TypeParam>>, false);
  const std::vector<float> whole = in.run(0, 70, kMostShared, 40);
  EXPECT_TRUE(testing::same_bits_of(whole, in.run(0, 70, kLeastShared, 40)));
  const std::vector<float> last = in.run(1, 20, kMostShared, 40);
  EXPECT_EQ(std::memcmp(last.data(), whole.data() + 70 * 40, last.size() * sizeof(float)), 0);
}

TEST(FoldPanelsTest, AddsPanelsInOrder) {
  testing::Random random;
  const std::int64_t columns = 200;
  const int components = 3, panels = 4;
  std::vector<float> from(static_cast<std::size_t>(panels * components * (columns + 1)));
  for (float& value : from) value = static_cast<float>(random.uniform(-1, 1));
  std::vector<double> sums(static_cast<std::size_t>(components * columns));
  for (double& value : sums) value = random.uniform(-1, 1);
  std::vector<double> expected = sums;
  for (int panel = 0; panel < panels; ++panel) {
    for (int r = 0; r < components; ++r) {
      for (std::int64_t j = 0; j < columns; ++j) {
        expected[static_cast<std::size_t>(r * columns + j)] +=
            0.25 *
            static_cast<double>(
                from[static_cast<std::size_t>((panel * components + r) * (columns + 1) + j)]);
      }
    }
  }
  FoldPanels<float> kernel;
  kernel.panels = from.data();
  kernel.panel_stride = components * (columns + 1);
  kernel.component_stride = columns + 1;
  kernel.count = panels;
  kernel.columns = columns;
  kernel.scale = 0.25;
  kernel.sums = sums.data();
  Emulate{}(kernel, divide_up(columns, std::int64_t{kernel.kThreads}), components,
            kernel.shared_bytes());
  EXPECT_EQ(sums, expected);
}

}  // namespace
}  // namespace cofactor::cuda
