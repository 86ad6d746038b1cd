#include "backend/cuda/kernels/scale_gram.h"

#include "backend/cuda/solve_batch.h"

namespace cofactor {
namespace {

using testing::Matrix;

class CudaScaleGramTest : public testing::RandomTest {};

TEST_F(CudaScaleGramTest, AgreesWithTheCpu) {
  for (const int k : {1, 2, 5, 8, 9, 20, 33, 70}) {
    std::vector<Matrix> views;
    for (int v = 0; v < 3; ++v) views.push_back(testing::random_gram(random, k, 0.5));
    // A component that no view has.
    const int dead = k / 2;
    for (Matrix& view : views) {
      for (int r = 0; r < k; ++r) view(r, dead) = view(dead, r) = 0;
    }
    const std::vector<double> weights{1, 0, 2, 0, 0.3, 0};
    for (const double ridge : {0.0, 0.7}) {
      const testing::ScaledGrams<float> grams(views, weights, ridge);
      for (std::size_t p = 0; p < 2; ++p) {
        const Matrix sum = testing::make_matrix(k, k, [&](auto r, auto l) {
          double value = 0;
          for (std::size_t v = 0; v < 3; ++v) value += weights[3 * p + v] * views[v](r, l);
          return value;
        });
        cpu::ScaledGram<float> expected;
        expected.assign(sum.values.data(), k, k, ridge);
        testing::Comparison comparison;
        for (int r = 0; r < k; ++r) {
          const std::size_t row = p * static_cast<std::size_t>(k) + static_cast<std::size_t>(r);
          const auto own = static_cast<std::size_t>(r);
          // A sum of three products, two roots, two quotients and two products: 10 roundings.
          const testing::Wide few = testing::gamma<double>(10);
          comparison.check(grams.exact_scale[row], expected.exact.inv_sqrt_diag[own],
                           few * expected.exact.inv_sqrt_diag[own], "scale", r);
          EXPECT_EQ(grams.scale[row], static_cast<float>(grams.exact_scale[row]));
          comparison.check(grams.row_sum[row], expected.exact.row_sum[own],
                           testing::gamma<float>(2) * expected.exact.row_sum[own], "sum", r);
          for (std::int64_t l = 0; l < grams.stride; ++l) {
            const std::size_t at =
                row * static_cast<std::size_t>(grams.stride) + static_cast<std::size_t>(l);
            const double value =
                l < k ? expected.exact.gram[own * static_cast<std::size_t>(cpu::nnls_stride(k)) +
                                            static_cast<std::size_t>(l)]
                      : 0.0;
            comparison.check(grams.exact[at], value, few * std::abs(value), "entry", r, l);
            EXPECT_EQ(grams.rounded.data()[at], static_cast<float>(grams.exact[at]));
          }
        }
        EXPECT_TRUE(comparison.result()) << "k = " << k << ", pattern " << p;
      }
    }
  }
}

}  // namespace
}  // namespace cofactor
