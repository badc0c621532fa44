// A device for tests on machines that have no GPU: the CPU's kernels behind the plugins' door, on
// memory that only kernels can touch. It is protected whenever no kernel runs, so that an operation or
// the addon that looks at a device's memory by itself crashes, as it would give nonsense on a GPU.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "core/table_visit.h"
#include "palimpsest/context.h"
#include "palimpsest/cpu_features.h"
#include "palimpsest/plugin.h"

namespace palimpsest {
namespace {

// Far below what the machine has, so that tests run out of it quickly.
constexpr size_t kMemory = size_t{256} << 20;

class Arena {
 public:
  void* allocate(size_t bytes) {
    const std::lock_guard guard(mutex_);
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t size = (bytes + page - 1) / page * page;
    if (used_ + size > kMemory) return nullptr;
    void* data = mmap(nullptr, size, protection(), MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return nullptr;
    used_ += size;
    blocks_[data] = size;
    return data;
  }
  void release(void* pointer) {
    const std::lock_guard guard(mutex_);
    const auto found = blocks_.find(pointer);
    if (found == blocks_.end()) return;
    munmap(pointer, found->second);
    used_ -= found->second;
    blocks_.erase(found);
  }
  void open() {
    const std::lock_guard guard(mutex_);
    if (++users_ == 1) protect();
  }
  void close() {
    const std::lock_guard guard(mutex_);
    if (--users_ == 0) protect();
  }

 private:
  int protection() const { return users_ > 0 ? PROT_READ | PROT_WRITE : PROT_NONE; }
  void protect() {
    for (const auto& [data, size] : blocks_) mprotect(data, size, protection());
  }

  std::mutex mutex_;
  std::map<void*, size_t> blocks_;
  size_t used_ = 0;
  int users_ = 0;
};

Arena& arena() {
  static auto* const memory = new Arena;
  return *memory;
}

struct Opened {
  Opened() { arena().open(); }
  ~Opened() { arena().close(); }
};

// The CPU's kernel, run while the memory is open.
template <size_t kNumber, typename Kernel>
struct Guarded;
template <size_t kNumber, typename... Args>
struct Guarded<kNumber, Status (*)(Args...)> {
  static inline Status (*kernel)(Args...) = nullptr;
  static Status call(Args... args) {
    const Opened opened;
    try {
      return kernel(static_cast<Args&&>(args)...);
    } catch (const std::bad_alloc&) {
      return {Code::device, "out of memory"};
    }
  }
};

template <size_t kNumber, typename... Args>
struct Guarded<kNumber, void (*)(Args...)> {
  static inline void (*kernel)(Args...) = nullptr;
  static void call(Args... args) {
    const Opened opened;
    kernel(static_cast<Args&&>(args)...);
  }
};

const KernelTable& table() {
  static const KernelTable guarded = [] {
    KernelTable made = cpu_kernels(cpu_level());
    made.device = "test";
    each_kernel(made, []<size_t kNumber, typename Kernel>(std::integral_constant<size_t, kNumber>,
                                                          Kernel& kernel) {
      if (kernel == nullptr) return;
      Guarded<kNumber, Kernel>::kernel = kernel;
      kernel = Guarded<kNumber, Kernel>::call;
    });
    return made;
  }();
  return guarded;
}

int count(PluginText*) { return 2; }

// The second device is one that cannot be used.
void describe(int index, PluginDevice* device) {
  std::snprintf(device->name, sizeof(device->name), "test device %d", index);
  std::snprintf(device->features, sizeof(device->features), "cpu-kernels,protected-memory");
  device->memory_bytes = kMemory;
  if (index > 0) std::snprintf(device->reason, sizeof(device->reason), "made to be refused");
}

void* open(int index, PluginText* reason) {
  if (index == 0) return &arena();
  std::snprintf(reason->text, sizeof(reason->text), index == 1 ? "made to be refused" : "no such device");
  return nullptr;
}

bool clock(void*, int point, double* milliseconds, PluginText*) {
  static auto start = std::chrono::steady_clock::now();
  const auto now = std::chrono::steady_clock::now();
  *milliseconds = point == 0 ? 0 : std::chrono::duration<double, std::milli>(now - start).count();
  if (point == 0) start = now;
  return true;
}

bool move(void*, void* to, const void* from, size_t bytes, PluginText*) {
  const Opened opened;
  std::memcpy(to, from, bytes);
  return true;
}

}  // namespace
}  // namespace palimpsest

extern "C" __attribute__((visibility("default"))) const palimpsest::PluginApi* palimpsest_plugin() {
  using namespace palimpsest;
  static const PluginApi api = {
      kPluginAbi,
      sizeof(KernelTable),
      sizeof(Context),
      "test",
      count,
      describe,
      open,
      [](void*) {},
      [](void*) {},
      [](void*) { return &table(); },
      [](void*, size_t bytes) { return arena().allocate(bytes); },
      [](void*, void* pointer) { arena().release(pointer); },
      move,
      move,
      move,
      [](void*, PluginText*) { return true; },
      clock,
  };
  return &api;
}
