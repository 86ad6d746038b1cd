#include "backend/cuda/cuda_runtime.h"

#include <array>
#include <limits>
#include <string>
#include <utility>

#include "backend/backend.h"
#include "backend/cuda/check.h"
#include "core/error.h"

namespace cofactor::cuda {
namespace {

bool is_lost(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidPc:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchTimeout:
    case cudaErrorECCUncorrectable:
      return true;
    default:
      return false;
  }
}

}  // namespace

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  // Or the next call that succeeds would report this one's error once more.
  static_cast<void>(cudaGetLastError());
  std::string message = std::string(call) + " failed: " + cudaGetErrorString(status) + " (" +
                        cudaGetErrorName(status) + ")";
  if (is_lost(status)) message += "; this process cannot use the GPU any more";
  throw Error(ErrorKind::kUnavailable, message);
}

CudaRuntime::Activation::Activation(int device) {
  int current = 0;
  COFACTOR_CUDA_CHECK(cudaGetDevice, &current);
  if (current == device) return;
  COFACTOR_CUDA_CHECK(cudaSetDevice, device);
  before_ = current;
}

CudaRuntime::Activation::~Activation() {
  if (before_ >= 0) static_cast<void>(cudaSetDevice(before_));
}

thread_local CudaRuntime::Stream* CudaRuntime::captured_ = nullptr;

CudaRuntime& CudaRuntime::of(int device) {
  // Never destroyed: at the end of a process the driver may be gone before this is.
  static std::mutex mutex;
  static std::array<CudaRuntime*, kMaxDevices> runtimes{};
  const CudaInfo info = cuda_info();
  if (!info.missing.empty()) {
    throw Error(ErrorKind::kUnavailable, "device='cuda' was asked for, but " + info.missing +
                                             "; use device='cpu' or device='auto'");
  }
  if (device < 0) COFACTOR_CUDA_CHECK(cudaGetDevice, &device);
  if (std::cmp_greater_equal(device, info.devices.size()) || device >= kMaxDevices) {
    throw Error(ErrorKind::kValue, "there is no CUDA device number " + std::to_string(device) +
                                       "; this machine has " + std::to_string(info.devices.size()));
  }
  const std::lock_guard lock(mutex);
  CudaRuntime*& runtime = runtimes[static_cast<std::size_t>(device)];
  if (runtime == nullptr) {
    const Activation active(device);
    runtime = new CudaRuntime(device);
  }
  return *runtime;
}

CudaRuntime::CudaRuntime(int device) : device_(device), compute_(make_stream()) {
  const auto attribute = [device](cudaDeviceAttr which) {
    int value = 0;
    COFACTOR_CUDA_CHECK(cudaDeviceGetAttribute, &value, which, device);
    return value;
  };
  limits_.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  limits_.l2_bytes = attribute(cudaDevAttrL2CacheSize);
  limits_.shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
}

CudaRuntime::Stream CudaRuntime::make_stream() {
  cudaStream_t stream = nullptr;
  COFACTOR_CUDA_CHECK(cudaStreamCreateWithFlags, &stream, cudaStreamNonBlocking);
  return Stream(stream);
}

CudaRuntime::Event CudaRuntime::make_event() {
  cudaEvent_t event = nullptr;
  COFACTOR_CUDA_CHECK(cudaEventCreate, &event);
  return Event(event);
}

void CudaRuntime::destroy_stream(CUstream_st* stream) noexcept {
  static_cast<void>(cudaStreamDestroy(stream));
}

void CudaRuntime::destroy_event(CUevent_st* event) noexcept {
  static_cast<void>(cudaEventDestroy(event));
}

void CudaRuntime::destroy_graph(CUgraphExec_st* graph) noexcept {
  static_cast<void>(cudaGraphExecDestroy(graph));
}

void* CudaRuntime::allocate(std::size_t bytes) const {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    throw Error(ErrorKind::kMemory, out_of_memory_message(bytes, this->memory()));
  }
  check(status, "cudaMalloc");
  return memory;
}

void CudaRuntime::release(void* memory) noexcept { static_cast<void>(cudaFree(memory)); }

void* CudaRuntime::allocate_pinned(std::size_t bytes) {
  void* memory = nullptr;
  COFACTOR_CUDA_CHECK(cudaMallocHost, &memory, bytes);
  return memory;
}

void CudaRuntime::release_pinned(void* memory) noexcept { static_cast<void>(cudaFreeHost(memory)); }

void CudaRuntime::copy_in(void* to, const void* from, std::size_t bytes, Stream& stream) {
  COFACTOR_CUDA_CHECK(cudaMemcpyAsync, to, from, bytes, cudaMemcpyHostToDevice, stream.raw());
}

void CudaRuntime::copy_out(void* to, const void* from, std::size_t bytes, Stream& stream) {
  COFACTOR_CUDA_CHECK(cudaMemcpyAsync, to, from, bytes, cudaMemcpyDefault, stream.raw());
}

void CudaRuntime::copy(void* to, const void* from, std::size_t bytes, Stream& stream) {
  COFACTOR_CUDA_CHECK(cudaMemcpyAsync, to, from, bytes, cudaMemcpyDeviceToDevice, stream.raw());
}

void CudaRuntime::copy_rows(void* to, std::size_t to_stride, const void* from,
                            std::size_t from_stride, std::size_t row_bytes, std::int64_t rows,
                            Stream& stream) {
  COFACTOR_CUDA_CHECK(cudaMemcpy2DAsync, to, to_stride, from, from_stride, row_bytes,
                      static_cast<std::size_t>(rows), cudaMemcpyDeviceToDevice, stream.raw());
}

void CudaRuntime::copy_rows_out(void* to, std::size_t to_stride, const void* from,
                                std::size_t from_stride, std::size_t row_bytes, std::int64_t rows,
                                Stream& stream) {
  COFACTOR_CUDA_CHECK(cudaMemcpy2DAsync, to, to_stride, from, from_stride, row_bytes,
                      static_cast<std::size_t>(rows), cudaMemcpyDeviceToHost, stream.raw());
}

void CudaRuntime::clear(void* to, std::size_t bytes, Stream& stream) {
  COFACTOR_CUDA_CHECK(cudaMemsetAsync, to, 0, bytes, stream.raw());
}

void CudaRuntime::record(Event& event, Stream& stream) {
  COFACTOR_CUDA_CHECK(cudaEventRecord, event.raw(), stream.raw());
}

void CudaRuntime::wait(Stream& stream, const Event& event) {
  COFACTOR_CUDA_CHECK(cudaStreamWaitEvent, stream.raw(), event.raw(), 0);
}

void CudaRuntime::synchronise(Stream& stream) {
  COFACTOR_CUDA_CHECK(cudaStreamSynchronize, stream.raw());
}

void CudaRuntime::synchronise(const Event& event) {
  COFACTOR_CUDA_CHECK(cudaEventSynchronize, event.raw());
}

double CudaRuntime::elapsed(const Event& begin, const Event& end) {
  float milliseconds = 0;
  COFACTOR_CUDA_CHECK(cudaEventElapsedTime, &milliseconds, begin.raw(), end.raw());
  return static_cast<double>(milliseconds) / 1e3;
}

void CudaRuntime::begin_capture(Stream& stream) {
  COFACTOR_CUDA_CHECK(cudaStreamBeginCapture, stream.raw(), cudaStreamCaptureModeThreadLocal);
}

void CudaRuntime::abandon_capture(Stream& stream) noexcept {
  cudaGraph_t graph = nullptr;
  // An error that has made the capture invalid is on its way already.
  if (cudaStreamEndCapture(stream.raw(), &graph) == cudaSuccess) {
    static_cast<void>(cudaGraphDestroy(graph));
  }
  static_cast<void>(cudaGetLastError());
}

CudaRuntime::Graph CudaRuntime::end_capture(Stream& stream) {
  cudaGraph_t graph = nullptr;
  COFACTOR_CUDA_CHECK(cudaStreamEndCapture, stream.raw(), &graph);
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiateWithFlags(&executable, graph, 0);
  static_cast<void>(cudaGraphDestroy(graph));
  check(status, "cudaGraphInstantiateWithFlags");
  return Graph(executable);
}

void CudaRuntime::replay(const Graph& graph, Stream& stream) {
  COFACTOR_CUDA_CHECK(cudaGraphLaunch, graph.raw(), stream.raw());
}

MemoryInfo CudaRuntime::memory() const {
  const Activation active(device_);
  std::size_t free = 0, total = 0;
  COFACTOR_CUDA_CHECK(cudaMemGetInfo, &free, &total);
  return {static_cast<std::int64_t>(free), static_cast<std::int64_t>(total)};
}

}  // namespace cofactor::cuda
