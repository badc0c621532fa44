// What a kernel is given besides its arguments: threads, scratch memory, a way to be told to stop.
#pragma once

#include <atomic>
#include <cstdint>

#include "palimpsest/function_ref.h"
#include "palimpsest/status.h"
#include "palimpsest/threads.h"
#include "palimpsest/workspace.h"

namespace palimpsest {

struct KernelTable;

// How operations reach numbers that lie in a device's memory.
class DeviceAccess {
 public:
  virtual Status download(void* to, const void* from, size_t bytes) = 0;
  virtual Status upload(void* to, const void* from, size_t bytes) = 0;

 protected:
  ~DeviceAccess() = default;
};

// One caller's place at a device. Not shared between threads: an asynchronous call has its own.
class Context {
 public:
  Context(const KernelTable& kernels, Workspace& workspace, int threads)
      : kernels(kernels), workspace(workspace), threads_(threads) {}

  const KernelTable& kernels;
  // Scratch in the device's memory.
  Workspace& workspace;
  // Set from another thread to ask for an early end; long operations look at it between steps.
  const std::atomic<bool>* abort = nullptr;
  // The plugin's own state of the device (its stream among it); null on the CPU.
  void* device = nullptr;
  // Null where pointers are the host's.
  DeviceAccess* access = nullptr;

  bool aborted() const { return abort != nullptr && abort->load(std::memory_order_relaxed); }

  // Brings a number from where kernels write it to the host; waits for it.
  template <typename T>
  Status read(T& to, const T* from) const {
    return read_bytes(&to, from, sizeof(T));
  }
  Status read_bytes(void* to, const void* from, size_t bytes) const;
  // The other way, for small matrices that were worked out on the host.
  Status write_bytes(void* to, const void* from, size_t bytes) const;

  // Runs task(0) … task(tasks - 1) on the threads this caller may use. How work is cut into tasks
  // must depend on the problem alone, never on the number of threads.
  void parallel(int64_t tasks, FunctionRef<void(int64_t)> task) const;

  // parallel() over [0, n) in chunks of `grain`: body(begin, end).
  template <typename Body>
  void parallel_chunks(int64_t n, int64_t grain, const Body& body) const {
    const int64_t chunks = (n + grain - 1) / grain;
    parallel(chunks, [&](int64_t i) {
      const int64_t begin = i * grain;
      body(begin, begin + grain < n ? begin + grain : n);
    });
  }

 private:
  int threads_;
};

}  // namespace palimpsest
