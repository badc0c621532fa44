#include "palimpsest/workspace.h"

#include <cstdint>
#include <cstring>
#include <new>

#include "check.h"

using palimpsest::Workspace;

TEST("workspace: aligned, disjoint, and reused by the next call") {
  Workspace workspace;
  size_t after_first = 0;
  for (int round = 0; round < 3; ++round) {
    const Workspace::Scope scope(workspace);
    char* a = workspace.take<char>(1000);
    float* b = workspace.take<float>(3 << 20);
    char* c = workspace.take<char>(1);
    CHECK(reinterpret_cast<uintptr_t>(a) % 64 == 0);
    CHECK(reinterpret_cast<uintptr_t>(b) % 64 == 0);
    std::memset(a, 1, 1000);
    std::memset(b, 2, (3 << 20) * sizeof(float));
    std::memset(c, 3, 1);
    CHECK(a[0] == 1 && a[999] == 1);
    if (round == 0) after_first = workspace.reserved_bytes();
    CHECK(workspace.reserved_bytes() == after_first);
  }
  workspace.trim();
  CHECK(workspace.reserved_bytes() == 0);
}

TEST("workspace: an impossible size throws and leaves the workspace usable") {
  Workspace workspace;
  bool thrown = false;
  try {
    workspace.take_bytes(SIZE_MAX - 100);
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  CHECK(thrown);
  CHECK(workspace.take<int>(4) != nullptr);
}
