#pragma once

// What this machine can do at most: the two numbers that a time is held against.

#include <cstdint>

#include "core/level.h"

namespace cofactor::cpu {

/// A loop on registers alone that keeps the arithmetic units busy.
struct ArithmeticLoop {
  /// Runs so many rounds; the result only keeps the work from being left out.
  float (*run)(std::int64_t rounds) = nullptr;
  /// Operations in a round; a multiply-add counts two.
  std::int64_t operations = 0;
};

/// The loops of one instruction-set level.
struct PeakLoops {
  ArithmeticLoop multiply_add;
  /// Reads n numbers, a multiple of kReadStep, once and in order.
  float (*read)(const float* data, std::int64_t n) = nullptr;
};

inline constexpr std::int64_t kReadStep = 256;

template <Level kLevel>
[[nodiscard]] PeakLoops peak_loops();

/// Dot products of pairs of bfloat16, summed in float32 (AVX-512 BF16).
[[nodiscard]] ArithmeticLoop bfloat16_dot_loop();

/// Operations and bytes per second.
struct MachinePeak {
  double float32 = 0.0;    ///< multiply-adds in float32
  double bfloat16 = 0.0;   ///< dot products of bfloat16; 0 where the level has no such unit
  double bandwidth = 0.0;  ///< sequential reads from memory
};

/// Measures the active level with so many threads at once (0: default_threads()), the best of a few
/// short runs each. Takes some 0.3 s and 256 MiB.
[[nodiscard]] MachinePeak measure_peak(int threads);

}  // namespace cofactor::cpu
