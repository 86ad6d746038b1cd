#include "backend/cuda/kernels/finish_nnls.h"

#include "backend/cuda/solve_batch.h"

namespace cofactor {
namespace {

using testing::Batch;
using testing::random_gram;
using testing::solve_batch;

class CudaFinishNnlsTest : public testing::CudaNnlsTest {};

TEST_F(CudaFinishNnlsTest, SolvesFromAnyStartWhateverTheCondition) {
  both_types([&](auto zero) {
    using T = decltype(zero);
    for (const int k : {1, 2, 3, 7, 20, 31, 32, 33, 40, 65}) {
      for (const double spread : {1.0, 1e-2, 1e-4}) {
        Batch<T> batch(random_gram(random, k, spread), k < 40 ? 5 : 2);
        batch.draw_b(random);
        for (T& value : batch.x) {
          value = static_cast<T>(random.chance(0.5) ? random.uniform(0, 1) : 0);
        }
        solve_batch(batch, false);
        expect_optimal(batch);
      }
    }
  });
}

TEST_F(CudaFinishNnlsTest, MoreComponentsThanTheGreedyMethodHasShapesFor) {
  Batch<float> batch(testing::gram_of_any_size(random, cuda::kMostNnlsComponents + 1), 1);
  batch.draw_b(random);
  // Few right-hand sides that are positive make few steps.
  for (int r = 8; r < batch.k; ++r) batch.at(batch.b, r, 0) = -1;
  EXPECT_FALSE(cuda::with_nnls_shape(batch.k, [](auto) {}));
  solve_batch(batch);
  expect_optimal(batch);
}

TEST_F(CudaFinishNnlsTest, ADiagonalAndAShift) {
  both_types([&](auto zero) {
    using T = decltype(zero);
    for (const double size : {1e-3, 1.0, 1e4}) {
      Batch<T> batch(random_gram(random, 12, 0.1), 37);
      batch.draw_b(random);
      batch.shift = static_cast<T>(0.1);
      batch.diagonal.resize(batch.b.size());
      for (T& d : batch.diagonal) d = static_cast<T>(random.uniform(0, size));
      solve_batch(batch, false);
      expect_optimal(batch);
    }
  });
}

TEST_F(CudaFinishNnlsTest, LeavesFinishedRowsAlone) {
  const testing::ScaledGrams<float> grams({random_gram(random, 5, 1.0)}, {1.0}, 0.0);
  std::vector<float> b(3 * 5, 1.0F), x(3 * 5, 7.0F);
  std::vector<unsigned char> unfinished{0, 1, 0};
  std::vector<double> workspace(
      static_cast<std::size_t>(cuda::FinishNnls<float>::kWarps * cuda::finish_nnls_workspace(5)));
  cuda::FinishNnls<float> kernel;
  kernel.problem.k = 5;
  kernel.problem.rows = 3;
  kernel.problem.gram_stride = grams.stride;
  kernel.problem.tolerance = 1e-5F;
  kernel.problem.b = b.data();
  kernel.problem.x = x.data();
  kernel.problem.ld_b = kernel.problem.ld_x = 5;
  kernel.problem.unfinished = unfinished.data();
  kernel.gram = grams.exact.data();
  kernel.inv_sqrt_diag = grams.exact_scale.data();
  kernel.workspace = workspace.data();
  kernel.blocks = 1;
  cuda::emulation::run_grid(kernel, 1, 1, 0);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i] == 7.0F, i / 5 != 1);
}

}  // namespace
}  // namespace cofactor
