#include "backend/cpu/tiling.h"
#include "testing.h"

namespace cofactor {
namespace {

using testing::Wide;

/// Rows of x and h as the backend packs them: zeros to a whole number of vectors. What lies beyond
/// is NaN, so that a kernel that reads it shows.
template <class T>
struct Operands {
  Operands(testing::Random& random, int rows_, int k_, std::int64_t columns)
      : rows(rows_),
        k(k_),
        n(cpu::round_up(columns, cpu::kColumnAlign)),
        ldx(n + 16 * random.integer(0, 2)),
        ldh(n + 16 * random.integer(0, 2)),
        x(static_cast<std::size_t>(rows * ldx)),
        h(static_cast<std::size_t>(k * ldh)) {
    const auto fill = [&](AlignedBuffer<T>& to, std::int64_t ld) {
      for (std::size_t at = 0; at < to.size(); ++at) {
        const auto j = static_cast<std::int64_t>(at) % ld;
        to[at] = std::numeric_limits<T>::quiet_NaN();
        if (j < n) to[at] = j < columns ? static_cast<T>(random.uniform(-1, 1)) : T{0};
      }
    };
    fill(x, ldx);
    fill(h, ldh);
  }

  int rows, k;
  std::int64_t n, ldx, ldh;
  AlignedBuffer<T> x, h;
};

class ProjectTest : public testing::KernelTest {
 protected:
  /// acc is cut into calls on whole numbers of kColumnAlign columns, as chunks of a row are.
  template <class T>
  static AlignedBuffer<T> lane_sums(const Operands<T>& in, const std::vector<std::int64_t>& cuts) {
    AlignedBuffer<T> acc(static_cast<std::size_t>(in.rows * in.k * table<T>().lanes));
    for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
      table<T>().project(testing::stored(in.x.data() + cuts[c], in.ldx), in.rows,
                         in.h.data() + cuts[c], in.ldh, in.k, cuts[c + 1] - cuts[c], acc.data(),
                         nullptr);
    }
    return acc;
  }

  std::vector<std::int64_t> random_cuts(std::int64_t n) {
    std::vector<std::int64_t> cuts{0};
    while (cuts.back() < n) {
      cuts.push_back(std::min(n, cuts.back() + cpu::kColumnAlign * random.integer(1, 9)));
    }
    return cuts;
  }
};

TEST_P(ProjectTest, MatchesTheDotProduct) {
  typed([&](auto zero) {
    using T = decltype(zero);
    const int lanes = table<T>().lanes;
    for (const int k : testing::kRanks) {
      for (const std::int64_t columns : testing::kColumns) {
        const int rows = static_cast<int>(random.integer(1, 33));
        const Operands<T> in(random, rows, k, columns);
        const AlignedBuffer<T> acc = lane_sums(in, random_cuts(in.n));
        const std::int64_t ldb = rows + random.integer(0, 5);
        constexpr T kUntouched = 123;
        std::vector<T> b(static_cast<std::size_t>(k * ldb), kUntouched);
        table<T>().project_sum(acc.data(), rows, k, b.data(), ldb);
        // n / lanes multiply-adds a lane, then the lanes.
        const Wide gamma = testing::gamma<T>(in.n / lanes + lanes);
        testing::Comparison comparison;
        for (int r = 0; r < k; ++r) {
          for (int i = 0; i < ldb; ++i) {
            const T actual = b[static_cast<std::size_t>(r * ldb + i)];
            if (i >= rows) {
              comparison.check(actual, kUntouched, 0, "untouched", r, i);
              continue;
            }
            Wide sum = 0, magnitude = 0;
            for (std::int64_t j = 0; j < columns; ++j) {
              const Wide term = Wide{in.x.data()[i * in.ldx + j]} * in.h.data()[r * in.ldh + j];
              sum += term;
              magnitude += std::abs(term);
            }
            comparison.check(actual, sum, gamma * magnitude, "row", i, "component", r);
          }
        }
        ASSERT_TRUE(comparison.result()) << rows << " x " << columns << ", k = " << k;
      }
    }
  });
}

TEST_P(ProjectTest, EveryNumberOfRows) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (int rows = 1; rows <= 33; ++rows) {
      // One column a lane: small whole numbers make the result exact.
      const int k = static_cast<int>(random.integer(1, 33));
      Operands<T> in(random, rows, k, 16);
      for (T& value : std::span(in.x.data(), in.x.size()))
        value = static_cast<T>(random.integer(0, 9));
      for (T& value : std::span(in.h.data(), in.h.size()))
        value = static_cast<T>(random.integer(0, 9));
      std::vector<T> b(static_cast<std::size_t>(k * rows));
      table<T>().project_sum(lane_sums(in, {0, in.n}).data(), rows, k, b.data(), rows);
      for (int i = 0; i < rows; ++i) {
        for (int r = 0; r < k; ++r) {
          T sum = 0;
          for (std::int64_t j = 0; j < 16; ++j) {
            sum += in.x.data()[i * in.ldx + j] * in.h.data()[r * in.ldh + j];
          }
          ASSERT_EQ(b[static_cast<std::size_t>(r * rows + i)], sum) << i << ' ' << r;
        }
      }
    }
  });
}

TEST_P(ProjectTest, BitsDependNeitherOnTilesNorOnChunks) {
  typed([&](auto zero) {
    using T = decltype(zero);
    const int lanes = table<T>().lanes;
    for (const int k : testing::kRanks) {
      for (const std::int64_t columns : {1, 16, 33, 65, 255, 257}) {
        const Operands<T> in(random, static_cast<int>(random.integer(1, 33)), k, columns);
        const AlignedBuffer<T> whole = lane_sums(in, {0, in.n});
        const AlignedBuffer<T> cut = lane_sums(in, random_cuts(in.n));
        ASSERT_EQ(std::memcmp(whole.data(), cut.data(), whole.size() * sizeof(T)), 0)
            << columns << " columns, k = " << k;
        for (int i = 0; i < in.rows; ++i) {
          for (int r = 0; r < k; ++r) {
            AlignedBuffer<T> one(static_cast<std::size_t>(lanes));
            table<T>().project(testing::stored(in.x.data() + i * in.ldx, in.ldx), 1,
                               in.h.data() + r * in.ldh, in.ldh, 1, in.n, one.data(), nullptr);
            ASSERT_EQ(std::memcmp(one.data(), whole.data() + (i * k + r) * lanes,
                                  static_cast<std::size_t>(lanes) * sizeof(T)),
                      0)
                << "row " << i << ", component " << r << ", k = " << k;
          }
        }
      }
    }
  });
}

TEST_P(ProjectTest, ConvertedRowsGiveTheSameBits) {
  typed([&](auto zero) {
    using T = decltype(zero);
    AlignedBuffer<T> packed(static_cast<std::size_t>(cpu::kPackedSize));
    for (const int k : testing::kRanks) {
      for (const std::int64_t columns : {1, 15, 16, 17, 65, 255, 257, 512}) {
        const Operands<T> in(random, static_cast<int>(random.integer(1, 33)), k, columns);
        const AlignedBuffer<T> whole = lane_sums(in, {0, in.n});
        AlignedBuffer<T> converted(whole.size());
        table<T>().project(testing::stored(in.x.data(), in.ldx, testing::copying(table<T>())),
                           in.rows, in.h.data(), in.ldh, k, columns, converted.data(),
                           packed.data());
        ASSERT_EQ(std::memcmp(whole.data(), converted.data(), whole.size() * sizeof(T)), 0)
            << columns << " columns, k = " << k;
      }
    }
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(ProjectTest);

}  // namespace
}  // namespace cofactor
