// Runs CUDA kernels on the CPU, for tests where there is no GPU: the parts of the CUDA language and
// runtime that native/cuda uses. Blocks run one after the other; the threads of a block are fibers
// that switch at barriers and warp exchanges. Slow, sequential, and exact about indices: a kernel
// that reads outside its memory is found by AddressSanitizer or by the tests.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#define PALIMPSEST_CUDA_EMULATED 1
#define __host__
#define __device__
#define __global__
#define __constant__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static
#define __align__(n) alignas(n)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct uint3 {
  unsigned x, y, z;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// The running thread.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace cudaemu {

extern char* shared;

void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);
// Waits until all threads of the block are here; barriers of a named group count `threads` of them.
void barrier(int number, int threads);
// Lets others run; for loops that wait for memory to change.
void yield();
// Every lane of the warp gives 8 bytes and sees those of `from`.
uint64_t exchange(uint64_t value, int from);
// The lanes of the warp for which `yes` holds.
unsigned vote(bool yes);
// Shows an address to the warp's other lanes; what they showed, until the next exchange.
const void* const* show(const void* mine);
int lane();

}  // namespace cudaemu

inline void __syncthreads() {
  cudaemu::barrier(0, static_cast<int>(blockDim.x * blockDim.y * blockDim.z));
}
inline void __syncwarp(unsigned = ~0u) { cudaemu::exchange(0, 0); }
inline void __threadfence() {}
template <typename T>
T __shfl_sync(unsigned, T value, int from) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = cudaemu::exchange(bits, from & 31);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int other) {
  return __shfl_sync(mask, value, cudaemu::lane() ^ other);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int by) {
  const int from = cudaemu::lane() - by;
  return __shfl_sync(mask, value, from < 0 ? cudaemu::lane() : from);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, int by) {
  const int from = cudaemu::lane() + by;
  return __shfl_sync(mask, value, from > 31 ? cudaemu::lane() : from);
}
inline unsigned __ballot_sync(unsigned, int predicate) { return cudaemu::vote(predicate != 0); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
template <typename T>
T __ldg(const T* p) {
  return *p;
}
template <typename T>
T atomicAdd(T* p, T value) {
  const T old = *p;
  *p = old + value;
  return old;
}
template <typename T>
T atomicOr(T* p, T value) {
  const T old = *p;
  *p = old | value;
  return old;
}
template <typename T>
T atomicMax(T* p, T value) {
  const T old = *p;
  if (value > old) *p = value;
  return old;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }

// ---- runtime ---------------------------------------------------------------------------------------

enum cudaError_t {
  cudaSuccess,
  cudaErrorInsufficientDriver,
  cudaErrorNoDevice,
  cudaErrorMemoryAllocation,
  cudaErrorStreamCaptureInvalidated
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaDeviceAttr {
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor,
  cudaDevAttrMultiProcessorCount
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess, cudaDriverEntryPointSymbolNotFound };
enum cudaStreamCaptureMode { cudaStreamCaptureModeRelaxed };

namespace cudaemu {
struct Graph {
  std::vector<std::function<void()>> nodes;
};
// Work goes to the graph that it is recorded in, where it is, and is else done at once.
struct Stream {
  std::unique_ptr<Graph> recorded;
};
template <typename Work>
void submit(Stream* stream, Work&& work) {
  if (stream != nullptr && stream->recorded) {
    stream->recorded->nodes.push_back(std::forward<Work>(work));
  } else {
    work();
  }
}
double milliseconds();
}  // namespace cudaemu

using cudaStream_t = cudaemu::Stream*;
using cudaEvent_t = double*;  // when it was recorded
using cudaGraph_t = cudaemu::Graph*;
using cudaGraphExec_t = cudaemu::Graph*;
struct cudaGraphExecUpdateResultInfo {};
struct cudaDeviceProp {
  char name[256];
  int major, minor;
  size_t totalGlobalMem;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};
constexpr unsigned cudaStreamNonBlocking = 1;
constexpr unsigned cudaEventDefault = 0, cudaEventDisableTiming = 2, cudaEventRecordExternal = 1;
constexpr unsigned cudaHostAllocDefault = 0, cudaHostAllocMapped = 2;
constexpr unsigned long long cudaEnableDefault = 0;

namespace cudaemu {
// 90 or 80, from PALIMPSEST_CUDAEMU_CAPABILITY.
int capability();
// What the driver's cuTensorMapEncodeTiled would be; see cuda.h.
void* encode_tiled();
cudaError_t allocate(void** pointer, size_t bytes);
void release(void* pointer);
}  // namespace cudaemu

inline const char* cudaGetErrorString(cudaError_t) { return "an emulated error"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* n) {
  *n = 1;
  return cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int* v) {
  *v = 13000;
  return cudaSuccess;
}
inline cudaError_t cudaRuntimeGetVersion(int* v) { return cudaDriverGetVersion(v); }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr what, int) {
  *value = what == cudaDevAttrComputeCapabilityMajor   ? cudaemu::capability() / 10
           : what == cudaDevAttrComputeCapabilityMinor ? cudaemu::capability() % 10
                                                       : 2;
  return cudaSuccess;
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  std::strcpy(p->name, "CUDA kernels on the CPU");
  p->major = cudaemu::capability() / 10;
  p->minor = cudaemu::capability() % 10;
  p->totalGlobalMem = size_t{256} << 20;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new cudaemu::Stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  *p = std::malloc(bytes);
  return *p == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
}
inline cudaError_t cudaMalloc(void** p, size_t bytes) { return cudaemu::allocate(p, bytes); }
inline cudaError_t cudaFree(void* p) {
  cudaemu::release(p);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  cudaemu::submit(stream, [=] { std::memmove(to, from, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  cudaemu::submit(stream, [=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new double(0);
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  cudaemu::submit(stream, [=] { *event = cudaemu::milliseconds(); });
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, 0);
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  *ms = static_cast<float>(*to - *from);
  return cudaSuccess;
}
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->recorded = std::make_unique<cudaemu::Graph>();
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = stream->recorded.release();
  return *graph == nullptr ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
  *made = new cudaemu::Graph(*graph);
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecUpdate(cudaGraphExec_t made, cudaGraph_t graph, cudaGraphExecUpdateResultInfo*) {
  if (made->nodes.size() != graph->nodes.size()) return cudaErrorStreamCaptureInvalidated;
  made->nodes = graph->nodes;
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t made) { return cudaGraphDestroy(made); }
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t made, cudaStream_t) {
  for (const auto& node : made->nodes) node();
  return cudaSuccess;
}
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
inline cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** f, unsigned, unsigned long long,
                                                    cudaDriverEntryPointQueryResult* found) {
  *f = cudaemu::encode_tiled();
  *found = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
template <typename... P, typename... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A&&... arguments) {
  std::tuple<std::remove_const_t<P>...> copies(std::forward<A>(arguments)...);
  cudaemu::submit(config->stream, [copies, config = *config, kernel]() mutable {
    cudaemu::run(config.gridDim, config.blockDim, config.dynamicSmemBytes, [&] {
      std::apply([&](auto&... values) { kernel(values...); }, copies);
    });
  });
  return cudaSuccess;
}
