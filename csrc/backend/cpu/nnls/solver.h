#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/cpu/kernels.h"
#include "core/aligned_buffer.h"
#include "core/level.h"

namespace cofactor::cpu {

/// Gram matrix that many small problems share, in the form that NnlsArgs describes.
template <class T>
struct ScaledGram {
  template <class Number>
  struct Arrays {
    std::vector<Number> gram, inv_sqrt_diag, row_sum;
  };
  int k = 0;
  Arrays<double> exact;
  Arrays<T> rounded;
  /// From row-major numbers at stride `ld`, with `ridge` added to the diagonal.
  void assign(const double* matrix, std::int64_t ld, int rank, double ridge);
};

/// Solves batches of non-negative least-squares problems to a tolerance, whatever their condition.
/// Holds its scratch space: one solver a thread.
template <class T>
class NnlsSolver {
 public:
  /// `tolerance` and `max_exchanges` as in NnlsArgs.
  NnlsSolver(Level level, double tolerance, int max_exchanges)
      : level_(level), tolerance_(tolerance), max_exchanges_(max_exchanges) {}

  /// Solves the columns of `args`, or takes its sweeps over them, and fills in what follows from
  /// the matrix and the options.
  void solve(NnlsArgs<T> args, const ScaledGram<T>& gram);

 private:
  /// Block pivoting in compute type `Number`. Returns the columns that it leaves unfinished.
  template <class Number>
  std::vector<std::int64_t> pivot(NnlsArgs<Number> args,
                                  const typename ScaledGram<T>::template Arrays<Number>& gram);
  /// Columns that are still to be solved, with their last points, k x columns.
  struct Remainder {
    std::vector<std::int64_t> columns;
    std::vector<double> x;
  };
  /// Some columns by the proximal point method in float64: each step is a definite problem, with a
  /// ridge around the last point. Returns those that are still unfinished.
  std::vector<std::int64_t> approach(const NnlsArgs<T>& args, const ScaledGram<T>& gram,
                                     std::vector<std::int64_t> columns);
  /// Moves x to the minimisers with the ridge, which the matrix contains; `warm` where x is a guess
  /// at them. Returns the positions of the columns where this fails.
  std::vector<std::int64_t> proximal_step(
      const NnlsArgs<T>& args, const typename ScaledGram<T>::template Arrays<double>& ridged,
      double ridge, bool warm, Remainder& remainder);
  /// One column by the active-set method.
  void finish(const NnlsArgs<T>& args, const ScaledGram<T>& gram, std::int64_t column) const;

  Level level_;
  double tolerance_;
  int max_exchanges_;
  AlignedBuffer<std::byte> scratch_;
  std::vector<unsigned char> unfinished_;
};

}  // namespace cofactor::cpu
