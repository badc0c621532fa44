// What all CUDA kernels share: the device's state, launching, element types.
//
// Everything here also compiles for test/cudaemu, which runs kernels on the CPU, one block after the
// other with a fiber a thread: kernels use launch() instead of <<<>>>, dynamic_shared() instead of an
// extern array, and the primitives of primitives.cuh instead of inline assembly.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <new>
#include <string>
#include <utility>

#include "cuda/recorder.cuh"
#include "palimpsest/context.h"
#include "palimpsest/dtype.h"
#include "palimpsest/kernels.h"
#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest::cuda {

// One opened device; Context::device points to it.
struct DeviceState {
  int index = 0;
  cudaStream_t stream = nullptr;
  int multiprocessors = 1;
  int capability = 0;         // 90 for 9.0
  void* encode_tiled = nullptr;  // the driver's cuTensorMapEncodeTiled, where it has it
  int* flag = nullptr;  // one int of device memory for kernels that answer yes or no
  std::string failure;  // of a kernel that answers nothing: told at the next copy or wait
  cudaEvent_t clock[2] = {};
  Recording* recording = nullptr;  // where this is a recorder's: `stream` is then what is recorded
};

inline DeviceState& state(const Context& context) {
  return *static_cast<DeviceState*>(context.device);
}

inline Status to_status(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  return {Code::device, std::string(what) + ": " + cudaGetErrorString(error)};
}

// True where what is asked for is only compared with what was recorded.
template <typename... Parts>
bool compared(const Context& context, const Parts&... parts) {
  Recording* recording = state(context).recording;
  if (recording == nullptr || recording->pass == RecorderPass::start) return false;
  (recording->note(parts), ...);
  return recording->pass == RecorderPass::compare;
}

// An argument of a kernel that may be another at each replay of a recording.
template <typename T>
Held<T> hold(const Context& context, const T& value) {
  Recording* recording = state(context).recording;
  Held<T> held{};
  if (recording != nullptr) held.at = static_cast<const T*>(recording->place(&value, sizeof(T)));
  if (held.at == nullptr) held.value = value;
  return held;
}
// The same for a list, which lies in the device's memory in any case.
template <typename T>
Status hold_list(Context& context, const T* list, int64_t count, const T*& at);

// Starts kernel(args…) on the context's stream.
template <typename... Parameters, typename... Arguments>
Status launch(const Context& context, void (*kernel)(Parameters...), dim3 grid, dim3 block,
              size_t shared, Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return {};
  if (compared(context, kernel, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared,
               static_cast<const Parameters&>(arguments)...)) {
    return {};
  }
  if (shared > 48 * 1024) {
    PALIMPSEST_TRY(to_status(
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
        "shared memory"));
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = state(context).stream;
  return to_status(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...),
                   "a kernel could not be started");
}

// Keeps the failure of a kernel that has no answer to give.
inline void keep(const Context& context, const Status& status) {
  if (!status.ok() && state(context).failure.empty()) state(context).failure = status.message();
}

// Scratch memory, or null where there is none: exceptions do not cross the plugin's door.
template <typename T>
T* scratch(Context& context, int64_t count) {
  try {
    return context.workspace.take<T>(count);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
inline Status no_memory() { return {Code::device, "out of memory on the device"}; }

// Zeros, on the context's stream.
inline Status clear(const Context& context, void* data, size_t bytes) {
  if (compared(context, data, bytes)) return {};
  return to_status(cudaMemsetAsync(data, 0, bytes, state(context).stream), "memory could not be cleared");
}

template <typename T>
Status hold_list(Context& context, const T* list, int64_t count, const T*& at) {
  const size_t bytes = static_cast<size_t>(count) * sizeof(T);
  Recording* recording = state(context).recording;
  at = recording == nullptr ? nullptr : static_cast<const T*>(recording->place(list, bytes));
  if (at != nullptr || (recording != nullptr && recording->pass != RecorderPass::start)) return {};
  T* const copy = scratch<T>(context, count);
  if (copy == nullptr) return no_memory();
  at = copy;
  return context.write_bytes(copy, list, bytes);
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Blocks for a grid-stride loop over n elements: enough to fill the device several times over.
inline unsigned blocks_for(const Context& context, int64_t n, int64_t per_block) {
  const int64_t wanted = ceil_div(n, per_block);
  const int64_t most = int64_t{state(context).multiprocessors} * 16;
  return static_cast<unsigned>(wanted < most ? wanted : most);
}

// ---- element types ---------------------------------------------------------------------------------

__host__ __device__ inline float widen(BFloat16 x) {
  union {
    uint32_t bits;
    float value;
  } u;
  u.bits = static_cast<uint32_t>(x.bits) << 16;
  return u.value;
}
__host__ __device__ inline BFloat16 narrow(float x) {
  union {
    float value;
    uint32_t bits;
  } u;
  u.value = x;
  const uint32_t rounded = (u.bits + 0x7fffu + ((u.bits >> 16) & 1u)) >> 16;
  return {static_cast<uint16_t>(x != x ? ((u.bits >> 16) | 0x40u) : rounded)};
}

// An element of any dtype as T, and back; as in native/cpu/elementwise/kernels.inl.
__host__ __device__ inline int32_t to_int(double x) {
  return (x > -2147483649.0 && x < 2147483648.0) ? static_cast<int32_t>(x) : INT32_MIN;
}
template <typename T>
__host__ __device__ inline T load_as(const void* data, DType dtype, int64_t at) {
  switch (dtype) {
    case DType::f32: {
      const float x = static_cast<const float*>(data)[at];
      if constexpr (sizeof(T) == 4 && T(0.5) == T(0)) return static_cast<T>(to_int(x));
      return static_cast<T>(x);
    }
    case DType::f64: {
      const double x = static_cast<const double*>(data)[at];
      if constexpr (sizeof(T) == 4 && T(0.5) == T(0)) return static_cast<T>(to_int(x));
      return static_cast<T>(x);
    }
    case DType::bf16: return static_cast<T>(widen(static_cast<const BFloat16*>(data)[at]));
    case DType::i32: return static_cast<T>(static_cast<const int32_t*>(data)[at]);
    case DType::u8: return static_cast<T>(static_cast<const uint8_t*>(data)[at]);
    case DType::boolean: return static_cast<const uint8_t*>(data)[at] != 0 ? T(1) : T(0);
  }
  return T(0);
}
template <typename T>
__host__ __device__ inline void store_as(void* data, DType dtype, int64_t at, T x) {
  constexpr bool integer = T(0.5) == T(0);
  switch (dtype) {
    case DType::f32: static_cast<float*>(data)[at] = static_cast<float>(x); break;
    case DType::f64: static_cast<double*>(data)[at] = static_cast<double>(x); break;
    case DType::bf16: static_cast<BFloat16*>(data)[at] = narrow(static_cast<float>(x)); break;
    case DType::i32:
      if constexpr (integer) {
        static_cast<int32_t*>(data)[at] = static_cast<int32_t>(x);
      } else {
        static_cast<int32_t*>(data)[at] = to_int(static_cast<double>(x));
      }
      break;
    case DType::u8:
      if constexpr (integer) {
        static_cast<uint8_t*>(data)[at] = static_cast<uint8_t>(x);
      } else {
        static_cast<uint8_t*>(data)[at] = static_cast<uint8_t>(to_int(static_cast<double>(x)));
      }
      break;
    case DType::boolean: static_cast<uint8_t*>(data)[at] = x != T(0) ? 1 : 0; break;
  }
}

// The families, each in a folder of its own.
#define PALIMPSEST_CUDA_FAMILIES(X) \
  X(attention)                      \
  X(conv)                           \
  X(dense)                          \
  X(elementwise)                    \
  X(embedding)                      \
  X(gemm)                           \
  X(indexing)                       \
  X(masks)                          \
  X(nn)                             \
  X(norm)                           \
  X(optim)                          \
  X(panel)                          \
  X(probe)                          \
  X(random)                         \
  X(reduce)                         \
  X(scan)                           \
  X(selection)                      \
  X(spiking)
#define PALIMPSEST_DECLARE(family) void fill_##family(KernelTable&);
PALIMPSEST_CUDA_FAMILIES(PALIMPSEST_DECLARE)
#undef PALIMPSEST_DECLARE

}  // namespace palimpsest::cuda
