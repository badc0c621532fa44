// Places of entries in the compact vectors of masks (kernels/masks.h). A block takes kPiece entries,
// one 32-bit word a thread: a sum over the block gives every word the number of entries before it, a
// population count every entry of a word its place.
#pragma once

#include "cuda/lists.cuh"

namespace palimpsest::cuda {

static_assert(kPiece == 32 * kListThreads, "a word a thread");

// Masks are read as 32-bit words: little-endian, so that word i has the entries from 32·i.
__host__ __device__ inline const uint32_t* half_words(const uint64_t* mask) {
  return reinterpret_cast<const uint32_t*>(mask);
}

// This thread's word of the piece that begins at `begin`; 0 behind the end.
__device__ inline uint32_t word_of_piece(const uint64_t* mask, int64_t n, int64_t begin) {
  const int64_t at = begin + 32 * static_cast<int64_t>(threadIdx.x);
  return at < n ? half_words(mask)[at / 32] : 0;
}

struct PieceMask {
  uint32_t words[kListThreads];
  int before[kListThreads];
};

// Fills `piece` for all threads of the block; returns how many entries are on.
__device__ inline int load_piece(PieceMask& piece, const uint64_t* mask, int64_t n, int64_t begin) {
  const uint32_t word = word_of_piece(mask, n, begin);
  int total = 0;
  const int before = block_exclusive_sum<kListThreads>(__popc(word), total);
  piece.words[threadIdx.x] = word;
  piece.before[threadIdx.x] = before;
  __syncthreads();
  return total;
}

// body(entry of the piece, place among those of the piece that are on) for every entry that is on; a
// warp takes the entries of a word.
template <typename Body>
__device__ inline void each_on(const PieceMask& piece, const Body& body) {
  const uint32_t lane = threadIdx.x % 32;
  for (int w = static_cast<int>(threadIdx.x / 32); w < kListThreads; w += kListThreads / 32) {
    const uint32_t word = piece.words[w];
    if ((word >> lane & 1u) == 0) continue;
    body(32 * w + static_cast<int>(lane), piece.before[w] + __popc(word & ((1u << lane) - 1u)));
  }
}

// starts[i] ← Σ_{k<i} starts[k] over `count` numbers, by one block; returns the sum of all.
template <int kThreads>
__device__ inline int64_t exclusive_sum(int64_t* starts, int64_t count) {
  constexpr int kEach = 8;
  int64_t carry = 0;
  for (int64_t begin = 0; begin < count; begin += kThreads * kEach) {
    const int64_t first = begin + kEach * static_cast<int64_t>(threadIdx.x);
    int64_t own[kEach];
    int64_t mine = 0;
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      own[j] = first + j < count ? starts[first + j] : 0;
      mine += own[j];
    }
    int64_t total = 0;
    int64_t before = carry + block_exclusive_sum<kThreads>(mine, total);
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      if (first + j < count) starts[first + j] = before;
      before += own[j];
    }
    carry += total;
  }
  return carry;
}

}  // namespace palimpsest::cuda
