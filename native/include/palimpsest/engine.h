// An engine: a device's kernel table and how many threads its owner may use. Each Node environment
// (main thread or worker) has its own; engines share nothing but the process's worker threads.
#pragma once

#include <algorithm>
#include <atomic>

#include "palimpsest/context.h"
#include "palimpsest/cpu_features.h"
#include "palimpsest/kernels.h"
#include "palimpsest/threads.h"

namespace palimpsest {

inline constexpr int kMaxThreads = 256;

class Engine {
 public:
  explicit Engine(CpuLevel level = cpu_level()) : kernels_(cpu_kernels(level)) {}

  int threads() const { return threads_; }
  void set_threads(int threads) { threads_ = std::clamp(threads, 1, kMaxThreads); }

  // A context for work on the calling thread, which must be the thread that uses it.
  Context context(const std::atomic<bool>* abort = nullptr) const {
    Context context(kernels_, Workspace::local(), threads_);
    context.abort = abort;
    return context;
  }

 private:
  const KernelTable& kernels_;
  int threads_ = physical_cores();
};

}  // namespace palimpsest
