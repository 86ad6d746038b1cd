#include "backend/cuda/kernels/parts.h"

#include "backend/cuda/emulation/host_group.h"
#include "testing.h"

namespace cofactor {
namespace {

TEST(CudaPartsTest, AreAddedInOrder) {
  for (const std::int64_t size : {1, 255, 256, 257}) {
    std::vector<float> parts, to(static_cast<std::size_t>(size), -1.0F);
    // In another order the 1 would be lost.
    for (const float part : {0x1p24F, -0x1p24F, 1.0F}) {
      for (std::int64_t i = 0; i < size; ++i) parts.push_back(part + static_cast<float>(i % 2) * 2);
    }
    for (int count = 1; count <= 3; ++count) {
      const cuda::AddParts<float> kernel{{parts.data(), count, size}, size, to.data()};
      cuda::emulation::run_grid(kernel, cuda::divide_up(size, kernel.kThreads), 1, 0);
      for (std::size_t i = 0; i < to.size(); ++i) {
        float sum = 0;
        for (int part = 0; part < count; ++part) {
          sum += parts[static_cast<std::size_t>(part * size) + i];
        }
        EXPECT_EQ(to[i], sum);
      }
    }
  }
}

}  // namespace
}  // namespace cofactor
