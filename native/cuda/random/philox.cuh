// Philox4x32-10 as the CPU draws it (native/cpu/random/kernels.inl): the same words, and the same
// float32 from them, operation by operation: what the CPU rounds apart is rounded apart here, what it
// fuses is fused.
#pragma once

#include "cuda/common.cuh"

namespace palimpsest::cuda {

struct Words {
  uint32_t w[4];
};

__host__ __device__ inline uint32_t high_product(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32);
}

// The four words at a counter.
__host__ __device__ inline Words philox(uint64_t seed, uint64_t counter) {
  auto c0 = static_cast<uint32_t>(counter);
  auto c1 = static_cast<uint32_t>(counter >> 32);
  uint32_t c2 = 0;
  uint32_t c3 = 0;
  auto k0 = static_cast<uint32_t>(seed);
  auto k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint32_t h0 = high_product(0xd2511f53u, c0);
    const uint32_t l0 = 0xd2511f53u * c0;
    const uint32_t h1 = high_product(0xcd9e8d57u, c2);
    const uint32_t l1 = 0xcd9e8d57u * c2;
    c0 = h1 ^ c1 ^ k0;
    c1 = l1;
    c2 = h0 ^ c3 ^ k1;
    c3 = l0;
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return {{c0, c1, c2, c3}};
}

__host__ __device__ inline float mul_rn(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
__host__ __device__ inline float add_rn(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}
__host__ __device__ inline float sqrt_rn(float x) {
#ifdef __CUDA_ARCH__
  return __fsqrt_rn(x);
#else
  return __builtin_sqrtf(x);
#endif
}
__host__ __device__ inline float log_unit(float u) {
  union {
    float value;
    int32_t bits;
  } x, y;
  x.value = u;
  const int32_t shifted = x.bits - 0x3f3504f3;
  y.bits = (shifted & 0x007fffff) + 0x3f3504f3;
  const float f = add_rn(y.value, -1.0f);
  const float e = static_cast<float>(shifted >> 23);
  float q = fmaf(f, 6.746601323e-02f, -1.167564130e-01f);
  q = fmaf(f, q, 1.188817460e-01f);
  q = fmaf(f, q, -1.240559142e-01f);
  q = fmaf(f, q, 1.421955091e-01f);
  q = fmaf(f, q, -1.666799567e-01f);
  q = fmaf(f, q, 2.000211873e-01f);
  q = fmaf(f, q, -2.500000960e-01f);
  q = fmaf(f, q, 3.333331260e-01f);
  const float ff = mul_rn(f, f);
  return fmaf(e, 0.693359375f,
              add_rn(f, fmaf(e, -2.12194440e-4f, fmaf(mul_rn(ff, f), q, mul_rn(-0.5f, ff)))));
}

struct Pair {
  float cosine, sine;
};

// Box–Muller of two words.
__host__ __device__ inline Pair normal_pair(uint32_t a, uint32_t b) {
  const float u = mul_rn(add_rn(static_cast<float>(static_cast<int32_t>(a >> 1)), 0.5f), 0x1p-31f);
  const float radius = sqrt_rn(mul_rn(-2.0f, log_unit(u)));
  const auto quarter = static_cast<int32_t>((b + 0x20000000u) >> 30);
  const float rest =
      mul_rn(static_cast<float>(static_cast<int32_t>(b << 2)), 1.57079632679f * 0x1p-32f);
  const float x = mul_rn(rest, rest);
  const float s = fmaf(
      mul_rn(rest, x),
      fmaf(x, fmaf(x, fmaf(x, 2.718311568e-06f, -1.983933484e-04f), 8.333329386e-03f), -1.666666664e-01f),
      rest);
  const float c = fmaf(
      mul_rn(x, x),
      fmaf(x, fmaf(x, fmaf(x, -2.721023690e-07f, 2.479952000e-05f), -1.388888375e-03f), 4.166666662e-02f),
      fmaf(x, -0.5f, 1.0f));
  const float sine = (quarter & 1) != 0 ? c : s;
  const float cosine = (quarter & 1) != 0 ? s : c;
  return {mul_rn(radius, ((quarter + 1) & 2) != 0 ? -cosine : cosine),
          mul_rn(radius, (quarter & 2) != 0 ? -sine : sine)};
}

}  // namespace palimpsest::cuda
