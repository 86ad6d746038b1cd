// The emulation itself: it runs what is right and finds what is not.

#include "backend/cuda/emulation/host_group.h"

#include "testing.h"

namespace cofactor::cuda {
namespace {

using emulation::EmulationError;
using emulation::run_grid;

/// A kernel made of a callable that takes the block.
template <class Body>
struct Lambda {
  static constexpr int kThreads = 64;
  const Body& body;
  template <class Block>
  void operator()(Block& block) const {
    body(block);
  }
};

template <class Body>
void run(const Body& body, std::size_t shared_bytes = 1024) {
  run_grid(Lambda<Body>{body}, 1, 1, shared_bytes);
}

template <class Body>
std::string error_of(const Body& body) {
  try {
    run(body);
  } catch (const EmulationError& error) {
    return error.what();
  }
  return "no error";
}

/// Every thread writes its number and reads that of thread `thread ^ distance`.
template <class Sync>
std::string exchange(int distance, const Sync& sync_between) {
  return error_of([&](auto& block) {
    auto numbers = block.template shared<int>(64);
    block.each([&](int thread) { numbers[thread] = thread; });
    sync_between(block);
    block.each([&](int thread) {
      const int other = numbers[thread ^ distance];
      EXPECT_EQ(other, thread ^ distance);
    });
  });
}

TEST(HostGroupTest, FindsAMissingSync) {
  const auto with_sync = [](auto& block) { block.sync(); };
  const auto without = [](auto&) {};
  EXPECT_EQ(exchange(1, with_sync), "no error");
  EXPECT_EQ(exchange(0, without), "no error");
  EXPECT_NE(exchange(1, without).find("another thread writes"), std::string::npos);
}

TEST(HostGroupTest, FindsAWriteBeforeOthersHaveRead) {
  const auto overwrite = [](bool sync) {
    return error_of([sync](auto& block) {
      auto numbers = block.template shared<int>(64);
      block.each([&](int thread) { numbers[thread] = thread; });
      block.sync();
      block.each([&](int thread) { EXPECT_EQ(numbers[63 - thread], 63 - thread); });
      if (sync) block.sync();
      block.each([&](int thread) { numbers[thread] = 0; });
    });
  };
  EXPECT_EQ(overwrite(true), "no error");
  EXPECT_NE(overwrite(false).find("another thread reads"), std::string::npos);
}

TEST(HostGroupTest, ASyncOfAWarpOrdersItsOwnLanesOnly) {
  // In one phase of warps each lane writes, waits for its warp and reads from lane ^ distance.
  const auto exchange_in_warps = [](int distance, bool sync) {
    return error_of([=](auto& block) {
      auto numbers = block.template shared<int>(64);
      block.each_warp([&](auto& warp) {
        warp.each([&](int lane) { numbers[warp.thread(lane)] = warp.thread(lane); });
        if (sync) warp.sync();
        warp.each([&](int lane) {
          const int other = warp.thread(lane) ^ distance;
          EXPECT_EQ(numbers[other], other);
        });
      });
    });
  };
  EXPECT_EQ(exchange_in_warps(1, true), "no error");
  EXPECT_NE(exchange_in_warps(1, false).find("another thread writes"), std::string::npos);
  EXPECT_NE(exchange_in_warps(32, true), "no error");
}

TEST(HostGroupTest, FindsWhatLeavesAnArrayOrWasNeverWritten) {
  const auto touch = [](int write, int read) {
    return error_of([=](auto& block) {
      auto first = block.template shared<float>(5);
      auto second = block.template shared<float>(5);
      block.each([&](int thread) {
        if (thread != 0) return;
        second[0] = 1.0F;
        first[write] = 2.0F;
        EXPECT_EQ(first[read], 2.0F);
      });
    });
  };
  EXPECT_EQ(touch(4, 4), "no error");
  EXPECT_NE(touch(5, 4).find("from the start of a shared array of 20 bytes"), std::string::npos);
  EXPECT_NE(touch(-1, 4).find("from the start of a shared array of 20 bytes"), std::string::npos);
  EXPECT_NE(touch(3, 4).find("never written"), std::string::npos);
}

TEST(HostGroupTest, FindsTooMuchSharedMemoryAndMisalignedAccess) {
  EXPECT_NE(error_of([](auto& block) {
              block.template shared<float>(257);
            }).find("more shared memory than the 1024 bytes"),
            std::string::npos);
  EXPECT_NE(error_of([](auto& block) {
              auto words = block.template shared<std::uint32_t>(16);
              block.each([&](int thread) {
                if (thread == 0) store_vector(words + 2, Words4{});
              });
            }).find("not aligned to 16 bytes"),
            std::string::npos);
  const auto nothing = [](auto&) {};
  EXPECT_THROW(run(nothing, emulation::kMostSharedBytes + 1), EmulationError);
}

TEST(HostGroupTest, AThreadKeepsItsOwn) {
  EXPECT_NE(error_of([](auto& block) {
              typename std::remove_reference_t<decltype(block)>::template PerThread<int> kept;
              block.each([&](int thread) { kept[thread ^ 1] = 0; });
            }).find("reaches for what"),
            std::string::npos);
}

TEST(HostGroupTest, AsynchronousCopiesArriveAfterTheirWait) {
  alignas(16) const std::array<std::uint32_t, 8> from{1, 2, 3, 4, 5, 6, 7, 8};
  // Two batches of one copy each; the first is read, with the second still on its way.
  const auto copy = [&](bool commit, bool wait, bool sync) {
    return error_of([&, commit, wait, sync](auto& block) {
      auto to = block.template shared<std::uint32_t>(8);
      block.each([&](int thread) {
        if (thread == 0) block.template copy_async<16>(to, from.data(), 16);
      });
      if (commit) block.copy_commit();
      block.each([&](int thread) {
        if (thread == 0) block.template copy_async<16>(to + 4, from.data() + 4, 4);
      });
      block.copy_commit();
      if (wait) block.template copy_wait<1>();
      if (sync) block.sync();
      block.each([&](int thread) { EXPECT_EQ(to[thread % 4], from[thread % 4]); });
      block.template copy_wait<0>();
      block.sync();
      block.each([&](int thread) { EXPECT_EQ(to[4 + thread % 4], thread % 4 == 0 ? 5U : 0U); });
    });
  };
  EXPECT_EQ(copy(true, true, true), "no error");
  EXPECT_NE(copy(true, true, false).find("another thread writes"), std::string::npos);
  EXPECT_NE(copy(true, false, true).find("a copy may not have reached"), std::string::npos);
  EXPECT_NE(copy(false, true, true).find("a copy may not have reached"), std::string::npos);
  EXPECT_NE(error_of([&](auto& block) {
              auto to = block.template shared<std::uint32_t>(4);
              block.each([&](int thread) {
                if (thread == 0) block.template copy_async<4>(to, from.data(), 4);
              });
            }).find("that nobody awaits"),
            std::string::npos);
  EXPECT_NE(error_of([&](auto& block) {
              auto to = block.template shared<std::uint32_t>(4);
              block.each([&](int) { block.template copy_async<16>(to, from.data() + 1, 16); });
            }).find("does not suit"),
            std::string::npos);
}

TEST(HostGroupTest, LanesReduceVoteAndShuffle) {
  run([](auto& block) {
    using Warp = typename std::remove_reference_t<decltype(block)>::Warp;
    block.each_warp([&](Warp& warp) {
      typename Warp::template PerLane<float> x;
      typename Warp::template PerLane<bool> odd;
      warp.each([&](int lane) {
        x[lane] = static_cast<float>(lane);
        odd[lane] = lane % 2 == 1;
      });
      EXPECT_EQ(warp.sum(x), 496.0F);
      EXPECT_EQ(warp.max(x), 31.0F);
      EXPECT_EQ(warp.ballot(odd), 0xaaaaaaaaU);
      EXPECT_TRUE(warp.any(odd));
      EXPECT_EQ(warp.broadcast(x, 7), 7.0F);
      auto turned = warp.shuffle(x, [](int lane) { return 31 - lane; });
      warp.each([&](int lane) { EXPECT_EQ(turned[lane], static_cast<float>(31 - lane)); });
    });
  });
}

template <class E>
class MmaTest : public testing::RandomTest {};
using Elements = ::testing::Types<Float16, BFloat16>;
TYPED_TEST_SUITE(MmaTest, Elements);

TYPED_TEST(MmaTest, AgreesWithAPlainProduct) {
  // Small integers: every product and sum is exact.
  double a[16][16], b[16][8], c[16][8];
  for (auto& row : a) {
    for (double& x : row) x = static_cast<double>(this->random.integer(-8, 8));
  }
  for (auto& row : b) {
    for (double& x : row) x = static_cast<double>(this->random.integer(-8, 8));
  }
  for (auto& row : c) {
    for (double& x : row) x = static_cast<double>(this->random.integer(-8, 8));
  }
  const auto pair = [](double low, double high) {
    const auto bits = [](double x) {
      return std::uint32_t{from_float<TypeParam>(static_cast<float>(x)).bits};
    };
    return bits(low) | (bits(high) << 16);
  };
  run([&](auto& block) {
    using Warp = typename std::remove_reference_t<decltype(block)>::Warp;
    block.each_warp([&](Warp& warp) {
      typename Warp::template PerLane<FragmentC> sum;
      typename Warp::template PerLane<FragmentA> left;
      typename Warp::template PerLane<FragmentB> right;
      // The layout of the PTX manual, figures of "Matrix fragments for mma.m16n8k16", written out.
      warp.each([&](int lane) {
        const int g = lane / 4, t = 2 * (lane % 4);
        left[lane] = {pair(a[g][t], a[g][t + 1]), pair(a[g + 8][t], a[g + 8][t + 1]),
                      pair(a[g][t + 8], a[g][t + 9]), pair(a[g + 8][t + 8], a[g + 8][t + 9])};
        right[lane] = {pair(b[t][g], b[t + 1][g]), pair(b[t + 8][g], b[t + 9][g])};
        sum[lane] = {static_cast<float>(c[g][t]), static_cast<float>(c[g][t + 1]),
                     static_cast<float>(c[g + 8][t]), static_cast<float>(c[g + 8][t + 1])};
      });
      warp.template mma<TypeParam>([&](int lane) -> FragmentC& { return sum[lane]; },
                                   [&](int lane) { return left[lane]; },
                                   [&](int lane) { return right[lane]; });
      const auto expected = [&](int i, int j) {
        double result = c[i][j];
        for (int l = 0; l < 16; ++l) result += a[i][l] * b[l][j];
        return static_cast<float>(result);
      };
      warp.each([&](int lane) {
        const int g = lane / 4, t = 2 * (lane % 4);
        EXPECT_EQ(sum[lane].x[0], expected(g, t));
        EXPECT_EQ(sum[lane].x[1], expected(g, t + 1));
        EXPECT_EQ(sum[lane].x[2], expected(g + 8, t));
        EXPECT_EQ(sum[lane].x[3], expected(g + 8, t + 1));
      });
    });
  });
}

TEST(HostGroupTest, LoadsMatrices) {
  run([](auto& block) {
    using Warp = typename std::remove_reference_t<decltype(block)>::Warp;
    // Entry (i, j) of matrix m is 100 m + 10 i + j.
    auto numbers = block.template shared<std::uint16_t>(4 * 64);
    block.each([&](int thread) {
      for (int at = thread; at < 256; at += 64) {
        numbers[at] = static_cast<std::uint16_t>(100 * (at / 64) + 10 * (at / 8 % 8) + at % 8);
      }
    });
    block.sync();
    block.each_warp([&](Warp& warp) {
      typename Warp::template PerLane<FragmentA> plain, transposed;
      const auto row = [&](int lane) { return numbers + 8 * lane; };
      warp.load_matrices([&](int lane) -> FragmentA& { return plain[lane]; }, row);
      warp.load_matrices_transposed([&](int lane) -> FragmentA& { return transposed[lane]; }, row);
      warp.each([&](int lane) {
        const int g = lane / 4, t = lane % 4;
        for (int m = 0; m < 4; ++m) {
          const int first = 100 * m + 10 * g + 2 * t, turned = 100 * m + 10 * (2 * t) + g;
          EXPECT_EQ(plain[lane].x[m], static_cast<std::uint32_t>(first + ((first + 1) << 16)));
          EXPECT_EQ(transposed[lane].x[m],
                    static_cast<std::uint32_t>(turned + ((turned + 10) << 16)));
        }
      });
    });
  });
}

}  // namespace
}  // namespace cofactor::cuda
