// Walking a mask beside float32 vectors: between entries and the compact list of those that are on.
// Each word costs a loop over its bits; where AVX-512 is there and many are on, a compression.

#include <cstdint>

#include "palimpsest/context.h"
#include "palimpsest/kernels/masks.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kMaskBlock = 4096;  // entries that a compact walk takes at once

inline int64_t popcount(uint64_t word) { return __builtin_popcountll(word); }

inline int64_t popcount(const uint64_t* words, int64_t count) {
  int64_t total = 0;
  for (int64_t i = 0; i < count; ++i) total += popcount(words[i]);
  return total;
}

// The loop over bits ends where the processor does not expect it: few bits make up for that.
constexpr int64_t kFewBits = 2;
#if defined(__AVX512F__)
inline __mmask16 first_bits(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
// Bits that are on in the parts of 16 before a part: no part waits for the one before.
inline int64_t before(uint64_t bits, int part) { return popcount(bits & ((uint64_t{1} << (16 * part)) - 1)); }
#endif

// A word's entries are asked for some words before: many are left out, which the hardware's prefetchers
// do not follow well.
inline void ask_for_word(const float* x) {
  constexpr int64_t kWordsAhead = 8;
  for (int line = 0; line < 4; ++line) __builtin_prefetch(x + 64 * kWordsAhead + 16 * line);
}

// compact ← the entries of x (words·64 long at most) that are on; returns how many.
inline int64_t gather_bits(const float* x, const uint64_t* words, int64_t count, float* compact) {
  int64_t taken = 0;
  for (int64_t w = 0; w < count; ++w, x += 64) {
    uint64_t bits = words[w];
    ask_for_word(x);
#if defined(__AVX512F__)
    if (popcount(bits) > kFewBits) {
      for (int part = 0; part < 4; ++part) {
        const auto mask = static_cast<__mmask16>(bits >> (16 * part));
        const __m512 lanes = _mm512_maskz_compress_ps(mask, _mm512_maskz_loadu_ps(mask, x + 16 * part));
        _mm512_mask_storeu_ps(compact + taken + before(bits, part), first_bits(popcount(mask)), lanes);
      }
      taken += popcount(bits);
      continue;
    }
#endif
    while (bits != 0) {
      compact[taken++] = x[__builtin_ctzll(bits)];
      bits &= bits - 1;
    }
  }
  return taken;
}

// x ← compact where the mask is on.
inline int64_t scatter_bits(float* x, const uint64_t* words, int64_t count, const float* compact) {
  int64_t taken = 0;
  for (int64_t w = 0; w < count; ++w, x += 64) {
    uint64_t bits = words[w];
#if defined(__AVX512F__)
    if (popcount(bits) > kFewBits) {
      for (int part = 0; part < 4; ++part) {
        const auto mask = static_cast<__mmask16>(bits >> (16 * part));
        const __m512 lanes = _mm512_maskz_expand_ps(
            mask, _mm512_maskz_loadu_ps(first_bits(popcount(mask)), compact + taken + before(bits, part)));
        _mm512_mask_storeu_ps(x + 16 * part, mask, lanes);
      }
      taken += popcount(bits);
      continue;
    }
#endif
    while (bits != 0) {
      x[__builtin_ctzll(bits)] = compact[taken++];
      bits &= bits - 1;
    }
  }
  return taken;
}

// Calls body(first entry, entries, words, their count, place of their first in the compact vector) for
// blocks of kMaskBlock entries on all threads.
template <typename Body>
void for_mask_blocks(Context& context, int64_t n, const uint64_t* mask, const Body& body) {
  const Workspace::Scope scope(context.workspace);
  const int64_t blocks = (n + kMaskBlock - 1) / kMaskBlock;
  auto* starts = context.workspace.template take<int64_t>(blocks + 1);
  constexpr int64_t kGroup = 16;  // blocks a task
  const auto words_of = [&](int64_t block) {
    return mask_words(n - block * kMaskBlock < kMaskBlock ? n - block * kMaskBlock : kMaskBlock);
  };
  context.parallel_chunks(blocks, 16 * kGroup, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      starts[b + 1] = popcount(mask + b * (kMaskBlock / 64), words_of(b));
    }
  });
  starts[0] = 0;
  for (int64_t b = 0; b < blocks; ++b) starts[b + 1] += starts[b];
  context.parallel_chunks(blocks, kGroup, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * kMaskBlock;
      const int64_t entries = n - first < kMaskBlock ? n - first : kMaskBlock;
      if (starts[b + 1] == starts[b]) continue;
      body(first, entries, mask + first / 64, words_of(b), starts[b]);
    }
  });
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
