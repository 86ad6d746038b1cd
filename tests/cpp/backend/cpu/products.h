#pragma once

// What the tests of the two products share: stored rows with nothing readable around them, factors,
// and the sizes to sample.

#include <span>
#include <string>
#include <vector>

#include "reference.h"

namespace cofactor::testing {

inline const std::vector<DType> kDTypes{DType::kUInt8, DType::kFloat16, DType::kBFloat16,
                                        DType::kFloat32, DType::kFloat64};

/// Stored rows whose memory ends with the last number and holds NaN (255 for uint8) before the
/// first and between the rows, so that a kernel that reads those shows.
class StoredNumbers {
 public:
  StoredNumbers(Random& random, DType type, std::int64_t rows, std::int64_t columns)
      : dtype_(type),
        stride_(columns + random.pick(std::vector<std::int64_t>{0, 1, 5, 64})),
        offset_(random.integer(0, 3)),
        values_(rows, columns),
        bytes_(static_cast<std::size_t>(offset_ + (rows - 1) * stride_ + columns) * size_of(type)) {
    const auto size = size_of(type);
    for (std::size_t at = 0; at < bytes_.size(); at += size) {
      write_number(bytes_.data() + at, type, std::numeric_limits<double>::quiet_NaN());
    }
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        const double number = type == DType::kUInt8 ? static_cast<double>(random.integer(0, 255))
                                                    : random.uniform(-1, 1);
        values_(i, j) =
            write_number(bytes_.data() + static_cast<std::size_t>(offset_ + i * stride_ + j) * size,
                         type, number);
      }
    }
  }
  [[nodiscard]] cpu::StoredRows from(std::int64_t row, std::int64_t column = 0) const {
    const auto size = static_cast<std::int64_t>(size_of(dtype_));
    const std::int64_t at = (offset_ + row * stride_ + column) * size;
    return {reinterpret_cast<const char*>(bytes_.data()) + at, stride_ * size};
  }
  /// The numbers as the products multiply them: in T, and rounded to bfloat16 if asked for.
  template <class T>
  [[nodiscard]] Matrix operands(bool rounded) const {
    Matrix result = values_;
    for (double& value : result.values) {
      const T number = static_cast<T>(value);
      value = rounded ? rounded_to_bf16(static_cast<float>(number)) : number;
    }
    return result;
  }

 private:
  DType dtype_;
  std::int64_t stride_, offset_;
  Matrix values_;
  std::vector<std::byte> bytes_;
};

/// Memory on a cache-line boundary with a pattern that is NaN in every format.
template <class T>
AlignedBuffer<T> buffer_of_nan(std::size_t size) {
  AlignedBuffer<T> result(size);
  std::memset(static_cast<void*>(result.data()), 0x7f, size * sizeof(T));
  if constexpr (sizeof(T) > 1) {
    std::fill_n(result.data(), size, std::numeric_limits<T>::quiet_NaN());
  }
  return result;
}

/// k x n numbers of a factor at stride `ld`, rounded to bfloat16 if asked for; NaN between.
template <class T>
struct FactorNumbers {
  FactorNumbers(Random& random, int k, std::int64_t n, std::int64_t gap, bool rounded)
      : ld(n + gap),
        values(static_cast<std::size_t>((k - 1) * ld + n), std::numeric_limits<T>::quiet_NaN()) {
    for (int r = 0; r < k; ++r) {
      for (std::int64_t j = 0; j < n; ++j) {
        const T number = static_cast<T>(random.uniform(-1, 1));
        values[static_cast<std::size_t>(r * ld + j)] =
            rounded ? static_cast<T>(rounded_to_bf16(static_cast<float>(number))) : number;
      }
    }
  }
  [[nodiscard]] T operator()(std::int64_t r, std::int64_t j) const {
    return values[static_cast<std::size_t>(r * ld + j)];
  }
  [[nodiscard]] const T* from(std::int64_t r, std::int64_t j = 0) const {
    return values.data() + r * ld + j;
  }

  std::int64_t ld;
  std::vector<T> values;
};

/// For the references of products in T: far more bits than T has, and float64 where that is enough.
template <class T>
using Precise = std::conditional_t<sizeof(T) == 4, double, Wide>;

struct ProductSize {
  std::int64_t rows;
  int k;
  std::int64_t columns;
};

inline std::ostream& operator<<(std::ostream& to, const ProductSize& size) {
  return to << size.rows << " x " << size.columns << ", k = " << size.k;
}

/// Every awkward number of rows, components and columns at least once, with others drawn beside.
inline std::vector<ProductSize> product_sizes(Random& random) {
  static const std::vector<std::int64_t> kRows{1, 2, 5, 6, 7, 63, 64, 65, 97};
  static const std::vector<int> kComponents{1, 2, 3, 4, 5, 6, 7, 13, 20, 21, 50, 129};
  static const std::vector<std::int64_t> kWidths{1, 15, 16, 17, 31, 32, 33, 63, 65, 255, 511, 512};
  std::vector<ProductSize> result;
  for (std::size_t i = 0; i < kWidths.size(); ++i) {
    result.push_back({random.pick(kRows), kComponents[i], random.pick(kWidths)});
    result.push_back({random.pick(kRows), random.pick(kComponents), kWidths[i]});
    if (i < kRows.size())
      result.push_back({kRows[i], random.pick(kComponents), random.pick(kWidths)});
  }
  return result;
}

/// Base of the tests of the products. `each(body)` calls body(T{}, products, rounded, dtype) for
/// every way of multiplying that the target has and every stored dtype.
class ProductTest : public KernelTest {
 protected:
  template <class Body>
  static void each(const Body& body) {
    typed([&](auto zero) {
      using T = decltype(zero);
      for (const bool rounded : {false, true}) {
        if (rounded && sizeof(T) == 8) continue;
        for (const DType dtype : kDTypes) {
          SCOPED_TRACE(std::string(rounded ? "rounded" : "exact") + ", dtype " +
                       std::to_string(static_cast<int>(dtype)));
          body(zero, rounded ? table<T>().rounded : table<T>().exact, rounded, dtype);
        }
      }
    });
  }
  static AlignedBuffer<std::byte> scratch(int k) {
    return buffer_of_nan<std::byte>(static_cast<std::size_t>(cpu::product_scratch_bytes(k)));
  }
};

}  // namespace cofactor::testing
