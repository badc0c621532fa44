// Reusable scratch memory: a stack of 64-byte aligned blocks that is kept between calls, so that a
// step that ran once allocates nothing when it runs again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace palimpsest {

// Where a workspace gets its blocks from: the host's heap, or a device's memory.
struct MemorySource {
  void* (*allocate)(void* owner, size_t bytes);  // null when there is none
  void (*release)(void* owner, void* pointer);
  void* owner = nullptr;
};
extern const MemorySource kHostMemory;

// Asks for huge pages under memory that has not been touched yet, where they are given on request only.
void want_huge_pages(void* data, size_t bytes);

class Workspace {
 public:
  explicit Workspace(MemorySource source = kHostMemory) : source_(source) {}
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // The calling thread's own host workspace: packing buffers inside a task come from here.
  static Workspace& local();

  // Everything taken while a Scope lives is given back when it ends.
  class Scope {
   public:
    // Not inline: kernels of several instruction sets share them (cpu/simd/README.md).
    explicit Scope(Workspace& workspace);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    size_t block_;
    size_t used_;
  };

  // Uninitialised memory for `count` elements. Throws std::bad_alloc when there is none.
  template <typename T>
  T* take(int64_t count) {
    return static_cast<T*>(take_bytes(static_cast<size_t>(count) * sizeof(T)));
  }
  void* take_bytes(size_t bytes);

  // Makes sure that `bytes` more can be taken, in one piece, without asking the source again. Throws
  // std::bad_alloc: what follows can then not run out of memory half way.
  void reserve(size_t bytes);

  size_t reserved_bytes() const;
  // Gives all blocks back. Only when nothing is taken.
  void trim();

 private:
  struct Block {
    std::byte* data;
    size_t size;
  };
  MemorySource source_;
  std::vector<Block> blocks_;
  size_t block_ = 0;  // index of the block in use
  size_t used_ = 0;   // bytes used of it
};

}  // namespace palimpsest
