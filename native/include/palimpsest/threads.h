// The process's worker threads. Every engine borrows them; results never depend on how many there
// are, because work is cut into tasks by the problem's size alone.
#pragma once

#include <cstdint>
#include <memory>

#include "palimpsest/function_ref.h"

namespace palimpsest {

// Cores that the process may run on, hardware threads of one core counted once.
int physical_cores();

class ThreadPool {
 public:
  // The pool of this process, made on first use, alive until the process ends.
  static ThreadPool& shared();

  ThreadPool();
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls task(0) … task(tasks - 1), each once, on the calling thread and at most `threads - 1`
  // workers; returns when all are done. Safe from several threads at once. Called from inside a
  // task it runs on the calling thread alone. Tasks must not throw.
  void run(int64_t tasks, int threads, FunctionRef<void(int64_t)> task);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace palimpsest
