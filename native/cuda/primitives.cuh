// Warp and block building blocks.
#pragma once

#include "cuda/common.cuh"

namespace palimpsest::cuda {

constexpr unsigned kAllLanes = 0xffffffffu;

template <typename T>
__device__ inline T* dynamic_shared() {
#ifdef PALIMPSEST_CUDA_EMULATED
  return reinterpret_cast<T*>(cudaemu::shared);
#else
  extern __shared__ __align__(1024) char palimpsest_shared[];
  return reinterpret_cast<T*>(palimpsest_shared);
#endif
}

template <typename T>
__device__ inline T warp_sum(T x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}
template <typename T>
__device__ inline T warp_max(T x) {
  for (int step = 16; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, x, step);
    x = other > x ? other : x;
  }
  return x;
}

// The sum over a block of kThreads (a multiple of 32), in every thread. Fixed order: warps, then
// lanes. Ends with a barrier, so that it may be called again.
template <int kThreads, typename T>
__device__ inline T block_sum(T x) {
  __shared__ T partial[kThreads / 32];
  x = warp_sum(x);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (threadIdx.x % 32 == 0) partial[warp] = x;
  __syncthreads();
  T total = T(0);
  for (int i = 0; i < kThreads / 32; ++i) total += partial[i];
  __syncthreads();
  return total;
}
template <int kThreads, typename T>
__device__ inline T block_max(T x) {
  __shared__ T partial[kThreads / 32];
  x = warp_max(x);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (threadIdx.x % 32 == 0) partial[warp] = x;
  __syncthreads();
  T best = partial[0];
  for (int i = 1; i < kThreads / 32; ++i) best = partial[i] > best ? partial[i] : best;
  __syncthreads();
  return best;
}

// Σ of x over the threads before this one, and over the block in `total`. kThreads is a multiple of 32.
template <int kThreads, typename T>
__device__ inline T block_exclusive_sum(T x, T& total) {
  __shared__ T of_warps[kThreads / 32];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  T inclusive = x;
  for (int step = 1; step < 32; step *= 2) {
    const T before = __shfl_up_sync(kAllLanes, inclusive, step);
    if (lane >= step) inclusive += before;
  }
  if (lane == 31) of_warps[warp] = inclusive;
  __syncthreads();
  T before = T(0);
  total = T(0);
  for (int i = 0; i < kThreads / 32; ++i) {
    if (i == warp) before = total;
    total += of_warps[i];
  }
  __syncthreads();
  return before + inclusive - x;
}

__device__ inline int64_t global_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t all_threads() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

}  // namespace palimpsest::cuda
