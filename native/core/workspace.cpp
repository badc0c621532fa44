#include "palimpsest/workspace.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace palimpsest {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSmallestBlock = size_t{1} << 20;

constexpr size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

void* allocate_host(void*, size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
  void* const data = std::aligned_alloc(alignment, round_up(bytes, alignment));
  // Panels are read line by line across many pages. Whole huge pages only: one is resident at its first byte.
  if (data != nullptr && alignment == kHugePage) want_huge_pages(data, bytes);
  return data;
}

void release_host(void*, void* pointer) { std::free(pointer); }

}  // namespace

void want_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#if defined(__linux__)
  const auto begin = round_up(reinterpret_cast<uintptr_t>(data), kHugePage);
  const auto end = (reinterpret_cast<uintptr_t>(data) + bytes) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

const MemorySource kHostMemory = {allocate_host, release_host};

Workspace::Scope::Scope(Workspace& workspace)
    : workspace_(workspace), block_(workspace.block_), used_(workspace.used_) {}

Workspace::Scope::~Scope() {
  workspace_.block_ = block_;
  workspace_.used_ = used_;
}

Workspace::~Workspace() {
  for (const Block& block : blocks_) source_.release(source_.owner, block.data);
}

Workspace& Workspace::local() {
  thread_local Workspace workspace;
  return workspace;
}

void* Workspace::take_bytes(size_t bytes) {
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  bytes = std::max(round_up(bytes, kAlignment), kAlignment);
  while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].size) {
    if (used_ == 0) {
      // An untouched block that is too small is of no use to anyone above: replace it.
      source_.release(source_.owner, blocks_[block_].data);
      blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(block_));
    } else {
      ++block_;
      used_ = 0;
    }
  }
  if (block_ == blocks_.size()) {
    const size_t size = std::max(bytes, kSmallestBlock);
    blocks_.reserve(blocks_.size() + 1);
    void* data = source_.allocate(source_.owner, size);
    if (data == nullptr) throw std::bad_alloc();
    blocks_.push_back({static_cast<std::byte*>(data), size});
    used_ = 0;
  }
  void* result = blocks_[block_].data + used_;
  used_ += bytes;
  return result;
}

void Workspace::reserve(size_t bytes) {
  const Scope scope(*this);
  take_bytes(bytes);
}

size_t Workspace::reserved_bytes() const {
  size_t sum = 0;
  for (const Block& block : blocks_) sum += block.size;
  return sum;
}

void Workspace::trim() {
  for (const Block& block : blocks_) source_.release(source_.owner, block.data);
  blocks_.clear();
  block_ = 0;
  used_ = 0;
}

}  // namespace palimpsest
