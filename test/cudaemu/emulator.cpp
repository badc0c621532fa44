// Fibers, barriers and memory of the emulated device.

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cudaemu {

char* shared = nullptr;

namespace {

constexpr size_t kStack = 256 * 1024;
constexpr int kBarriers = 16;

struct Fiber {
  std::unique_ptr<char[]> stack{new char[kStack]};
  ucontext_t start;
  jmp_buf at;
  bool started = false;
  bool done = false;
  uint3 index;
};

struct Warp {
  uint64_t given[32];
  const void* shown[32];
  int arrived = 0;
  int left = 0;
  unsigned phase = 0;
};

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Warp> warps;
const std::function<void()>* body = nullptr;
jmp_buf scheduler;
size_t current = 0;
size_t count = 0;
struct Barrier {
  int arrived = 0;
  unsigned phase = 0;
} barriers[kBarriers];

void entry() {
  for (;;) {
    (*body)();
    fibers[current]->done = true;
    if (_setjmp(fibers[current]->at) == 0) _longjmp(scheduler, 1);
  }
}

void resume(size_t i) {
  current = i;
  Fiber& fiber = *fibers[i];
  threadIdx = fiber.index;
  if (_setjmp(scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.at, 1);
  fiber.started = true;
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack.get();
  fiber.start.uc_stack.ss_size = kStack;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, entry, 0);
  setcontext(&fiber.start);
}

}  // namespace

void yield() {
  if (_setjmp(fibers[current]->at) == 0) _longjmp(scheduler, 1);
}

void barrier(int number, int threads) {
  Barrier& b = barriers[number];
  const unsigned phase = b.phase;
  if (++b.arrived == threads) {
    b.arrived = 0;
    ++b.phase;
    return;
  }
  while (b.phase == phase) yield();
}

int lane() { return static_cast<int>(current % 32); }

namespace {

void meet(Warp& warp) {
  const size_t first = current / 32 * 32;
  const int members = static_cast<int>(count - first < 32 ? count - first : 32);
  const unsigned phase = warp.phase;
  if (++warp.arrived == members) {
    warp.arrived = 0;
    ++warp.phase;
  } else {
    while (warp.phase == phase) yield();
  }
}

}  // namespace

uint64_t exchange(uint64_t value, int from) {
  Warp& warp = warps[current / 32];
  warp.given[lane()] = value;
  meet(warp);
  const uint64_t result = warp.given[from];
  meet(warp);
  return result;
}

unsigned vote(bool yes) {
  Warp& warp = warps[current / 32];
  warp.given[lane()] = yes;
  meet(warp);
  unsigned bits = 0;
  const size_t members = std::min<size_t>(32, count - current / 32 * 32);
  for (size_t i = 0; i < members; ++i) bits |= static_cast<unsigned>(warp.given[i]) << i;
  meet(warp);
  return bits;
}

const void* const* show(const void* mine) {
  Warp& warp = warps[current / 32];
  warp.shown[lane()] = mine;
  meet(warp);
  return warp.shown;
}

void run(dim3 grid, dim3 size, size_t shared_bytes, const std::function<void()>& kernel) {
  static std::mutex mutex;
  const std::lock_guard guard(mutex);
  std::vector<char> memory(shared_bytes + 1024, static_cast<char>(0x7f));
  shared = memory.data() + (1024 - reinterpret_cast<uintptr_t>(memory.data()) % 1024) % 1024;
  blockDim = size;
  gridDim = grid;
  body = &kernel;
  count = static_cast<size_t>(size.x) * size.y * size.z;
  while (fibers.size() < count) fibers.push_back(std::make_unique<Fiber>());
  for (size_t i = 0; i < count; ++i) {
    fibers[i]->index = {static_cast<unsigned>(i % size.x), static_cast<unsigned>(i / size.x % size.y),
                        static_cast<unsigned>(i / size.x / size.y)};
  }
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        warps.assign((count + 31) / 32, Warp{});
        for (Barrier& b : barriers) b = {};
        for (size_t i = 0; i < count; ++i) fibers[i]->done = false;
        for (size_t left = count; left > 0;) {
          left = 0;
          for (size_t i = 0; i < count; ++i) {
            if (fibers[i]->done) continue;
            resume(i);
            if (!fibers[i]->done) ++left;
          }
        }
      }
    }
  }
}

int capability() {
  static const int value = [] {
    const char* text = std::getenv("PALIMPSEST_CUDAEMU_CAPABILITY");
    return text == nullptr ? 90 : std::atoi(text);
  }();
  return value;
}

double milliseconds() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void* encode_tiled() { return reinterpret_cast<void*>(encode); }

namespace {
std::mutex memory_mutex;
std::map<void*, size_t> allocations;
size_t used = 0;
}  // namespace

cudaError_t allocate(void** pointer, size_t bytes) {
  const std::lock_guard guard(memory_mutex);
  if (used + bytes > size_t{256} << 20) return cudaErrorMemoryAllocation;
  *pointer = std::aligned_alloc(1024, (bytes + 1023) / 1024 * 1024);
  // What nobody wrote shall be noticed: NaN as float32, float64 and bfloat16.
  std::memset(*pointer, 0xff, (bytes + 1023) / 1024 * 1024);
  allocations[*pointer] = bytes;
  used += bytes;
  return cudaSuccess;
}

void release(void* pointer) {
  const std::lock_guard guard(memory_mutex);
  const auto found = allocations.find(pointer);
  if (found == allocations.end()) return;
  used -= found->second;
  allocations.erase(found);
  std::free(pointer);
}

}  // namespace cudaemu
