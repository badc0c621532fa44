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

// A block of kMaskBlock entries of one mask of a list: its entries are [first, first + entries), those
// that are on stand from `start` on in the compact vector.
struct MaskBlock {
  int64_t tensor, first, entries;
  const uint64_t* words;
  int64_t start;

  int64_t word_count() const { return mask_words(entries); }
};

// Calls body(block) on all threads for the blocks of all masks of a list (tensors with `n` and `mask`,
// null for one that has none) in which something is on; body(block, number) where it asks for the block's
// number, below mask_blocks().
template <typename Tensor>
int64_t mask_blocks(const Tensor* list, int64_t count) {
  int64_t blocks = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (list[i].mask != nullptr) blocks += (list[i].n + kMaskBlock - 1) / kMaskBlock;
  }
  return blocks;
}
template <typename Tensor, typename Body>
void for_mask_blocks(Context& context, const Tensor* list, int64_t count, const Body& body) {
  const int64_t blocks = mask_blocks(list, count);
  if (blocks == 0) return;
  const Workspace::Scope scope(context.workspace);
  auto* all = context.workspace.template take<MaskBlock>(blocks);
  constexpr int64_t kGroup = 16;  // blocks a task
  int64_t at = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (list[i].mask == nullptr) continue;
    for (int64_t first = 0; first < list[i].n; first += kMaskBlock) {
      const int64_t entries = list[i].n - first < kMaskBlock ? list[i].n - first : kMaskBlock;
      all[at++] = {i, first, entries, list[i].mask + first / 64, 0};
    }
  }
  context.parallel_chunks(blocks, 16 * kGroup, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) all[b].start = popcount(all[b].words, all[b].word_count());
  });
  int64_t before = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    if (all[b].first == 0) before = 0;
    const int64_t on = all[b].start;
    all[b].start = before;
    before += on;
    if (on == 0) all[b].words = nullptr;
  }
  context.parallel_chunks(blocks, kGroup, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      if (all[b].words == nullptr) continue;
      if constexpr (requires { body(all[b], b); }) {
        body(all[b], b);
      } else {
        body(all[b]);
      }
    }
  });
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
