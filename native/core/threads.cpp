#include "palimpsest/threads.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace palimpsest {
namespace {

// A worker that found nothing to do looks on for this long before it sleeps, long enough to bridge the gap
// between two operations of one training step: waking it takes some 30 µs. The second part of that time it
// offers its core to others at every look.
constexpr auto kSpin = std::chrono::microseconds(60);
constexpr auto kLinger = std::chrono::microseconds(300);
// A caller that got no help for so long, call after call, looks whether a worker waits for its own core.
constexpr auto kAlone = std::chrono::microseconds(200);
constexpr int kSlots = 32;  // calls of run() that may be under way at once

void relax() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits for a condition that another running thread is about to make true.
template <typename Condition>
void spin_until(const Condition& condition) {
  for (int i = 0; !condition(); ++i) {
    if (i < 2000) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

// Tasks lie in stretches, one a thread. A thread takes those of its own stretch and then helps with the
// others': from operation to operation the same core works on the same part of the data, which its cache
// still holds.
constexpr int kMostStretches = 16;

struct Job {
  Job(FunctionRef<void(int64_t)> work, int64_t count, int helpers_needed)
      : task(work), tasks(count), helpers_wanted(helpers_needed),
        stretches(static_cast<int>(std::min<int64_t>(helpers_needed + 1, kMostStretches))) {
    for (int i = 0; i < stretches; ++i) next[i].store(begin(i), std::memory_order_relaxed);
  }

  int64_t begin(int stretch) const { return tasks * stretch / stretches; }
  // Whether a task may be left that nobody has taken.
  bool open() const {
    for (int i = 0; i < stretches; ++i) {
      if (next[i].load(std::memory_order_relaxed) < begin(i + 1)) return true;
    }
    return false;
  }

  FunctionRef<void(int64_t)> task;
  int64_t tasks;
  int helpers_wanted;
  int stretches;
  std::atomic<int64_t> next[kMostStretches];
  std::atomic<int> helpers{0};  // workers that hold a pointer to this job
  std::atomic<bool> helped{false};
};

// Where a caller shows its job to the workers. The lock is held for a few instructions.
struct alignas(64) Slot {
  std::atomic<bool> locked{false};
  std::atomic<Job*> job{nullptr};

  void lock() {
    spin_until([&] { return !locked.exchange(true, std::memory_order_acquire); });
  }
  void unlock() { locked.store(false, std::memory_order_release); }
};

thread_local bool inside_task = false;

// `who`: 0 for the caller, from 1 on for the workers.
void work_on(Job& job, int who) {
  inside_task = true;
  for (int turn = 0; turn < job.stretches; ++turn) {
    const int stretch = (who + turn) % job.stretches;
    const int64_t end = job.begin(stretch + 1);
    while (job.next[stretch].load(std::memory_order_relaxed) < end) {
      const int64_t i = job.next[stretch].fetch_add(1, std::memory_order_relaxed);
      if (i < end) job.task(i);
    }
  }
  inside_task = false;
}

}  // namespace

int physical_cores() {
  static const int cores = [] {
    int count = std::max(1u, std::thread::hardware_concurrency());
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
      std::set<std::string> siblings;
      for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                           "/topology/thread_siblings_list");
        std::string list;
        if (!std::getline(file, list)) list = std::to_string(cpu);
        siblings.insert(list);
      }
      if (!siblings.empty()) count = static_cast<int>(siblings.size());
    }
#endif
    return count;
  }();
  return cores;
}

struct ThreadPool::Impl {
  std::array<Slot, kSlots> slots;
  std::atomic<uint32_t> epoch{0};  // changes when there may be work
  std::atomic<int> sleepers{0};
  std::atomic<bool> stop{false};
  std::atomic<int64_t> alone_since{0};
  std::mutex growth;
  std::atomic<int> size{0};
  std::vector<std::thread> workers;

  void grow(int wanted) {
    if (size.load(std::memory_order_acquire) >= wanted) return;
    const std::lock_guard guard(growth);
    while (static_cast<int>(workers.size()) < wanted) {
      workers.emplace_back([this, who = static_cast<int>(workers.size()) + 1] { loop(who); });
      size.store(static_cast<int>(workers.size()), std::memory_order_release);
    }
  }

  bool help(int who) {
    for (Slot& slot : slots) {
      if (slot.job.load(std::memory_order_relaxed) == nullptr) continue;
      slot.lock();
      Job* job = slot.job.load(std::memory_order_acquire);
      if (job != nullptr && job->open() &&
          job->helpers.load(std::memory_order_relaxed) < job->helpers_wanted) {
        job->helpers.fetch_add(1, std::memory_order_relaxed);
      } else {
        job = nullptr;
      }
      slot.unlock();
      if (job != nullptr) {
        job->helped.store(true, std::memory_order_relaxed);
        work_on(*job, who);
        job->helpers.fetch_sub(1, std::memory_order_release);
        return true;
      }
    }
    return false;
  }

  void loop(int who) {
    while (!stop.load(std::memory_order_relaxed)) {
      const uint32_t seen = epoch.load(std::memory_order_acquire);
      if (help(who)) continue;
      const auto idle_since = std::chrono::steady_clock::now();
      bool changed = false;
      while (!changed) {
        for (int i = 0; i < 64 && !changed; ++i) {
          relax();
          changed = epoch.load(std::memory_order_acquire) != seen;
        }
        const auto idle = std::chrono::steady_clock::now() - idle_since;
        if (idle > kLinger) break;
        if (idle > kSpin) std::this_thread::yield();
      }
      if (changed) continue;
      sleepers.fetch_add(1, std::memory_order_seq_cst);
      epoch.wait(seen, std::memory_order_seq_cst);
      sleepers.fetch_sub(1, std::memory_order_seq_cst);
    }
  }

  // Workers that the scheduler woke on the caller's core wait there until it rests, which it never does
  // while it does their work too: on two cores that took up to 50 ms. Barring the core for an instant
  // moves them.
  void spread() {
#if defined(__linux__)
    cpu_set_t allowed;
    const int here = sched_getcpu();
    if (here < 0 || sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
    cpu_set_t elsewhere = allowed;
    CPU_CLR(here, &elsewhere);
    const std::unique_lock guard(growth, std::try_to_lock);
    if (!guard.owns_lock()) return;
    for (std::thread& worker : workers) {
      cpu_set_t own;
      // Not where somebody bound the worker differently.
      if (pthread_getaffinity_np(worker.native_handle(), sizeof(own), &own) != 0 || !CPU_EQUAL(&own, &allowed)) continue;
      pthread_setaffinity_np(worker.native_handle(), sizeof(elsewhere), &elsewhere);
      pthread_setaffinity_np(worker.native_handle(), sizeof(allowed), &allowed);
    }
#endif
  }

  // After each shared call of run().
  void note(bool helped) {
    if (helped) {
      if (alone_since.load(std::memory_order_relaxed) != 0) alone_since.store(0, std::memory_order_relaxed);
      return;
    }
    const int64_t now = std::chrono::steady_clock::now().time_since_epoch().count();
    int64_t since = alone_since.load(std::memory_order_relaxed);
    if (since == 0) {
      alone_since.store(now, std::memory_order_relaxed);
    } else if (now - since > std::chrono::steady_clock::duration(kAlone).count() &&
               alone_since.compare_exchange_strong(since, now, std::memory_order_relaxed)) {
      spread();
    }
  }

  void announce() {
    epoch.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers.load(std::memory_order_seq_cst) > 0) epoch.notify_all();
  }
};

ThreadPool& ThreadPool::shared() {
  // Never destroyed: at exit another thread may still be inside run().
  static auto* const pool = new ThreadPool;
  return *pool;
}

ThreadPool::ThreadPool() : impl_(std::make_unique<Impl>()) {}

ThreadPool::~ThreadPool() {
  impl_->stop.store(true);
  impl_->epoch.fetch_add(1);
  impl_->epoch.notify_all();
  for (std::thread& worker : impl_->workers) worker.join();
}

void ThreadPool::run(int64_t tasks, int threads, FunctionRef<void(int64_t)> task) {
  const int helpers = static_cast<int>(std::min<int64_t>(threads, tasks)) - 1;
  Slot* slot = nullptr;
  Job job(task, tasks, helpers);
  if (helpers > 0 && !inside_task) {
    impl_->grow(helpers);
    for (Slot& candidate : impl_->slots) {
      Job* empty = nullptr;
      if (candidate.job.compare_exchange_strong(empty, &job, std::memory_order_acq_rel)) {
        slot = &candidate;
        break;
      }
    }
  }
  if (slot == nullptr) {  // one thread, nested, or every slot taken: the caller does it all
    for (int64_t i = 0; i < tasks; ++i) task(i);
    return;
  }
  impl_->announce();
  work_on(job, 0);
  slot->lock();
  slot->job.store(nullptr, std::memory_order_release);
  slot->unlock();
  spin_until([&] { return job.helpers.load(std::memory_order_acquire) == 0; });
  impl_->note(job.helped.load(std::memory_order_relaxed));
}

}  // namespace palimpsest
