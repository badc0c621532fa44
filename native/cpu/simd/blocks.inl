// Streams through memory. Loops of many instructions keep few loads under way, and the hardware's
// prefetchers stop at the end of every page: what comes two blocks later is asked for beforehand.
// (GELU of what is not in the second-level cache: 1.45 ms before, 0.6 ms with it, 0.52 ms in cache.)
#pragma once

#include <cstdint>

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kBlockAhead = 256;

// body(begin, end) for blocks of [begin, end); ask(i) before, for an element of every cache line of T.
template <typename T, typename Ask, typename Body>
inline void in_blocks(int64_t begin, int64_t end, const Ask& ask, const Body& body) {
  for (int64_t at = begin; at < end; at += kBlockAhead) {
    const int64_t last = at + 3 * kBlockAhead < end ? at + 3 * kBlockAhead : end;
    for (int64_t i = at + 2 * kBlockAhead; i < last; i += static_cast<int64_t>(64 / sizeof(T))) ask(i);
    body(at, at + kBlockAhead < end ? at + kBlockAhead : end);
  }
}

// Asks for a row of n values, or its beginning, that comes after the one at hand.
template <typename T>
inline void ask_for_row(const T* x, int64_t n) {
  constexpr int64_t kMost = 8192 / static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < (n < kMost ? n : kMost); i += static_cast<int64_t>(64 / sizeof(T))) {
    __builtin_prefetch(x + i);
  }
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
