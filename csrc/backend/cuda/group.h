#pragma once

// What kernels are written against: a group of threads that a GPU or a test on the CPU provides.
//
// A kernel is a struct of arguments with `static constexpr int kThreads`, a multiple of 32, and
//
//   template <class Block> COFACTOR_KERNEL void operator()(Block& block) const;
//
// and, if its shared memory or work bounds the blocks of a multiprocessor anyway, kLeastBlocks of
// them, so that no register is spilled for more. device_group.h runs it on a GPU.
// tests/cpp/backend/cuda/emulation/host_group.h runs the same source on the CPU, thread by thread
// in a shuffled order, and throws where the threads of a GPU could disagree. Both provide, as
// members of Block:
//
//   index(), index_y()                 where the block is in the grid
//   shared<T>(count) -> Shared<T>      the next part of the dynamic shared memory, 16-byte aligned;
//                                      a raw pointer on a GPU, a checked one on the CPU
//   PerThread<T>                       what every thread keeps between phases; [thread]
//   each(f)                            a phase: f(thread) for every thread. No phase waits for the
//                                      one before: only sync() does
//   sync()                             waits for all threads and for what they wrote
//   copy_async<kBytes>(to, from, n)    in a phase: copies n <= kBytes (4, 8 or 16) bytes from
//   global
//                                      to shared memory and fills kBytes up with zeros; both ends
//                                      are aligned to kBytes, and nothing is read beyond n bytes
//   copy_commit()                      between phases: what was copied since is one batch
//   copy_wait<kPending>()              between phases: until at most so many of the latest batches
//                                      are under way. Then every thread may read what it copied
//                                      itself, and after a sync() what the others did
//   each_warp(f)                       f(warp) for every warp; not inside a phase
//
// and as members of Warp (Block::Warp), inside which control flow is uniform:
//
//   index(), thread(lane)              its number in the block, and that of one of its threads
//   PerLane<T>, each(f), sync()        as PerThread, each and sync, for its 32 lanes
//   sum(x), max(x), any(p), ballot(p)  of a PerLane, the same for all lanes; sums are added in the
//                                      order of a butterfly over distances 16, 8, 4, 2, 1
//   broadcast(x, lane)                 the number that one lane has
//   shuffle(x, source)                 a PerLane with x of lane source(lane)
//   mma<E>(acc, a, b)                  acc(lane) += a b for a 16 x 16 and a 16 x 8 matrix of E,
//   which is
//                                      Float16 or BFloat16, in float32. Each argument maps a lane
//                                      to its fragment, with the layout of mma.m16n8k16 in the PTX
//                                      manual
//   load_matrices(out, row)            four 8 x 8 matrices of 16-bit numbers from shared memory, as
//                                      ldmatrix.x4: row(lane) is row lane % 8 of matrix lane / 8,
//                                      and lane l gets entries (l / 4, 2 (l % 4)) and the next of
//                                      each as out(lane).x[matrix]
//   load_matrices_transposed(out, row) the same matrices, transposed
//
// Shared memory is read and written one number at a time (p[i]) or by load_vector and store_vector.
// On the CPU p[i] is a proxy: take its value as a T and not as `auto`.

#include <cstddef>
#include <cstdint>
#include <cstring>

// COFACTOR_DEVICE: plain functions for both sides. COFACTOR_KERNEL: what takes a Block or a Warp.
// COFACTOR_UNROLL: before a loop whose index picks registers; COFACTOR_UNROLL_BY(1): before one
// that is better left a loop.
#ifdef __CUDACC__
#define COFACTOR_DEVICE __host__ __device__
#define COFACTOR_KERNEL __device__
#else
#define COFACTOR_DEVICE
#define COFACTOR_KERNEL
#endif
#ifdef __CUDA_ARCH__
#define COFACTOR_PRAGMA(text) _Pragma(#text)
#define COFACTOR_UNROLL _Pragma("unroll")
#define COFACTOR_UNROLL_BY(count) COFACTOR_PRAGMA(unroll(count))
#else
#define COFACTOR_UNROLL
#define COFACTOR_UNROLL_BY(count)
#endif

namespace cofactor::cuda {

inline constexpr int kWarpSize = 32;

/// Numbers as they are stored.
struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

/// What one load or store moves.
struct alignas(16) Words4 {
  std::uint32_t x[4];
};
struct alignas(8) Words2 {
  std::uint32_t x[2];
};

/// A lane's part of the operands of mma.m16n8k16, with t = lane % 4 and g = lane / 4. Contraction
/// indices 2t, 2t + 1 of rows g and g + 8, then 2t + 8, 2t + 9 of the same rows.
struct FragmentA {
  std::uint32_t x[4];
};
/// Contraction indices 2t, 2t + 1, then 2t + 8, 2t + 9, of column g.
struct FragmentB {
  std::uint32_t x[2];
};
/// Columns 2t, 2t + 1 of row g, then of row g + 8.
struct FragmentC {
  float x[4];
};

template <class To, class From>
COFACTOR_DEVICE inline To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

COFACTOR_DEVICE inline float to_float(float x) { return x; }
COFACTOR_DEVICE inline float to_float(double x) { return static_cast<float>(x); }
COFACTOR_DEVICE inline float to_float(std::uint8_t x) { return static_cast<float>(x); }
COFACTOR_DEVICE inline float to_float(BFloat16 x) {
  return bits_as<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
COFACTOR_DEVICE inline float to_float(Float16 x) {
#ifdef __CUDA_ARCH__
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
  return value;
#else
  const std::uint32_t sign = static_cast<std::uint32_t>(x.bits & 0x8000U) << 16;
  const std::uint32_t magnitude = x.bits & 0x7fffU;
  if (magnitude >= 0x7c00U) {
    return bits_as<float>(sign | 0x7f800000U | ((magnitude & 0x3ffU) << 13));
  }
  if (magnitude >= 0x0400U) return bits_as<float>(sign | ((magnitude << 13) + 0x38000000U));
  // Subnormal: the integer times 2^-24 is exact in float32.
  const float value = static_cast<float>(magnitude) * 0x1p-24F;
  return sign != 0 ? -value : value;
#endif
}

/// In the compute type T, float or double.
template <class T, class Stored>
COFACTOR_DEVICE inline T to_compute(Stored x) {
  if constexpr (sizeof(Stored) == 8) {
    return static_cast<T>(x);
  } else {
    return static_cast<T>(to_float(x));
  }
}

/// To the nearest number of E, ties to even.
template <class E>
COFACTOR_DEVICE inline E from_float(float x);

template <>
COFACTOR_DEVICE inline BFloat16 from_float<BFloat16>(float x) {
  auto bits = bits_as<std::uint32_t>(x);
  // NaN stays: the sum would carry into its sign.
  if ((bits & 0x7fffffffU) > 0x7f800000U) return {static_cast<std::uint16_t>((bits >> 16) | 0x40U)};
  bits += 0x7fffU + ((bits >> 16) & 1U);
  return {static_cast<std::uint16_t>(bits >> 16)};
}
template <>
COFACTOR_DEVICE inline Float16 from_float<Float16>(float x) {
#ifdef __CUDA_ARCH__
  Float16 result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(x));
  return result;
#else
  const auto bits = bits_as<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  std::uint32_t magnitude = bits & 0x7fffffffU;
  const auto signed_bits = [sign](std::uint32_t half) {
    return Float16{static_cast<std::uint16_t>(sign | half)};
  };
  if (magnitude > 0x7f800000U) return signed_bits(0x7e00U);
  if (magnitude >= 0x477ff000U) return signed_bits(0x7c00U);
  if (magnitude < 0x38800000U) {
    // A number of float32 between 1/2 and 1 has steps of 2^-24, as a subnormal of float16.
    return signed_bits(bits_as<std::uint32_t>(bits_as<float>(magnitude) + 0.5F) - 0x3f000000U);
  }
  magnitude += 0xfffU + ((magnitude >> 13) & 1U);
  return signed_bits((magnitude >> 13) - (112U << 10));
#endif
}

/// The low bytes of the two halves of a word as numbers of float16.
COFACTOR_DEVICE inline std::uint32_t float16_pair_of_bytes(std::uint32_t bytes) {
#ifdef __CUDA_ARCH__
  // 1024 + q has the bits 0x6400 + q.
  std::uint32_t result = (bytes & 0x00ff00ffU) | 0x64006400U;
  asm("sub.f16x2 %0, %1, %2;" : "=r"(result) : "r"(result), "r"(0x64006400U));
  return result;
#else
  const std::uint16_t low = from_float<Float16>(static_cast<float>(bytes & 0xffU)).bits;
  const std::uint16_t high = from_float<Float16>(static_cast<float>((bytes >> 16) & 0xffU)).bits;
  return low | (static_cast<std::uint32_t>(high) << 16);
#endif
}

/// One load or store of a whole V at an address that is aligned for it.
template <class V, class T>
COFACTOR_DEVICE inline V load_vector(const T* from) {
  return *reinterpret_cast<const V*>(from);
}
template <class V, class T>
COFACTOR_DEVICE inline void store_vector(T* to, const V& value) {
  *reinterpret_cast<V*>(to) = value;
}

template <class A, class B>
[[nodiscard]] COFACTOR_DEVICE constexpr A divide_up(A n, B by) {
  return (n + by - 1) / by;
}
template <class A, class B>
[[nodiscard]] COFACTOR_DEVICE constexpr A round_up(A n, B multiple) {
  return divide_up(n, multiple) * multiple;
}
template <class A>
[[nodiscard]] COFACTOR_DEVICE constexpr A smaller(A a, A b) {
  return b < a ? b : a;
}
template <class A>
[[nodiscard]] COFACTOR_DEVICE constexpr A larger(A a, A b) {
  return a < b ? b : a;
}

}  // namespace cofactor::cuda
