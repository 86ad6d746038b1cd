// Coordinate descent for one side of a product, by panels of columns of X: a panel's U and X stay
// in cache from the first product to the last.

#include <algorithm>
#include <cstddef>
#include <utility>

#include "backend/cpu/dispatch.h"
#include "backend/cpu/nnls/solver.h"
#include "backend/cpu/tiling.h"
#include "backend/product_side.h"
#include "core/aligned_buffer.h"
#include "core/dtype.h"
#include "core/thread_pool.h"

namespace cofactor::cpu {
namespace {

/// Columns of X that are summed in the compute type before they join the float64 sums.
constexpr std::int64_t kPanel = kProjectColumns;
/// Parts that the panels are dealt into, each with `size` sums of its own, which are added up in
/// order. Their number depends on the problem alone, so that no number of threads changes a bit; at
/// high ranks there are fewer, as their sums take memory.
constexpr std::int64_t parts(std::int64_t panels, std::int64_t size) {
  return std::min(panels, std::clamp<std::int64_t>((std::int64_t{1} << 21) / size, 16, 32));
}

template <class T>
class CpuProductSide final : public ProductSide {
 public:
  CpuProductSide(const double* basis, std::int64_t n, std::int64_t r, const double* singular,
                 const ProductSideOptions& options)
      : options_(options),
        k_(options.components),
        r_(r),
        n_(n),
        panels_(divide_up(n, kPanel)),
        kernels_(kernels<T>(active_level())),
        singular_(singular, singular + r),
        basis_(static_cast<std::size_t>(panels_ * r * kPanel)),
        accepted_(static_cast<std::size_t>(panels_ * k_ * kPanel)),
        reached_(accepted_.size()),
        pool_(options.threads),
        scratch_(static_cast<std::size_t>(pool_.size())) {
    pool_.run(panels_, [&](std::int64_t panel, int) {
      for (std::int64_t i = 0; i < r; ++i) {
        const double* const from = basis + i * n + panel * kPanel;
        std::transform(from, from + columns_of(panel), basis_of(panel) + i * kPanel,
                       [&](double value) { return static_cast<T>(singular[i] * value); });
      }
    });
  }

  SideSums start(const double* x) override {
    for (std::int64_t panel = 0; panel < panels_; ++panel) {
      for (int c = 0; c < k_; ++c) {
        const double* const from = x + c * n_ + panel * kPanel;
        std::transform(from, from + columns_of(panel), panel_of(accepted_, panel) + c * kPanel,
                       [](double value) { return static_cast<T>(value); });
      }
    }
    std::copy_n(accepted_.data(), accepted_.size(), reached_.data());
    return sums([](std::int64_t, Scratch&) {});
  }

  SideSums descend(const double* coefficients, const double* gram, int sweeps) override {
    gram_.assign(gram, k_, k_, options_.l2);
    coefficients_.resize(static_cast<std::size_t>(k_ * r_));
    std::transform(coefficients, coefficients + coefficients_.size(), coefficients_.begin(),
                   [](double value) { return static_cast<T>(value); });
    return sums([&](std::int64_t panel, Scratch& scratch) {
      for (std::int64_t j0 = 0; j0 < columns_of(panel); j0 += kSolveColumns) {
        descend_columns(panel, j0, sweeps, scratch);
      }
    });
  }

  void accept() override { std::swap(accepted_, reached_); }

  void get_factor(double* x) const override {
    for (std::int64_t panel = 0; panel < panels_; ++panel) {
      for (int c = 0; c < k_; ++c) {
        const T* const from = accepted_.data() + (panel * k_ + c) * kPanel;
        std::copy_n(from, columns_of(panel), x + c * n_ + panel * kPanel);
      }
    }
  }

 private:
  struct Scratch {
    AlignedBuffer<std::byte> product, packed;
    AlignedBuffer<T> b, sums;
    NnlsSolver<T> nnls{active_level(), 0.0, 0};
  };

  [[nodiscard]] std::int64_t columns_of(std::int64_t panel) const {
    return std::min(kPanel, n_ - panel * kPanel);
  }
  /// diag(s) U of a panel, r x kPanel.
  [[nodiscard]] T* basis_of(std::int64_t panel) { return basis_.data() + panel * r_ * kPanel; }
  /// X of a panel, k x kPanel.
  [[nodiscard]] T* panel_of(AlignedBuffer<T>& x, std::int64_t panel) const {
    return x.data() + panel * k_ * kPanel;
  }
  static StoredRows stored(const T* rows) {
    return {reinterpret_cast<const char*>(rows), kPanel * std::int64_t{sizeof(T)}};
  }

  /// Sweeps over columns of a panel, from j0 on.
  void descend_columns(std::int64_t panel, std::int64_t j0, int sweeps, Scratch& scratch) {
    const std::int64_t n = std::min(kSolveColumns, columns_of(panel) - j0);
    T* const b = scratch.b.data();
    std::fill_n(b, scratch.b.size(), T{0});
    kernels_.exact.accumulate[static_cast<int>(kComputeType<T>)](
        stored(basis_of(panel) + j0), static_cast<int>(r_), coefficients_.data(), r_, k_, n, b,
        kSolveColumns, scratch.product.data());
    const T* const from = panel_of(accepted_, panel) + j0;
    T* const x = panel_of(reached_, panel) + j0;
    for (int c = 0; c < k_; ++c) std::copy_n(from + c * kPanel, n, x + c * kPanel);
    NnlsArgs<T> args;
    args.count = n;
    args.b = b;
    args.ldb = kSolveColumns;
    args.shift = static_cast<T>(options_.l1);
    args.x = x;
    args.ldx = kPanel;
    args.warm = true;
    args.sweeps = sweeps;
    scratch.nnls.solve(args, gram_);
  }

  /// Sums of the factor reached, by panels, each after `prepare(panel, scratch)` has written it.
  template <class Prepare>
  SideSums sums(const Prepare& prepare) {
    // One after the other: diag(s) U X^T, X X^T, X' X^T and the sums of X.
    const std::int64_t size = (r_ + std::int64_t{2} * k_ + 1) * k_;
    totals_.resize(static_cast<std::size_t>(parts(panels_, size)));
    pool_.run(std::ssize(totals_), [&](std::int64_t part, int thread) {
      Scratch& scratch = scratch_[static_cast<std::size_t>(thread)];
      allocate(scratch, static_cast<std::size_t>(size));
      std::vector<double>& total = totals_[static_cast<std::size_t>(part)];
      total.assign(static_cast<std::size_t>(size), 0.0);
      const std::int64_t last = panels_ * (part + 1) / std::ssize(totals_);
      for (std::int64_t panel = panels_ * part / std::ssize(totals_); panel < last; ++panel) {
        prepare(panel, scratch);
        sum_panel(panel, scratch);
        for (std::int64_t i = 0; i < size; ++i) {
          total[static_cast<std::size_t>(i)] += static_cast<double>(scratch.sums.data()[i]);
        }
      }
    });
    std::vector<double>& whole = totals_.front();
    constexpr std::int64_t kNumbers = 4096;
    pool_.run(divide_up(size, kNumbers), [&](std::int64_t task, int) {
      for (std::size_t part = 1; part < totals_.size(); ++part) {
        const double* const from = totals_[part].data();
        for (std::int64_t i = task * kNumbers; i < std::min(size, (task + 1) * kNumbers); ++i) {
          whole[static_cast<std::size_t>(i)] += from[i];
        }
      }
    });
    return divided(whole);
  }

  void allocate(Scratch& scratch, std::size_t sums) const {
    if (scratch.sums.size() == sums) return;
    scratch.product = AlignedBuffer<std::byte>(static_cast<std::size_t>(product_scratch_bytes(k_)));
    scratch.packed = AlignedBuffer<std::byte>(static_cast<std::size_t>(k_ * kPanel) * sizeof(T));
    scratch.b = AlignedBuffer<T>(static_cast<std::size_t>(k_ * kSolveColumns));
    scratch.sums = AlignedBuffer<T>(sums);
  }

  void sum_panel(std::int64_t panel, Scratch& scratch) {
    const T* const x = panel_of(reached_, panel);
    std::byte* const packed = scratch.packed.data();
    for (int c = 0; c < k_; ++c) {
      const std::int64_t at = c * kPanel;
      kernels_.exact.pack_factor(x + at, kPanel, packed + at * kernels_.exact.factor_size);
    }
    T* to = scratch.sums.data();
    std::fill_n(to, scratch.sums.size(), T{0});
    const auto multiply = [&](const T* rows, std::int64_t count) {
      kernels_.exact.project[static_cast<int>(kComputeType<T>)](
          stored(rows), static_cast<int>(count), packed, k_, columns_of(panel), T{1}, to, k_,
          scratch.product.data());
      to += count * k_;
    };
    multiply(basis_of(panel), r_);
    multiply(x, k_);
    multiply(panel_of(accepted_, panel), k_);
    if (options_.l1 == 0.0) return;
    for (int c = 0; c < k_; ++c) {
      for (std::int64_t j = 0; j < columns_of(panel); ++j) to[c] += x[c * kPanel + j];
    }
  }

  [[nodiscard]] SideSums divided(const std::vector<double>& total) const {
    const auto size = static_cast<std::ptrdiff_t>(k_) * k_;
    const auto gram = total.begin() + r_ * k_;
    SideSums sums;
    sums.gram.assign(gram, gram + size);
    sums.cross.assign(gram + size, gram + 2 * size);
    for (int c = 0; c < k_; ++c) {
      for (std::int64_t i = 0; i < r_; ++i) {
        sums.coefficients.push_back(total[static_cast<std::size_t>(i * k_ + c)] /
                                    singular_[static_cast<std::size_t>(i)]);
      }
      sums.penalty +=
          options_.l1 * gram[2 * size + c] + options_.l2 / 2 * gram[std::int64_t{c} * (k_ + 1)];
    }
    return sums;
  }

  ProductSideOptions options_;
  int k_;
  std::int64_t r_, n_, panels_;
  const Kernels<T>& kernels_;
  std::vector<double> singular_;
  AlignedBuffer<T> basis_;
  AlignedBuffer<T> accepted_, reached_;
  std::vector<T> coefficients_;
  ScaledGram<T> gram_;
  ThreadPool pool_;
  std::vector<Scratch> scratch_;
  std::vector<std::vector<double>> totals_;  ///< by part
};

}  // namespace
}  // namespace cofactor::cpu

namespace cofactor {

std::unique_ptr<ProductSide> make_cpu_product_side(const double* basis, std::int64_t n,
                                                   std::int64_t r, const double* singular,
                                                   const ProductSideOptions& options) {
  if (options.float64) {
    return std::make_unique<cpu::CpuProductSide<double>>(basis, n, r, singular, options);
  }
  return std::make_unique<cpu::CpuProductSide<float>>(basis, n, r, singular, options);
}

}  // namespace cofactor
