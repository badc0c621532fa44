// Launches that are recorded as a CUDA graph, or compared with one. See palimpsest/recorder.h.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstring>
#include <type_traits>
#include <vector>

#include "palimpsest/plugin.h"

namespace palimpsest::cuda {

// An argument that may be another at each replay: by value, or in the block of the recording.
template <typename T>
struct Held {
  const T* at = nullptr;
  T value;
  __host__ __device__ const T& get() const { return at != nullptr ? *at : value; }
};

// The passes of one recorder. `script` is what was started: kernels, grids and arguments, byte by byte.
struct Recording {
  RecorderPass pass = RecorderPass::start;
  std::vector<std::byte> script;
  size_t at = 0;     // how far the comparison came
  bool same = true;  // so far
  // What changes from replay to replay: written here, and copied to `block` before each.
  std::byte* host = nullptr;
  size_t host_bytes = 0;
  std::byte* block = nullptr;
  size_t block_bytes = 0;
  size_t needed = 0;

  void note(const void* bytes, size_t count) {
    const auto* from = static_cast<const std::byte*>(bytes);
    if (pass == RecorderPass::record) {
      script.insert(script.end(), from, from + count);
    } else if (pass == RecorderPass::compare) {
      same = same && at + count <= script.size() && std::memcmp(script.data() + at, from, count) == 0;
      at += count;
    }
  }
  template <typename T>
  void note(const Held<T>& held) {
    note(&held.at, sizeof(held.at));
  }
  template <typename T>
  void note(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    T copy = value;
    __builtin_clear_padding(&copy);
    note(&copy, sizeof(T));
  }

  // Where a replay finds these bytes.
  const void* place(const void* bytes, size_t count) {
    const size_t from = (needed + 15) / 16 * 16;
    needed = from + count;
    if (pass == RecorderPass::start) return nullptr;
    if (needed > block_bytes) {
      same = false;
      return nullptr;
    }
    std::memcpy(host + from, bytes, count);
    return block + from;
  }
};

}  // namespace palimpsest::cuda
