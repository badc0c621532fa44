#include <algorithm>
#include <bit>

#include "palimpsest/device.h"

namespace palimpsest {
namespace {

// Eight sizes between two powers of two: a request fits a block of its size class and wastes at most
// an eighth of it.
size_t size_class(size_t bytes) {
  constexpr size_t kSmallest = 512;
  if (bytes <= kSmallest) return kSmallest;
  const size_t step = std::max(std::bit_floor(bytes - 1) / 8, kSmallest);
  return (bytes + step - 1) / step * step;
}

}  // namespace

void* DeviceMemory::allocate(size_t bytes) {
  if (bytes > SIZE_MAX / 4) return nullptr;
  const std::lock_guard guard(mutex_);
  const size_t size = size_class(bytes);
  ++statistics_.requests;
  void* pointer = nullptr;
  if (const auto shelf = free_.find(size); shelf != free_.end() && !shelf->second.empty()) {
    pointer = shelf->second.back();
    shelf->second.pop_back();
    statistics_.cached -= size;
    ++statistics_.reused;
  } else {
    const auto fits = [&] {
      return statistics_.in_use + statistics_.cached + size <= statistics_.limit;
    };
    if (!fits()) trim_locked();
    if (!fits()) return nullptr;
    pointer = api_.allocate(device_, size);
    if (pointer == nullptr && statistics_.cached > 0) {
      trim_locked();
      pointer = api_.allocate(device_, size);
    }
    if (pointer == nullptr) return nullptr;
  }
  handed_out_[pointer] = size;
  statistics_.in_use += size;
  statistics_.peak = std::max(statistics_.peak, statistics_.in_use);
  return pointer;
}

void DeviceMemory::release(void* pointer) {
  if (pointer == nullptr) return;
  const std::lock_guard guard(mutex_);
  const auto found = handed_out_.find(pointer);
  if (found == handed_out_.end()) return;
  free_[found->second].push_back(pointer);
  statistics_.in_use -= found->second;
  statistics_.cached += found->second;
  handed_out_.erase(found);
}

void DeviceMemory::trim() {
  const std::lock_guard guard(mutex_);
  trim_locked();
}

void DeviceMemory::trim_locked() {
  for (const auto& [size, blocks] : free_) {
    for (void* block : blocks) api_.release(device_, block);
  }
  free_.clear();
  statistics_.cached = 0;
}

void DeviceMemory::set_limit(size_t bytes) {
  const std::lock_guard guard(mutex_);
  statistics_.limit = bytes;
  if (statistics_.in_use + statistics_.cached > bytes) trim_locked();
}

MemoryStatistics DeviceMemory::statistics() const {
  const std::lock_guard guard(mutex_);
  return statistics_;
}

}  // namespace palimpsest
