// The CUDA plugin: devices, memory and one stream for each, and the kernel table. The CUDA runtime is
// linked in; it opens the driver by itself, so that this file loads where there is none and says so.

#include <cstdio>
#include <cstring>

#include "cuda/common.cuh"
#include "cuda/recorder.h"
#include "palimpsest/plugin.h"

namespace palimpsest::cuda {
namespace {

constexpr int kOldestCapability = 80;

const KernelTable& table() {
  static const KernelTable filled = [] {
    KernelTable made{};
    made.device = "cuda";
#define PALIMPSEST_FILL(family) fill_##family(made);
    PALIMPSEST_CUDA_FAMILIES(PALIMPSEST_FILL)
#undef PALIMPSEST_FILL
    return made;
  }();
  return filled;
}

DeviceState& of(void* device) { return *static_cast<DeviceState*>(device); }

bool good(cudaError_t error, PluginText* reason) {
  if (error == cudaSuccess) return true;
  std::snprintf(reason->text, sizeof(reason->text), "%s", cudaGetErrorString(error));
  return false;
}

int count(PluginText* reason) {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error == cudaErrorInsufficientDriver) {
    int driver = 0;
    int runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0) {
      std::snprintf(reason->text, sizeof(reason->text), "no NVIDIA driver is installed");
    } else {
      std::snprintf(reason->text, sizeof(reason->text),
                    "the NVIDIA driver is too old: it supports CUDA %d.%d, and %d.%d is needed",
                    driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    }
    return 0;
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && devices == 0)) {
    std::snprintf(reason->text, sizeof(reason->text), "there is no NVIDIA GPU");
    return 0;
  }
  return good(error, reason) ? devices : 0;
}

int capability_of(int index) {
  int major = 0;
  int minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index);
  return major * 10 + minor;
}

void describe(int index, PluginDevice* device) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, index); error != cudaSuccess) {
    std::snprintf(device->reason, sizeof(device->reason), "%s", cudaGetErrorString(error));
    return;
  }
  const int capability = properties.major * 10 + properties.minor;
  std::snprintf(device->name, sizeof(device->name), "%s", properties.name);
  std::snprintf(device->features, sizeof(device->features), "sm_%d,%s", capability,
                capability == 90 ? "wgmma" : "mma");
  device->memory_bytes = properties.totalGlobalMem;
  if (capability < kOldestCapability) {
    std::snprintf(device->reason, sizeof(device->reason),
                  "compute capability %d.%d is too old: 8.0 is needed", properties.major,
                  properties.minor);
  }
}

void close(void* device) {
  DeviceState* s = &of(device);
  cudaSetDevice(s->index);
  if (s->flag != nullptr) cudaFree(s->flag);
  for (cudaEvent_t event : s->clock) {
    if (event != nullptr) cudaEventDestroy(event);
  }
  if (s->stream != nullptr) cudaStreamDestroy(s->stream);
  delete s;
}

void* open(int index, PluginText* reason) {
  auto* s = new DeviceState;
  s->index = index;
  s->capability = capability_of(index);
  if (s->capability < kOldestCapability) {
    std::snprintf(reason->text, sizeof(reason->text), "its compute capability is below 8.0");
    delete s;
    return nullptr;
  }
  cudaDeviceGetAttribute(&s->multiprocessors, cudaDevAttrMultiProcessorCount, index);
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &s->encode_tiled, 12000,
                                       cudaEnableDefault, &found) != cudaSuccess ||
      found != cudaDriverEntryPointSuccess) {
    s->encode_tiled = nullptr;
  }
  if (!good(cudaSetDevice(index), reason) ||
      !good(cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking), reason) ||
      !good(cudaMalloc(reinterpret_cast<void**>(&s->flag), sizeof(int)), reason)) {
    close(s);
    return nullptr;
  }
  return s;
}

void* allocate(void* device, size_t bytes) {
  cudaSetDevice(of(device).index);
  void* pointer = nullptr;
  if (cudaMalloc(&pointer, bytes) == cudaSuccess) return pointer;
  cudaGetLastError();  // being out of memory is no lasting failure
  return nullptr;
}

void release(void* device, void* pointer) {
  cudaSetDevice(of(device).index);
  cudaFree(pointer);
}

// Tells a failure that was kept, once.
bool whole(void* device, PluginText* reason) {
  std::string& failure = of(device).failure;
  if (failure.empty()) return true;
  std::snprintf(reason->text, sizeof(reason->text), "%s", failure.c_str());
  failure.clear();
  return false;
}

template <cudaMemcpyKind kKind>
bool move(void* device, void* to, const void* from, size_t bytes, PluginText* reason) {
  const cudaStream_t stream = of(device).stream;
  if (!whole(device, reason)) return false;
  if (!good(cudaMemcpyAsync(to, from, bytes, kKind, stream), reason)) return false;
  return kKind != cudaMemcpyDeviceToHost || good(cudaStreamSynchronize(stream), reason);
}

bool clock(void* device, int point, double* milliseconds, PluginText* reason) {
  DeviceState& s = of(device);
  *milliseconds = 0;
  cudaEvent_t& event = s.clock[point == 0 ? 0 : 1];
  if (event == nullptr && !good(cudaEventCreateWithFlags(&event, cudaEventDefault), reason)) return false;
  if (!good(cudaEventRecord(event, s.stream), reason)) return false;
  if (point == 0) return true;
  float elapsed = 0;
  if (!good(cudaEventSynchronize(event), reason) ||
      !good(cudaEventElapsedTime(&elapsed, s.clock[0], s.clock[1]), reason)) {
    return false;
  }
  *milliseconds = elapsed;
  return whole(device, reason);
}

bool synchronize(void* device, PluginText* reason) {
  return whole(device, reason) && good(cudaStreamSynchronize(of(device).stream), reason);
}

}  // namespace
}  // namespace palimpsest::cuda

extern "C" __attribute__((visibility("default"))) const palimpsest::PluginApi* palimpsest_plugin() {
  using namespace palimpsest;
  using namespace palimpsest::cuda;
  static const PluginApi api = {
      kPluginAbi,
      sizeof(KernelTable),
      sizeof(Context),
      "cuda",
      count,
      describe,
      open,
      close,
      [](void* device) { cudaSetDevice(of(device).index); },
      [](void*) { return &table(); },
      allocate,
      release,
      move<cudaMemcpyHostToDevice>,
      move<cudaMemcpyDeviceToHost>,
      move<cudaMemcpyDeviceToDevice>,
      synchronize,
      clock,
      &recorder_api(),
  };
  return &api;
}
