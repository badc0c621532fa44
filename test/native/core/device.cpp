#include "palimpsest/device.h"

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "core/table_visit.h"

using namespace palimpsest;

namespace {

// A device whose memory is the host's, that counts.
struct Fake {
  int live = 0;
  size_t capacity = 8192;
  std::map<void*, size_t> sizes;
} fake;

const PluginApi& fake_api() {
  static const PluginApi api = [] {
    PluginApi made{};
    made.kind = "fake";
    made.allocate = [](void*, size_t bytes) -> void* {
      if (bytes > fake.capacity) return nullptr;
      void* pointer = std::malloc(bytes);
      fake.capacity -= bytes;
      fake.sizes[pointer] = bytes;
      ++fake.live;
      return pointer;
    };
    made.release = [](void*, void* pointer) {
      fake.capacity += fake.sizes[pointer];
      fake.sizes.erase(pointer);
      --fake.live;
      std::free(pointer);
    };
    return made;
  }();
  return api;
}

}  // namespace

TEST("device memory: reuses blocks of a size class, trims when the device is full, keeps its limit") {
  fake = {};
  {
    DeviceMemory memory(fake_api(), nullptr);
    void* a = memory.allocate(1000);
    CHECK(a != nullptr && memory.statistics().in_use == 1024);
    memory.release(a);
    CHECK(memory.statistics().in_use == 0 && memory.statistics().cached == 1024);
    CHECK(memory.allocate(900) == a);
    CHECK(memory.statistics().reused == 1);
    memory.release(a);
    // The device has no room beside the cached block.
    void* b = memory.allocate(8000);
    CHECK(b != nullptr && memory.statistics().cached == 0);
    CHECK(memory.allocate(1) == nullptr);
    memory.release(b);
    memory.release(b);  // a second time: nothing
    memory.set_limit(4096);
    CHECK(memory.statistics().cached == 0);
    CHECK(memory.allocate(5000) == nullptr);
    void* c = memory.allocate(4096);
    CHECK(c != nullptr && memory.allocate(1) == nullptr);
    CHECK(memory.statistics().peak == 8192);
    memory.release(c);
    CHECK(memory.allocate(SIZE_MAX) == nullptr);
  }
  CHECK(fake.live == 0);
}

TEST("table_visit: visits every kernel once") {
  KernelTable table = cpu_kernels(CpuLevel::scalar);
  std::map<size_t, int> numbers;
  size_t kernels = 0;
  each_kernel(table, [&]<size_t kNumber, typename Kernel>(std::integral_constant<size_t, kNumber>,
                                                          Kernel&) {
    ++numbers[kNumber];
    ++kernels;
  });
  CHECK(numbers.size() == kernels);
  // All but the name, the operation counts of the three arithmetic probes, and the flags of gemm and optim
  // (padded to a word each).
  constexpr size_t kOthers = sizeof(char*) + 3 * sizeof(int64_t) + 2 * sizeof(void*);
  CHECK(kernels * sizeof(void*) == sizeof(KernelTable) - kOthers);
}

TEST("plugin: a file that is none, or is missing, is refused with a reason") {
  const PluginApi* api = nullptr;
  const Status missing = open_plugin("/nonexistent/plugin.so", api);
  CHECK(missing.code() == Code::device && !missing.message().empty() && api == nullptr);
  CHECK(!open_plugin("libm.so.6", api).ok() && api == nullptr);
}
