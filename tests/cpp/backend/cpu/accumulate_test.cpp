#include "backend/cpu/tiling.h"
#include "testing.h"

namespace cofactor {
namespace {

using testing::Wide;

template <class T>
struct Operands {
  Operands(testing::Random& random, std::int64_t rows_, int k_, std::int64_t columns)
      : rows(rows_),
        k(k_),
        n(cpu::round_up(columns, cpu::kColumnAlign)),
        ldx(n + 16 * random.integer(0, 2)),
        ldw(rows + random.integer(0, 3)),
        lds(n + 16 * random.integer(0, 2)),
        x(static_cast<std::size_t>(rows * ldx)),
        s(static_cast<std::size_t>(k * lds)),
        w(static_cast<std::size_t>(k * ldw)) {
    for (std::size_t at = 0; at < x.size(); ++at) {
      const auto j = static_cast<std::int64_t>(at) % ldx;
      x[at] = j < columns ? static_cast<T>(random.uniform(-1, 1)) : T{0};
    }
    for (std::size_t at = 0; at < s.size(); ++at) s[at] = static_cast<T>(random.uniform(-1, 1));
    for (T& value : w) value = static_cast<T>(random.uniform(-1, 1));
  }

  std::int64_t rows;
  int k;
  std::int64_t n, ldx, ldw, lds;
  AlignedBuffer<T> x, s;
  std::vector<T> w;
};

template <class T>
AlignedBuffer<T> copy_of(const AlignedBuffer<T>& from) {
  AlignedBuffer<T> result(from.size());
  std::copy_n(from.data(), from.size(), result.data());
  return result;
}

class AccumulateTest : public testing::KernelTest {
 protected:
  /// All rows and components at once, in place.
  template <class T>
  static void sum(const Operands<T>& in, int k, std::int64_t n, AlignedBuffer<T>& s) {
    table<T>().accumulate(testing::stored(in.x.data(), in.ldx), static_cast<int>(in.rows),
                          in.w.data(), in.ldw, k, n, s.data(), in.lds, nullptr);
  }
};

TEST_P(AccumulateTest, MatchesTheSum) {
  typed([&](auto zero) {
    using T = decltype(zero);
    for (const int k : testing::kRanks) {
      for (const std::int64_t columns : testing::kColumns) {
        const Operands<T> in(random, random.integer(1, 33), k, columns);
        AlignedBuffer<T> s = copy_of(in.s);
        sum(in, k, in.n, s);
        // One multiply-add a row; the scalar level rounds the product apart.
        const Wide gamma = testing::gamma<T>(in.rows + 1);
        testing::Comparison comparison;
        for (int r = 0; r < k; ++r) {
          for (std::int64_t j = 0; j < in.lds; ++j) {
            const T start = in.s.data()[r * in.lds + j];
            const T actual = s.data()[r * in.lds + j];
            if (j >= in.n) {
              comparison.check(actual, start, 0, "untouched", r, j);
              continue;
            }
            Wide sum = start, magnitude = std::abs(start);
            for (std::int64_t i = 0; i < in.rows; ++i) {
              const Wide term = Wide{in.w[static_cast<std::size_t>(r * in.ldw + i)]} *
                                in.x.data()[i * in.ldx + j];
              sum += term;
              magnitude += std::abs(term);
            }
            comparison.check(actual, sum, gamma * magnitude, "component", r, "column", j);
          }
        }
        ASSERT_TRUE(comparison.result()) << in.rows << " x " << columns << ", k = " << k;
      }
    }
  });
}

TEST_P(AccumulateTest, NoRowsChangeNothing) {
  typed([&](auto zero) {
    using T = decltype(zero);
    const Operands<T> in(random, 1, 5, 40);
    AlignedBuffer<T> s = copy_of(in.s);
    table<T>().accumulate(testing::stored(in.x.data(), in.ldx), 0, in.w.data(), in.ldw, 5, in.n,
                          s.data(), in.lds, nullptr);
    EXPECT_EQ(std::memcmp(s.data(), in.s.data(), s.size() * sizeof(T)), 0);
  });
}

TEST_P(AccumulateTest, BitsDependNeitherOnPiecesNorOnTiles) {
  typed([&](auto zero) {
    using T = decltype(zero);
    const auto accumulate = [](const T* x, std::int64_t ldx, std::int64_t rows, const T* w,
                               std::int64_t ldw, int k, std::int64_t n, T* s, std::int64_t lds) {
      table<T>().accumulate(testing::stored(x, ldx), static_cast<int>(rows), w, ldw, k, n, s, lds,
                            nullptr);
    };
    for (const int k : testing::kRanks) {
      for (const std::int64_t columns : testing::kColumns) {
        const Operands<T> in(random, random.integer(1, 64), k, columns);
        AlignedBuffer<T> whole = copy_of(in.s);
        sum(in, k, in.n, whole);

        AlignedBuffer<T> pieces = copy_of(in.s);
        for (std::int64_t i = 0; i < in.rows;) {
          const std::int64_t count = std::min(in.rows - i, random.integer(1, 9));
          accumulate(in.x.data() + i * in.ldx, in.ldx, count, in.w.data() + i, in.ldw, k, in.n,
                     pieces.data(), in.lds);
          i += count;
        }
        ASSERT_EQ(std::memcmp(pieces.data(), whole.data(), whole.size() * sizeof(T)), 0)
            << in.rows << " rows in pieces, k = " << k << ", " << columns << " columns";

        AlignedBuffer<T> single = copy_of(in.s);
        for (int r = 0; r < k; ++r) {
          for (std::int64_t j = 0; j < in.n; j += cpu::kColumnAlign) {
            accumulate(in.x.data() + j, in.ldx, in.rows, in.w.data() + r * in.ldw, in.ldw, 1,
                       cpu::kColumnAlign, single.data() + r * in.lds + j, in.lds);
          }
        }
        ASSERT_EQ(std::memcmp(single.data(), whole.data(), whole.size() * sizeof(T)), 0)
            << "one component and vector at a time, k = " << k << ", " << columns << " columns";
      }
    }
  });
}

TEST_P(AccumulateTest, ConvertedRowsGiveTheSameBits) {
  typed([&](auto zero) {
    using T = decltype(zero);
    AlignedBuffer<T> packed(static_cast<std::size_t>(cpu::kPackedSize));
    for (const int k : testing::kRanks) {
      for (const std::int64_t columns : {1, 15, 16, 17, 63, 64, 65, 255, 256}) {
        const Operands<T> in(random, random.integer(1, cpu::kAccumulateRows), k, columns);
        AlignedBuffer<T> whole = copy_of(in.s);
        sum(in, k, in.n, whole);
        AlignedBuffer<T> converted = copy_of(in.s);
        table<T>().accumulate(testing::stored(in.x.data(), in.ldx, testing::copying(table<T>())),
                              static_cast<int>(in.rows), in.w.data(), in.ldw, k, columns,
                              converted.data(), in.lds, packed.data());
        ASSERT_EQ(std::memcmp(converted.data(), whole.data(), whole.size() * sizeof(T)), 0)
            << in.rows << " rows, k = " << k << ", " << columns << " columns";
      }
    }
  });
}

COFACTOR_INSTANTIATE_KERNEL_TEST(AccumulateTest);

}  // namespace
}  // namespace cofactor
