// The second product: every entry of S takes the rows in order.

#include "backend/cpu/products.h"
#include "backend/cpu/tiling.h"

namespace cofactor {
namespace {

using testing::FactorNumbers;
using testing::ProductSize;
using testing::StoredNumbers;
using testing::Wide;

template <class T>
struct Operands {
  Operands(testing::Random& random, DType dtype, const ProductSize& size, bool rounded)
      : rows(static_cast<int>(size.rows)),
        k(size.k),
        columns(size.columns),
        padded(cpu::round_up(columns, cpu::kColumnAlign)),
        lds(padded + cpu::kColumnAlign * random.integer(0, 2)),
        x(random, dtype, rows, columns),
        w(random, k, rows, random.integer(0, 3), rounded),
        start(static_cast<std::size_t>((k - 1) * lds + padded)) {
    for (T& value : start) value = static_cast<T>(random.uniform(-1, 1));
  }
  [[nodiscard]] AlignedBuffer<T> new_sums() const {
    AlignedBuffer<T> s(start.size());
    std::copy(start.begin(), start.end(), s.data());
    return s;
  }
  /// Whether all sums of the columns that count have the same bits.
  [[nodiscard]] bool same(const AlignedBuffer<T>& a, const AlignedBuffer<T>& b) const {
    for (int r = 0; r < k; ++r) {
      if (std::memcmp(a.data() + r * lds, b.data() + r * lds,
                      static_cast<std::size_t>(columns) * sizeof(T)) != 0) {
        return false;
      }
    }
    return true;
  }

  int rows, k;
  std::int64_t columns, padded, lds;
  StoredNumbers x;
  FactorNumbers<T> w;
  std::vector<T> start;
};

class AccumulateTest : public testing::ProductTest {
 protected:
  /// Rows [i0, i1) of all components and columns.
  template <class T>
  static void sum_rows(const cpu::Products<T>& products, DType dtype, const Operands<T>& in,
                       std::int64_t i0, std::int64_t i1, AlignedBuffer<T>& s) {
    products.accumulate[static_cast<int>(dtype)](in.x.from(i0), static_cast<int>(i1 - i0),
                                                 in.w.from(0, i0), in.w.ld, in.k, in.columns,
                                                 s.data(), in.lds, scratch(in.k).data());
  }
  template <class T>
  static AlignedBuffer<T> sum(const cpu::Products<T>& products, DType dtype,
                              const Operands<T>& in) {
    AlignedBuffer<T> s = in.new_sums();
    sum_rows(products, dtype, in, 0, in.rows, s);
    return s;
  }
};

TEST_P(AccumulateTest, AddsTheSumAndTouchesNothingBeyond) {
  each([&](auto zero, const auto& products, bool rounded, DType dtype) {
    using T = decltype(zero);
    for (const ProductSize& size : testing::product_sizes(random)) {
      const Operands<T> in(random, dtype, size, rounded);
      const AlignedBuffer<T> s = sum(products, dtype, in);
      const testing::Matrix x = in.x.template operands<T>(rounded);
      // One multiply-add a row; the scalar level rounds the product apart.
      const Wide gamma = testing::gamma<T>(in.rows + 1);
      testing::Comparison comparison;
      std::vector<testing::Precise<T>> sums, magnitudes;
      for (int r = 0; r < in.k; ++r) {
        const T* const start = in.start.data() + r * in.lds;
        sums.assign(start, start + in.columns);
        magnitudes.assign(sums.size(), 0);
        for (std::size_t j = 0; j < sums.size(); ++j) magnitudes[j] = std::abs(sums[j]);
        for (int i = 0; i < in.rows; ++i) {
          const testing::Precise<T> weight = in.w(r, i);
          for (std::size_t j = 0; j < sums.size(); ++j) {
            const auto term = weight * x(i, static_cast<std::int64_t>(j));
            sums[j] += term;
            magnitudes[j] += std::abs(term);
          }
        }
        for (std::size_t j = 0; j < sums.size(); ++j) {
          comparison.check(s.data()[r * in.lds + static_cast<std::int64_t>(j)], sums[j],
                           gamma * magnitudes[j], "component", r, "column", j);
        }
        for (std::int64_t j = in.padded; j < in.lds && r + 1 < in.k; ++j) {
          comparison.check(s.data()[r * in.lds + j], start[j], 0, "untouched", r, j);
        }
      }
      ASSERT_TRUE(comparison.result()) << size;
    }
  });
}

TEST_P(AccumulateTest, NoRowsChangeNothing) {
  each([&](auto zero, const auto& products, bool rounded, DType dtype) {
    using T = decltype(zero);
    const Operands<T> in(random, dtype, {1, 5, 40}, rounded);
    AlignedBuffer<T> s = in.new_sums();
    sum_rows(products, dtype, in, 0, 0, s);
    EXPECT_EQ(std::memcmp(s.data(), in.start.data(), s.size() * sizeof(T)), 0);
  });
}

TEST_P(AccumulateTest, BitsDependNeitherOnPiecesNorOnTiles) {
  each([&](auto zero, const auto& products, bool rounded, DType dtype) {
    using T = decltype(zero);
    for (int repeat = 0; repeat < 6; ++repeat) {
      const ProductSize size = random.pick(testing::product_sizes(random));
      const Operands<T> in(random, dtype, size, rounded);
      const AlignedBuffer<T> whole = sum(products, dtype, in);

      AlignedBuffer<T> pieces = in.new_sums();
      for (std::int64_t i = 0; i < in.rows;) {
        const std::int64_t end = std::min<std::int64_t>(in.rows, i + random.integer(1, 9));
        sum_rows(products, dtype, in, i, end, pieces);
        i = end;
      }
      ASSERT_TRUE(in.same(pieces, whole)) << "rows in pieces, " << size;

      AlignedBuffer<T> single = in.new_sums();
      for (int r = 0; r < in.k; ++r) {
        for (std::int64_t j = 0; j < in.columns; j += cpu::kColumnAlign) {
          products.accumulate[static_cast<int>(dtype)](
              in.x.from(0, j), in.rows, in.w.from(r), in.w.ld, 1,
              std::min(cpu::kColumnAlign, in.columns - j), single.data() + r * in.lds + j, in.lds,
              scratch(1).data());
        }
      }
      ASSERT_TRUE(in.same(single, whole)) << "one component and vector at a time, " << size;
    }
  });
}

TEST_P(AccumulateTest, RoundedProductsHaveTheSameBitsAtEveryLevel) {
  // Products of two numbers of bfloat16 are exact in float32, so that fusing changes nothing.
  if (GetParam().float64) return;
  for (const DType dtype : testing::kDTypes) {
    for (int repeat = 0; repeat < 10; ++repeat) {
      const ProductSize size = random.pick(testing::product_sizes(random));
      const Operands<float> in(random, dtype, size, true);
      ASSERT_TRUE(in.same(sum(table<float>().rounded, dtype, in),
                          sum(cpu::kernels<float>(Level::kScalar).rounded, dtype, in)))
          << size << ", dtype " << static_cast<int>(dtype);
    }
  }
}

COFACTOR_INSTANTIATE_KERNEL_TEST(AccumulateTest);

}  // namespace
}  // namespace cofactor
