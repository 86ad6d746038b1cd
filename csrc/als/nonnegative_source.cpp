#include "als/nonnegative_source.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "core/error.h"

namespace cofactor {
namespace {

constexpr std::int64_t kBytesAtOnce = std::int64_t{8} << 20;
constexpr std::int64_t kPanelRows = 512;
constexpr std::uint32_t kPatterns = 1U << 16;

float float_from_bits(std::uint32_t bits) {
  float value = 0.0F;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float float_from_half(std::uint32_t half) {
  const int exponent = static_cast<int>(half >> 10 & 0x1fU);
  const auto mantissa = static_cast<float>(half & 0x3ffU);
  float value = 0.0F;
  if (exponent == 31) {
    value = mantissa == 0.0F ? std::numeric_limits<float>::infinity()
                             : std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(mantissa, -24);
  } else {
    value = std::ldexp(mantissa + 1024.0F, exponent - 25);
  }
  return (half & 0x8000U) != 0 ? -value : value;
}

/// Bit patterns of 16-bit floats, whose infinity has the pattern `kInfinity`. Compiled to integer
/// operations on many at once: there is no arithmetic on these dtypes to be had everywhere.
template <std::uint16_t kInfinity>
struct Bits16 {
  using Number = std::uint16_t;
  static Number positive(Number x) {
    const bool negative = x >= 0x8000U && x <= (0x8000U | kInfinity);
    return negative ? Number{0} : x;
  }
  static Number negated(Number x) {
    const auto magnitude = static_cast<Number>(x & 0x7fffU);
    return x >= 0x8000U || magnitude > kInfinity ? magnitude : Number{0};
  }
};
using Half = Bits16<0x7c00>;
using BFloat = Bits16<0x7f80>;

template <class T>
struct Plain {
  using Number = T;
  static T positive(T x) { return x < T{0} ? T{0} : x; }
  // Written so that NaN stays.
  static T negated(T x) { return x >= T{0} ? T{0} : -x; }
};

template <class Kind>
void relu(const MatrixView& view, void* out) {
  using Number = typename Kind::Number;
  auto* to = static_cast<Number*>(out);
  for (std::int64_t i = 0; i < view.rows; ++i, to += view.columns) {
    const auto* from = static_cast<const Number*>(view.row(i));
    for (std::int64_t j = 0; j < view.columns; ++j) to[j] = Kind::positive(from[j]);
  }
}

template <class Kind>
void split(const MatrixView& view, void* out) {
  using Number = typename Kind::Number;
  auto* to = static_cast<Number*>(out);
  for (std::int64_t i = 0; i < view.rows; ++i, to += 2 * view.columns) {
    const auto* from = static_cast<const Number*>(view.row(i));
    for (std::int64_t j = 0; j < view.columns; ++j) to[j] = Kind::positive(from[j]);
    for (std::int64_t j = 0; j < view.columns; ++j) {
      to[view.columns + j] = Kind::negated(from[j]);
    }
  }
}

template <class T>
void shift(const MatrixView& view, T offset, void* out) {
  auto* to = static_cast<T*>(out);
  for (std::int64_t i = 0; i < view.rows; ++i, to += view.columns) {
    const auto* from = static_cast<const T*>(view.row(i));
    for (std::int64_t j = 0; j < view.columns; ++j) to[j] = from[j] - offset;
  }
}

void look_up(const MatrixView& view, const std::vector<float>& table, void* out) {
  auto* to = static_cast<float*>(out);
  for (std::int64_t i = 0; i < view.rows; ++i, to += view.columns) {
    const auto* from = static_cast<const std::uint16_t*>(view.row(i));
    for (std::int64_t j = 0; j < view.columns; ++j) to[j] = table[from[j]];
  }
}

std::vector<float> shift_table(DType dtype, float offset) {
  std::vector<float> table(kPatterns);
  for (std::uint32_t bits = 0; bits < kPatterns; ++bits) {
    const float value =
        dtype == DType::kFloat16 ? float_from_half(bits) : float_from_bits(bits << 16);
    table[bits] = value - offset;
  }
  return table;
}

}  // namespace

Negative parse_negative(std::string_view name) {
  if (name == "keep") return Negative::kKeep;
  if (name == "relu") return Negative::kRelu;
  if (name == "shift") return Negative::kShift;
  if (name == "split") return Negative::kSplit;
  throw Error(ErrorKind::kValue,
              "negative is " + std::string(name) + "; expected keep, relu, shift or split");
}

DType dtype_after(const NegativeRule& rule, DType dtype) noexcept {
  if (rule.what != Negative::kShift || dtype == DType::kFloat64) return dtype;
  return DType::kFloat32;
}

std::int64_t columns_after(const NegativeRule& rule, std::int64_t columns) noexcept {
  return rule.what == Negative::kSplit ? 2 * columns : columns;
}

NonnegativeSource::NonnegativeSource(std::unique_ptr<BlockSource> source,
                                     std::vector<NegativeRule> rules)
    : source_(std::move(source)),
      rules_(std::move(rules)),
      memory_(rules_.size()),
      shifted_(rules_.size()) {}

void NonnegativeSource::rewind(std::int64_t first_row) {
  source_->rewind(first_row);
  inner_ = Block{};
  done_ = 0;
}

bool NonnegativeSource::next(Block& block) {
  if (done_ == inner_.rows) {
    done_ = 0;
    if (!source_->next(inner_)) {
      inner_.rows = 0;
      return false;
    }
    if (inner_.views.size() != rules_.size()) {
      throw Error(ErrorKind::kValue, "a source of " + std::to_string(inner_.views.size()) +
                                         " views has " + std::to_string(rules_.size()) +
                                         " rules; expected one a view");
    }
  }
  const std::int64_t first = inner_.first_row + done_;
  // Whole panels, counted from row 0, are what a pass works on.
  const std::int64_t end = (first + rows_at_once()) / kPanelRows * kPanelRows;
  const std::int64_t rows = std::min(inner_.rows - done_, std::max<std::int64_t>(end - first, 1));
  block.first_row = first;
  block.rows = rows;
  block.views.clear();
  for (std::size_t v = 0; v < rules_.size(); ++v) {
    block.views.push_back(apply(v, inner_.views[v].slice(done_, rows)));
  }
  done_ += rows;
  return true;
}

std::int64_t NonnegativeSource::rows_at_once() const {
  std::int64_t row_bytes = 1;
  for (std::size_t v = 0; v < rules_.size(); ++v) {
    if (rules_[v].what == Negative::kKeep) continue;
    const MatrixView& view = inner_.views[v];
    const auto size = static_cast<std::int64_t>(size_of(dtype_after(rules_[v], view.dtype)));
    row_bytes += columns_after(rules_[v], view.columns) * size;
  }
  return std::max(kBytesAtOnce / row_bytes, kPanelRows);
}

MatrixView NonnegativeSource::apply(std::size_t number, const MatrixView& view) {
  const NegativeRule& rule = rules_[number];
  if (rule.what == Negative::kKeep) return view;
  if (view.dtype == DType::kUInt8) {
    throw Error(ErrorKind::kValue, "view number " + std::to_string(number) +
                                       " is uint8, which has no negative values; keep it");
  }
  const DType dtype = dtype_after(rule, view.dtype);
  const std::int64_t columns = columns_after(rule, view.columns);
  const auto bytes = static_cast<std::size_t>(view.rows * columns) * size_of(dtype);
  if (memory_[number].size() < bytes) memory_[number] = AlignedBuffer<std::byte>(bytes);
  void* out = memory_[number].data();
  const bool is_split = rule.what == Negative::kSplit;
  const double offset = std::min(rule.minimum, 0.0);
  switch (view.dtype) {
    case DType::kUInt8:
      break;
    case DType::kFloat16:
    case DType::kBFloat16:
      if (rule.what == Negative::kShift) {
        std::vector<float>& table = shifted_[number];
        if (table.empty()) table = shift_table(view.dtype, static_cast<float>(offset));
        look_up(view, table, out);
      } else if (view.dtype == DType::kFloat16) {
        is_split ? split<Half>(view, out) : relu<Half>(view, out);
      } else {
        is_split ? split<BFloat>(view, out) : relu<BFloat>(view, out);
      }
      break;
    case DType::kFloat32:
      if (rule.what == Negative::kShift) {
        shift(view, static_cast<float>(offset), out);
      } else {
        is_split ? split<Plain<float>>(view, out) : relu<Plain<float>>(view, out);
      }
      break;
    case DType::kFloat64:
      if (rule.what == Negative::kShift) {
        shift(view, offset, out);
      } else {
        is_split ? split<Plain<double>>(view, out) : relu<Plain<double>>(view, out);
      }
      break;
  }
  return {out, dtype, view.rows, columns, columns};
}

}  // namespace cofactor
