// The small factor in parts of 16 bits.

#include "backend/cuda/kernel_tests.h"

namespace cofactor::cuda {
namespace {

template <class E>
class PackFactorTest : public testing::RandomTest {};
using Elements = ::testing::Types<Float16, BFloat16>;
TYPED_TEST_SUITE(PackFactorTest, Elements);

/// Sum of the parts of a number, where the layout says that it lies.
template <class E>
Wide unpack(const Packed<E>& packed, int component, std::int64_t index, bool bytes) {
  const auto in_group = static_cast<int>(index % kGroupIndices);
  // The layout as packed_factor.h describes it.
  const int half = in_group / 32, in_half = in_group % 32;
  const int t = bytes ? in_half % 16 / 4 : in_half % 8 / 2;
  const int quarter[] = {0, 2, 1, 3};
  const int e = bytes ? in_half / 16 * 4 + quarter[in_half % 4] : in_half / 8 * 2 + in_half % 2;
  const int lane = component % kTileComponents * 4 + t;
  Wide sum = 0;
  for (int part = 0; part < packed.parts_; ++part) {
    const std::int64_t tile = index / kGroupIndices * packed.tiles + component / kTileComponents;
    const std::int64_t unit = (tile * 2 + half) * packed.parts_ + part;
    const std::uint32_t word = packed.words.data()[unit * kWarpSize + lane].x[e / 2];
    sum += to_float(E{static_cast<std::uint16_t>((word >> (16 * (e % 2))) & 0xffffU)});
  }
  return sum;
}

TYPED_TEST(PackFactorTest, PartsAddUpToTheFactor) {
  for (const bool bytes : {false, true}) {
    for (int parts = 1; parts <= kFullParts<TypeParam>; ++parts) {
      for (const auto& [k, n] : std::vector<std::pair<int, std::int64_t>>{
               {1, 1}, {3, 63}, {8, 64}, {9, 65}, {20, 511}, {65, 513}, {129, 130}}) {
        FactorNumbers<float> factor(this->random, k, n, this->random.integer(0, 3), false);
        spread(this->random, factor, k, n);
        const TensorPlan plan = plan_tensor(k, parts, kMostShared);
        const std::int64_t run = 256;
        const Packed<TypeParam> packed(factor, k, n, run, parts, bytes, plan);
        Comparison comparison;
        for (int r = 0; r < plan.tiles * kTileComponents; ++r) {
          for (std::int64_t j = 0; j < round_up(n, std::int64_t{kGroupIndices}); ++j) {
            const Wide value = r < k && j < n ? factor(r, j) : 0.0F;
            const double scale = packed.scale(j / run, r);
            const Wide bound =
                std::pow(Wide{kHalfUnit<TypeParam>}, parts) * std::abs(value) + 0x1p-25 * scale;
            comparison.check(scale * unpack(packed, r, j, bytes), value, value == 0 ? 0 : bound,
                             "component", r, "index", j);
          }
        }
        EXPECT_TRUE(comparison.result()) << k << " x " << n << ", parts " << parts;
      }
    }
  }
}

TYPED_TEST(PackFactorTest, ScalesArePowersOfTwoThatSuitTheLargest) {
  for (const float largest :
       {0.0F, 0x1p-149F, 0x1p-126F, 0x1.8p-120F, 1.0F, 1.5F, 65504.0F, 0x1.fffffep127F}) {
    FactorNumbers<float> factor(this->random, 1, 64, 0, false);
    std::fill(factor.values.begin(), factor.values.end(), -largest);
    const TensorPlan plan = plan_tensor(1, 1, kMostShared);
    const Packed<TypeParam> packed(factor, 1, 64, 64, 1, false, plan);
    const double scale = packed.scale(0, 0);
    int exponent = 0;
    EXPECT_EQ(std::frexp(scale, &exponent), 0.5);
    EXPECT_LT(static_cast<double>(largest) / scale, 0x1p15);
    if (largest >= 0x1p-112F) {
      EXPECT_GE(static_cast<double>(largest) / scale, 0x1p14);
    }
    const double value = scale * static_cast<double>(unpack(packed, 0, 5, false));
    EXPECT_LE(std::abs(value + static_cast<double>(largest)),
              kHalfUnit<TypeParam> * static_cast<double>(largest) + 0x1p-25 * scale);
  }
}

TYPED_TEST(PackFactorTest, ReadsEitherOrderOfAxes) {
  const int k = 13;
  const std::int64_t n = 100;
  FactorNumbers<float> factor(this->random, k, n, 2, false);
  const TensorPlan plan = plan_tensor(k, 2, kMostShared);
  const Packed<TypeParam> packed(factor, k, n, 64, 2, false, plan);

  std::vector<float> transposed(static_cast<std::size_t>(n * k));
  for (int r = 0; r < k; ++r) {
    for (std::int64_t j = 0; j < n; ++j)
      transposed[static_cast<std::size_t>(j * k + r)] = factor(r, j);
  }
  Packed<TypeParam> again = packed;
  PackFactor<TypeParam> kernel;
  kernel.from = transposed.data();
  kernel.component_stride = 1;
  kernel.index_stride = k;
  kernel.components = k;
  kernel.indices = n;
  kernel.run = 64;
  kernel.parts = 2;
  kernel.packed = again.words.data();
  kernel.scales = again.scales.data();
  std::memset(static_cast<void*>(again.words.data()), 0x7f, again.words.size() * sizeof(Words4));
  launch_pack(plan, kernel, Emulate{});
  EXPECT_EQ(
      std::memcmp(again.words.data(), packed.words.data(), packed.words.size() * sizeof(Words4)),
      0);
}

TEST(TensorPlanTest, CoversEveryRankWithoutMuchPadding) {
  for (const int limit : {kLeastShared, 163 * 1024, kMostShared}) {
    for (int parts = 1; parts <= kMostParts; ++parts) {
      for (int k = 1; k <= 512; ++k) {
        const TensorPlan plan = plan_tensor(k, parts, limit);
        const int needed = divide_up(k, kTileComponents);
        EXPECT_GE(plan.tiles, needed);
        // A third at most beyond a few tiles, and none at the ranks that are asked for most.
        EXPECT_LE(plan.tiles, needed + needed / 3 + 1) << k;
        if (k == 20 || k == 64 || k == 128) {
          EXPECT_EQ(plan.tiles, needed);
        }
        with_shape(plan, [&](auto shape) {
          EXPECT_EQ(decltype(shape)::kTiles * plan.groups, plan.tiles) << k;
          TensorProduct<decltype(shape), Float16> product;
          product.parts = parts;
          product.stages = 2;
          EXPECT_LE(product.shared_bytes(), limit) << k << ", parts " << parts;
        });
      }
    }
  }
}

}  // namespace
}  // namespace cofactor::cuda
