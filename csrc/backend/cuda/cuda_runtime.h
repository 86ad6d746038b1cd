#pragma once

// The runtime on a GPU. The CUDA library is linked statically and finds the driver when it is first
// called, so that a machine without one can load this.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "backend/cuda/runtime.h"

struct CUstream_st;
struct CUevent_st;
struct CUgraphExec_st;

namespace cofactor::cuda {

inline constexpr int kMaxDevices = 64;

class CudaRuntime {
 public:
  /// A stream, an event or a graph of CUDA, destroyed at the end.
  template <class Raw, void (*Destroy)(Raw*) noexcept>
  class Handle {
   public:
    explicit Handle(Raw* raw) : raw_(raw) {}
    [[nodiscard]] Raw* raw() const noexcept { return raw_.get(); }

   private:
    struct Deleter {
      void operator()(Raw* raw) const noexcept { Destroy(raw); }
    };
    std::unique_ptr<Raw, Deleter> raw_;
  };
  static void destroy_stream(CUstream_st* stream) noexcept;
  static void destroy_event(CUevent_st* event) noexcept;
  static void destroy_graph(CUgraphExec_st* graph) noexcept;
  using Stream = Handle<CUstream_st, &CudaRuntime::destroy_stream>;
  using Event = Handle<CUevent_st, &CudaRuntime::destroy_event>;
  using Graph = Handle<CUgraphExec_st, &CudaRuntime::destroy_graph>;

  /// Makes a device the one that this thread calls, and the one before it again at the end.
  class Activation {
   public:
    explicit Activation(int device);
    ~Activation();
    Activation(const Activation&) = delete;
    Activation& operator=(const Activation&) = delete;

   private:
    int before_ = -1;  ///< -1: it was this one
  };

  /// The runtime of a device (-1: the one that this thread calls), which lives as long as the
  /// process. Throws Error with what is missing.
  static CudaRuntime& of(int device);

  [[nodiscard]] Stream make_stream();
  [[nodiscard]] Event make_event();
  [[nodiscard]] Activation activate() const { return Activation(device_); }

  [[nodiscard]] void* allocate(std::size_t bytes) const;
  void release(void* memory) noexcept;
  [[nodiscard]] void* allocate_pinned(std::size_t bytes);
  void release_pinned(void* memory) noexcept;

  void copy_in(void* to, const void* from, std::size_t bytes, Stream& stream);
  void copy_out(void* to, const void* from, std::size_t bytes, Stream& stream);
  void copy(void* to, const void* from, std::size_t bytes, Stream& stream);
  void copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride,
                 std::size_t row_bytes, std::int64_t rows, Stream& stream);
  void copy_rows_out(void* to, std::size_t to_stride, const void* from, std::size_t from_stride,
                     std::size_t row_bytes, std::int64_t rows, Stream& stream);
  void clear(void* to, std::size_t bytes, Stream& stream);

  void record(Event& event, Stream& stream);
  void wait(Stream& stream, const Event& event);
  void synchronise(Stream& stream);
  void synchronise(const Event& event);
  [[nodiscard]] double elapsed(const Event& begin, const Event& end);

  /// Defined in launch.h, for those who have kernels.
  template <class Kernel>
  void launch(const Grid& grid, const Kernel& kernel, std::size_t shared_bytes, Stream& stream);

  template <class Work>
  [[nodiscard]] Graph capture(const Work& work) {
    // On a stream of its own: other threads give theirs to the one that all share.
    Stream own = make_stream();
    begin_capture(own);
    captured_ = &own;
    try {
      work();
    } catch (...) {
      captured_ = nullptr;
      abandon_capture(own);
      throw;
    }
    captured_ = nullptr;
    return end_capture(own);
  }
  void replay(const Graph& graph, Stream& stream);

  [[nodiscard]] Stream& compute() noexcept { return captured_ != nullptr ? *captured_ : compute_; }
  [[nodiscard]] MemoryInfo memory() const;
  [[nodiscard]] const DeviceLimits& limits() const noexcept { return limits_; }
  [[nodiscard]] int device() const noexcept { return device_; }

 private:
  explicit CudaRuntime(int device);
  void begin_capture(Stream& stream);
  void abandon_capture(Stream& stream) noexcept;
  [[nodiscard]] Graph end_capture(Stream& stream);

  /// What stands for compute() in a thread that captures.
  static thread_local Stream* captured_;
  int device_;
  DeviceLimits limits_;
  Stream compute_;
};

}  // namespace cofactor::cuda
