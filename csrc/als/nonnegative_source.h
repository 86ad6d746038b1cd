#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "als/block_source.h"
#include "core/aligned_buffer.h"
#include "core/matrix_view.h"

namespace cofactor {

/// What happens to the negative values of a view before anybody sees them. NaN stays NaN.
enum class Negative : std::uint8_t {
  kKeep,
  kRelu,   ///< max(x, 0), in the stored dtype
  kShift,  ///< x - min(minimum, 0), as float32, or float64 if that is what is stored
  kSplit,  ///< max(x, 0), and behind these columns as many of max(-x, 0); in the stored dtype
};

/// Parses "keep", "relu", "shift" or "split"; throws Error on anything else.
[[nodiscard]] Negative parse_negative(std::string_view name);

struct NegativeRule {
  Negative what = Negative::kKeep;
  double minimum = 0.0;  ///< of the whole view, finite; for kShift
};

/// The dtype and the number of columns that a view has after its rule.
[[nodiscard]] DType dtype_after(const NegativeRule& rule, DType dtype) noexcept;
[[nodiscard]] std::int64_t columns_after(const NegativeRule& rule, std::int64_t columns) noexcept;

/// Another source's views with a rule applied to each. Views that keep what they have are passed on
/// in place; of the others a few megabytes are made at a time, in blocks cut at multiples of 512.
class NonnegativeSource final : public BlockSource {
 public:
  /// Throws Error for a rule on uint8, which has no negative values, once a block shows it.
  NonnegativeSource(std::unique_ptr<BlockSource> source, std::vector<NegativeRule> rules);

  [[nodiscard]] std::int64_t rows() const override { return source_->rows(); }
  void rewind(std::int64_t first_row) override;
  bool next(Block& block) override;

 private:
  [[nodiscard]] std::int64_t rows_at_once() const;
  [[nodiscard]] MatrixView apply(std::size_t number, const MatrixView& view);

  std::unique_ptr<BlockSource> source_;
  std::vector<NegativeRule> rules_;
  std::vector<AlignedBuffer<std::byte>> memory_;
  /// For kShift of 16-bit floats: the result for every bit pattern.
  std::vector<std::vector<float>> shifted_;
  Block inner_;
  std::int64_t done_ = 0;  ///< rows of `inner_` passed on
};

}  // namespace cofactor
