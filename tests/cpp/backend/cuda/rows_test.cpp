#include "backend/cuda/kernels/rows.h"

#include "backend/cuda/emulation/host_group.h"
#include "testing.h"

namespace cofactor::cuda {
namespace {

using testing::Wide;

class RowKernelTest : public testing::RandomTest {};

TEST_F(RowKernelTest, RoundsWeighsAndSumsRowsByFit) {
  for (const std::int64_t rows : {1, 3, 5, 130}) {
    for (const bool weighs : {false, true}) {
      for (const bool rounded : {false, true}) {
        // Fits of one lane, of a warp and of more.
        const std::vector<std::int32_t> fits{0, 1, 33, 70};
        const int components = fits.back();
        const std::int64_t stride = rows + 2;
        std::vector<float> w, b;
        std::vector<double> weight;
        for (std::int64_t i = 0; i < rows * components; ++i) {
          w.push_back(static_cast<float>(random.uniform(0, 1)));
          b.push_back(static_cast<float>(random.uniform(0, 1)));
        }
        for (std::int64_t i = 0; i < rows; ++i) weight.push_back(random.uniform(0, 3));
        std::vector<float> expected = w, weighted(w.size(), -1);
        if (rounded) {
          for (float& value : expected) value = testing::rounded_to_bf16(value);
        }
        std::vector<double> values(static_cast<std::size_t>(6 * stride), -1);
        WeighRows<float> kernel;
        kernel.w = w.data();
        kernel.b = b.data();
        kernel.rows = rows;
        kernel.components = components;
        kernel.fits = fits.data();
        kernel.num_fits = 3;
        kernel.rounded = rounded;
        if (weighs) {
          kernel.weight = weight.data();
          kernel.weighted = weighted.data();
        }
        kernel.values = values.data();
        kernel.value_stride = stride;
        emulation::run_grid(kernel, divide_up(rows, std::int64_t{kernel.kRows}), 1, 0);
        EXPECT_TRUE(testing::same_bits_of(w, expected));
        testing::Comparison comparison;
        for (std::int64_t i = 0; i < rows; ++i) {
          const double factor = weighs ? weight[static_cast<std::size_t>(i)] : 1.0;
          for (std::size_t fit = 0; fit < 3; ++fit) {
            Wide cross = 0, l1 = 0;
            for (std::int64_t r = fits[fit]; r < fits[fit + 1]; ++r) {
              const auto at = static_cast<std::size_t>(i * components + r);
              cross += Wide{w[at]} * b[at];
              l1 += w[at];
              EXPECT_EQ(weighted[at], weighs ? w[at] * static_cast<float>(factor) : -1.0F);
            }
            const Wide gamma = testing::gamma<double>(components + 2);
            const auto at =
                static_cast<std::size_t>(2 * static_cast<std::int64_t>(fit) * stride + i);
            comparison.check(values[at], factor * cross, gamma * factor * cross, rows, i, fit);
            comparison.check(values[at + static_cast<std::size_t>(stride)], factor * l1,
                             gamma * factor * l1, rows, i, fit);
          }
        }
        EXPECT_TRUE(comparison.result());
        EXPECT_EQ(values[static_cast<std::size_t>(rows)], -1);
      }
    }
  }
}

TEST_F(RowKernelTest, SquaresOfAllSlicesJoinTheRow) {
  for (const std::int64_t rows : {1, 127, 128, 129}) {
    std::vector<double> squares, weight, values(static_cast<std::size_t>(rows + 1), -1);
    for (std::int64_t i = 0; i < 3 * rows; ++i) squares.push_back(random.uniform(0, 1));
    for (std::int64_t i = 0; i < rows; ++i) weight.push_back(random.uniform(0, 3));
    const PutSquares kernel{squares.data(), 3, rows, rows, weight.data(), values.data()};
    emulation::run_grid(kernel, divide_up(rows, std::int64_t{kernel.kThreads}), 1, 0);
    for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
      const auto n = static_cast<std::size_t>(rows);
      EXPECT_EQ(values[i], weight[i] * (squares[i] + squares[n + i] + squares[2 * n + i]));
    }
    EXPECT_EQ(values.back(), -1);
  }
}

}  // namespace
}  // namespace cofactor::cuda
