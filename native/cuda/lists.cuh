// One launch for many tensors: their descriptions travel in the kernel's parameters, and blocks find
// their tensor by the number of pieces before it.
#pragma once

#include "cuda/primitives.cuh"

namespace palimpsest::cuda {

constexpr int kListThreads = 256;
constexpr int64_t kPiece = 8192;  // elements a block

template <typename Tensor>
struct List {
  // What fits 4000 bytes of parameters beside a kernel's own.
  static constexpr int kMost = static_cast<int>((4000 - 160) / (sizeof(Tensor) + sizeof(int64_t)));
  int count;
  int64_t base;  // number of the first tensor in the caller's list
  int64_t first[kMost + 1];  // pieces before each tensor
  Tensor tensors[kMost];
};

// A list with a kernel's numbers: what changes from step to step. Kernels copy what they use of it to registers.
template <typename Tensor, typename Factors>
struct Listed {
  List<Tensor> list;
  Factors factors;
};
struct NoFactors {};

// The factor of gradients; NaN: nothing may be changed.
__device__ inline double value_of(const GradScale& scale) { return scale.at != nullptr ? *scale.at : scale.value; }
// Whether `at` (GradScale::at) forbids it.
__device__ inline bool forbidden(const double* at) { return at != nullptr && *at != *at; }

// The tensor that a piece belongs to: the last one whose first piece is not after it.
template <typename Tensor>
__host__ __device__ inline int tensor_of(const List<Tensor>& list, int64_t piece) {
  int low = 0;
  int high = list.count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (list.first[middle] <= piece) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// Calls start(list, pieces) for as many lists as it takes; tensors without elements are left out.
template <typename Tensor, typename Start>
Status each_list(const Tensor* tensors, int64_t count, const Start& start) {
  for (int64_t next = 0; next < count;) {
    List<Tensor> list{};
    list.base = next;
    list.first[0] = 0;
    for (; next < count && list.count < List<Tensor>::kMost; ++next) {
      list.tensors[list.count] = tensors[next];
      list.first[list.count + 1] = list.first[list.count] + ceil_div(tensors[next].n, kPiece);
      ++list.count;
    }
    if (list.first[list.count] > 0) PALIMPSEST_TRY(start(list, list.first[list.count]));
  }
  return {};
}

// ---- four elements at a time -----------------------------------------------------------------------

struct Four {
  float v[4];
};
__device__ inline bool aligned16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }
__device__ inline Four load4(const float* p) {
  const float4 x = *reinterpret_cast<const float4*>(p);
  return {{x.x, x.y, x.z, x.w}};
}
__device__ inline Four load4(const BFloat16* p) {
  const uint2 x = *reinterpret_cast<const uint2*>(p);
  return {{widen(BFloat16{static_cast<uint16_t>(x.x)}), widen(BFloat16{static_cast<uint16_t>(x.x >> 16)}),
           widen(BFloat16{static_cast<uint16_t>(x.y)}), widen(BFloat16{static_cast<uint16_t>(x.y >> 16)})}};
}
__device__ inline void store4(float* p, const Four& x) {
  *reinterpret_cast<float4*>(p) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
}

// Stochastic rounding as in native/cpu/optim/kernels.inl: the same bits for the same element and step.
__host__ __device__ inline uint32_t noise(int64_t i, uint32_t seed) {
  uint32_t x = static_cast<uint32_t>(i) * 0x9E3779B1u + seed;
  x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
  x = (x ^ (x >> 13)) * 0xC2B2AE35u;
  return x ^ (x >> 16);
}
__host__ __device__ inline uint32_t seed_of(int64_t step, int64_t tensor) {
  return noise(step, static_cast<uint32_t>(tensor) * 0x27D4EB2Fu + 0x165667B1u);
}
__device__ inline float load_state(const float* p) { return *p; }
__device__ inline float load_state(const BFloat16* p) { return widen(*p); }
__device__ inline float rounded(const float*, float x, uint32_t) { return x; }
// The value that a bf16 holds after rounding up with the probability of the part cut off.
__device__ inline BFloat16 rounded(const BFloat16*, float x, uint32_t half) {
  union {
    float value;
    uint32_t bits;
  } u;
  u.value = x;
  return {static_cast<uint16_t>((u.bits + half) >> 16)};
}
__device__ inline void store_state(float* p, float x, uint32_t half) { *p = rounded(p, x, half); }
__device__ inline void store_state(BFloat16* p, float x, uint32_t half) { *p = rounded(p, x, half); }
__device__ inline void store4(BFloat16* p, const BFloat16 (&x)[4]) {
  uint2 bits;
  bits.x = x[0].bits | static_cast<uint32_t>(x[1].bits) << 16;
  bits.y = x[2].bits | static_cast<uint32_t>(x[3].bits) << 16;
  *reinterpret_cast<uint2*>(p) = bits;
}
__device__ inline void store4(float* p, const float (&x)[4]) {
  *reinterpret_cast<float4*>(p) = make_float4(x[0], x[1], x[2], x[3]);
}

}  // namespace palimpsest::cuda
