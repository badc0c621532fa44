// Scores as unsigned integers in the order in which they are chosen, and reading four of them at once.
#pragma once

#include "cuda/primitives.cuh"

namespace palimpsest::cuda {

// How scores are compared: by magnitude, and with the smallest first.
struct ScoreForm {
  bool magnitude, smallest;
};

template <typename T>
struct KeyOf {
  using Type = uint32_t;
};
template <>
struct KeyOf<double> {
  using Type = uint64_t;
};
template <typename T>
using Key = typename KeyOf<T>::Type;

template <typename U>
__host__ __device__ inline U ordered(U bits, bool magnitude) {
  constexpr U kSign = U(1) << (8 * sizeof(U) - 1);
  if (magnitude) bits &= ~kSign;
  if (bits == kSign) bits = 0;  // −0 is 0
  return bits ^ ((bits & kSign) != 0 ? ~U(0) : kSign);
}

// A score as it is compared, before the direction: a larger one has the larger key. NaN is told.
__host__ __device__ inline uint32_t plain_key(float x, bool magnitude, bool& nan) {
  union {
    float value;
    uint32_t bits;
  } u;
  u.value = x;
  nan = nan || x != x;
  return ordered(u.bits, magnitude);
}
__host__ __device__ inline uint32_t plain_key(BFloat16 x, bool magnitude, bool& nan) {
  return plain_key(widen(x), magnitude, nan);
}
__host__ __device__ inline uint64_t plain_key(double x, bool magnitude, bool& nan) {
  union {
    double value;
    uint64_t bits;
  } u;
  u.value = x;
  nan = nan || x != x;
  return ordered(u.bits, magnitude);
}
__host__ __device__ inline uint32_t plain_key(int32_t x, bool magnitude, bool&) {
  const auto bits = static_cast<uint32_t>(x);
  if (magnitude) return x < 0 ? 0u - bits : bits;
  return bits ^ 0x80000000u;
}

template <typename T>
__host__ __device__ inline Key<T> key_of(T x, const ScoreForm& form, bool& nan) {
  const Key<T> key = plain_key(x, form.magnitude, nan);
  return form.smallest ? ~key : key;
}

// The score that a key stands for, on the host.
template <typename T>
double score_of(Key<T> key, const ScoreForm& form) {
  if (form.smallest) key = ~key;
  if constexpr (sizeof(Key<T>) == 8) {
    constexpr uint64_t kSign = uint64_t{1} << 63;
    union {
      uint64_t bits;
      double value;
    } u;
    u.bits = key ^ ((key & kSign) != 0 ? kSign : ~uint64_t{0});
    return u.value;
  } else if constexpr (T(0.5) == T(0)) {
    return form.magnitude ? static_cast<double>(key) : static_cast<double>(static_cast<int32_t>(key ^ 0x80000000u));
  } else {
    union {
      uint32_t bits;
      float value;
    } u;
    u.bits = key ^ ((key & 0x80000000u) != 0 ? 0x80000000u : ~uint32_t{0});
    return u.value;
  }
}
template <>
inline double score_of<BFloat16>(uint32_t key, const ScoreForm& form) {
  return score_of<float>(key, form);
}

// Four neighbours of x from i on; those behind `end` have no meaning. One access where x allows it.
template <typename T>
struct alignas(4 * sizeof(T)) Quad {
  T v[4];
};
template <typename T>
__device__ inline Quad<T> quad_at(const T* x, int64_t i, int64_t end, bool even) {
  if (even && i + 4 <= end) return *reinterpret_cast<const Quad<T>*>(x + i);
  Quad<T> q;
#pragma unroll
  for (int j = 0; j < 4; ++j) q.v[j] = i + j < end ? x[i + j] : T{};
  return q;
}
template <typename T>
__device__ inline bool even_quads(const T* x) {
  return reinterpret_cast<uintptr_t>(x) % sizeof(Quad<T>) == 0;
}

// Four bits of each lane as the 32-bit words that 128 neighbours make; lane 8·w holds word w.
__device__ inline uint32_t words_of_nibbles(uint32_t nibble) {
  uint32_t bits = nibble << (4 * (threadIdx.x % 8));
  for (int step = 1; step < 8; step *= 2) bits |= __shfl_xor_sync(kAllLanes, bits, step);
  return bits;
}

Status sort_rows(Context&, const SortRowsArgs&);
Status magnitude_counts(Context&, const MagnitudeCountsArgs&);

}  // namespace palimpsest::cuda
