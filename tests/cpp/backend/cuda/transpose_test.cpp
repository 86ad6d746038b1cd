#include "backend/cuda/kernels/transpose.h"

#include "backend/cuda/emulation/host_group.h"
#include "testing.h"

namespace cofactor {
namespace {

TEST(CudaTransposeTest, MovesAndConvertsEveryNumber) {
  using Kernel = cuda::Transpose<double, float>;
  for (const std::int64_t rows : {1, 31, 32, 33, 70}) {
    for (const std::int64_t columns : {1, 20, 32, 65}) {
      const std::int64_t ld_from = columns + 3, ld_to = rows + 5;
      std::vector<double> from(static_cast<std::size_t>(rows * ld_from));
      for (std::size_t i = 0; i < from.size(); ++i) from[i] = 0.1 * static_cast<double>(i);
      std::vector<float> to(static_cast<std::size_t>(columns * ld_to), -1.0F);
      const Kernel kernel{rows, columns, from.data(), ld_from, to.data(), ld_to};
      cuda::emulation::run_grid(kernel, cuda::divide_up(columns, Kernel::kTile),
                                cuda::divide_up(rows, Kernel::kTile), Kernel::kSharedBytes);
      for (std::int64_t j = 0; j < columns; ++j) {
        for (std::int64_t i = 0; i < ld_to; ++i) {
          const double expected = i < rows ? from[static_cast<std::size_t>(i * ld_from + j)] : -1.0;
          ASSERT_EQ(to[static_cast<std::size_t>(j * ld_to + i)], static_cast<float>(expected));
        }
      }
    }
  }
}

}  // namespace
}  // namespace cofactor
