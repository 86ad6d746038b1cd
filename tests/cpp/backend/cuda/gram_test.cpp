#include "backend/cuda/kernels/gram.h"

#include "backend/cuda/emulation/host_group.h"
#include "testing.h"

namespace cofactor::cuda {
namespace {

using testing::Wide;

class GramTest : public testing::RandomTest {};

TEST_F(GramTest, EveryRunIsSummedApart) {
  using Kernel = GramParts<float>;
  for (const int components : {1, 3, 16, 17, 33}) {
    for (const std::int64_t columns : {1, 63, 65, components == 3 ? 2049 : 64}) {
      const std::int64_t stride = columns + 3;
      std::vector<float> h;
      for (std::int64_t i = 0; i < components * stride; ++i) {
        h.push_back(static_cast<float>(random.uniform(-1, 1)));
      }
      const std::int64_t runs = divide_up(columns, std::int64_t{Kernel::kRun});
      const std::int64_t size = std::int64_t{components} * components;
      std::vector<double> parts(static_cast<std::size_t>(runs * size + 1), -7);
      const Kernel kernel{h.data(), stride, components, columns, parts.data()};
      emulation::run_grid(kernel, Kernel::tiles(components), runs,
                          static_cast<std::size_t>(Kernel::shared_bytes()));
      testing::Comparison comparison;
      for (std::int64_t run = 0; run < runs; ++run) {
        const std::int64_t last = std::min(columns, (run + 1) * Kernel::kRun);
        for (std::int64_t at = 0; at < size; ++at) {
          Wide sum = 0, magnitude = 0;
          for (std::int64_t j = run * Kernel::kRun; j < last; ++j) {
            const Wide term = Wide{h[static_cast<std::size_t>(at / components * stride + j)]} *
                              h[static_cast<std::size_t>(at % components * stride + j)];
            sum += term;
            magnitude += std::abs(term);
          }
          comparison.check(parts[static_cast<std::size_t>(run * size + at)], sum,
                           testing::gamma<double>(Kernel::kRun) * magnitude, components, columns,
                           run, at);
        }
      }
      EXPECT_TRUE(comparison.result());
      EXPECT_EQ(parts.back(), -7);
    }
  }
}

}  // namespace
}  // namespace cofactor::cuda
