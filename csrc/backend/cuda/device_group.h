#pragma once

// The groups of group.h on a GPU. Only for files that nvcc compiles.

#include "backend/cuda/group.h"

namespace cofactor::cuda {

extern __shared__ __align__(128) unsigned char dynamic_shared_memory[];

__device__ inline std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

/// What one thread keeps; every index is the thread's own.
template <class T>
struct Own {
  T value;
  __device__ T& operator[](int /*thread*/) { return value; }
  __device__ const T& operator[](int /*thread*/) const { return value; }
};

class DeviceWarp {
 public:
  template <class T>
  using PerLane = Own<T>;

  __device__ int index() const { return static_cast<int>(threadIdx.x) / kWarpSize; }
  __device__ int thread(int /*lane*/) const { return static_cast<int>(threadIdx.x); }
  template <class F>
  __device__ void each(const F& f) const {
    f(lane());
  }
  __device__ void sync() const { __syncwarp(); }

  template <class T>
  __device__ T sum(const Own<T>& x) const {
    T result = x.value;
#pragma unroll
    for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
      result += __shfl_xor_sync(kAll, result, distance);
    }
    return result;
  }
  template <class T>
  __device__ T max(const Own<T>& x) const {
    T result = x.value;
#pragma unroll
    for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
      const T other = __shfl_xor_sync(kAll, result, distance);
      result = result < other ? other : result;
    }
    return result;
  }
  __device__ bool any(const Own<bool>& p) const { return __any_sync(kAll, p.value) != 0; }
  __device__ std::uint32_t ballot(const Own<bool>& p) const { return __ballot_sync(kAll, p.value); }
  template <class T>
  __device__ T broadcast(const Own<T>& x, int source) const {
    return __shfl_sync(kAll, x.value, source);
  }
  template <class T, class Source>
  __device__ Own<T> shuffle(const Own<T>& x, const Source& source) const {
    return {__shfl_sync(kAll, x.value, source(lane()))};
  }

  template <class E, class C, class A, class B>
  __device__ void mma(const C& acc, const A& a_of, const B& b_of) const {
    FragmentC& c = acc(lane());
    const FragmentA& a = a_of(lane());
    const FragmentB& b = b_of(lane());
    if constexpr (is_float16(E{})) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+f"(c.x[0]), "+f"(c.x[1]), "+f"(c.x[2]), "+f"(c.x[3])
          : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
    } else {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+f"(c.x[0]), "+f"(c.x[1]), "+f"(c.x[2]), "+f"(c.x[3])
          : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
    }
  }

  template <class Out, class Row>
  __device__ void load_matrices(const Out& out, const Row& row) const {
    FragmentA& to = out(lane());
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to.x[0]), "=r"(to.x[1]), "=r"(to.x[2]), "=r"(to.x[3])
                 : "r"(shared_address(row(lane())))
                 : "memory");
  }
  template <class Out, class Row>
  __device__ void load_matrices_transposed(const Out& out, const Row& row) const {
    FragmentA& to = out(lane());
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to.x[0]), "=r"(to.x[1]), "=r"(to.x[2]), "=r"(to.x[3])
                 : "r"(shared_address(row(lane())))
                 : "memory");
  }

 private:
  static constexpr unsigned kAll = 0xffffffffU;
  static constexpr __device__ bool is_float16(Float16 /*type*/) { return true; }
  static constexpr __device__ bool is_float16(BFloat16 /*type*/) { return false; }
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kWarpSize; }
};

class DeviceBlock {
 public:
  using Warp = DeviceWarp;
  template <class T>
  using Shared = T*;
  template <class T>
  using PerThread = Own<T>;

  __device__ int index() const { return static_cast<int>(blockIdx.x); }
  __device__ int index_y() const { return static_cast<int>(blockIdx.y); }

  template <class T>
  __device__ T* shared(int count) {
    T* const result = reinterpret_cast<T*>(dynamic_shared_memory + carved_);
    carved_ += round_up(count * static_cast<int>(sizeof(T)), 16);
    return result;
  }
  template <class F>
  __device__ void each(const F& f) const {
    f(static_cast<int>(threadIdx.x));
  }
  template <class F>
  __device__ void each_warp(const F& f) const {
    DeviceWarp warp;
    f(warp);
  }
  __device__ void sync() const { __syncthreads(); }

  template <int kBytes, class T>
  __device__ void copy_async(T* to, const void* from, int bytes) const {
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
    if constexpr (kBytes == 16) {
      // Past the first-level cache: nothing is read twice by one multiprocessor's copies.
      asm volatile(
          "cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
          "l"(from), "r"(bytes)
          : "memory");
    } else {
      asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(to)),
                   "l"(from), "n"(kBytes), "r"(bytes)
                   : "memory");
    }
  }
  __device__ void copy_commit() const { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int kPending>
  __device__ void copy_wait() const {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
  }

 private:
  int carved_ = 0;
};

/// Blocks that a multiprocessor holds at least, where a kernel says so; else the compiler weighs
/// registers against them.
template <class Kernel>
constexpr int least_blocks() {
  if constexpr (requires { Kernel::kLeastBlocks; }) {
    return Kernel::kLeastBlocks;
  } else {
    return 0;
  }
}

/// The entry point of a kernel.
template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, least_blocks<Kernel>())
    run_kernel(const __grid_constant__ Kernel kernel) {
  DeviceBlock block;
  kernel(block);
}

}  // namespace cofactor::cuda
