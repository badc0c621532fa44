#include <atomic>
#include <thread>
#include <vector>

#include "check.h"
#include "palimpsest/threads.h"

using palimpsest::ThreadPool;

TEST("threads: every task runs exactly once, whatever the number of threads") {
  for (int threads : {1, 2, 3, 5, 16}) {
    for (int64_t tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(tasks));
      ThreadPool::shared().run(tasks, threads, [&](int64_t i) { ++seen[static_cast<size_t>(i)]; });
      for (const std::atomic<int>& count : seen) CHECK(count == 1);
    }
  }
}

TEST("threads: a task may call run() again") {
  std::atomic<int> sum{0};
  ThreadPool::shared().run(8, 3, [&](int64_t) {
    ThreadPool::shared().run(16, 3, [&](int64_t i) { sum += static_cast<int>(i); });
  });
  CHECK(sum == 8 * 120);
}

TEST("threads: several callers share the pool") {
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 40; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        ThreadPool::shared().run(5, 2, [&](int64_t i) { sum += i; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(sum == 40 * 200 * 10);
}
