// A warp's matrix products (mma.sync), for every GPU from compute capability 8.0 on.
#pragma once

#include "cuda/primitives.cuh"

namespace palimpsest::cuda {

// Lane l holds, of A (16 rows): rows l/4 and l/4 + 8; of B (8 columns): column l/4; of D: rows l/4 (0, 1)
// and l/4 + 8 (2, 3), columns l%4·2 and the next.

// bf16, depth 16: register r of A holds depths l%4·2 + 8·(r/2) and the next of row l/4 + 8·(r%2); of B
// depths l%4·2 + 8·r and the next.
__device__ inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef PALIMPSEST_CUDA_EMULATED
  const int lane = cudaemu::lane();
  struct Registers {
    const uint32_t *a, *b;
  } const mine{a, b};
  const void* const* all = cudaemu::show(&mine);
  const auto of = [&](int holder) { return *static_cast<const Registers*>(all[holder]); };
  for (int k = 0; k < 16; ++k) {
    const int holder = k % 8 / 2;
    float of_a[2];
    float of_b[2];
    for (int i = 0; i < 2; ++i) {
      const uint32_t word_a = of(lane / 4 * 4 + holder).a[k / 8 * 2 + i];
      of_a[i] = widen(BFloat16{static_cast<uint16_t>(word_a >> (k % 2 * 16))});
      const uint32_t word_b = of((lane % 4 * 2 + i) * 4 + holder).b[k / 8];
      of_b[i] = widen(BFloat16{static_cast<uint16_t>(word_b >> (k % 2 * 16))});
    }
    for (int i = 0; i < 4; ++i) d[i] += of_a[i / 2] * of_b[i % 2];
  }
  __syncwarp();
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// tf32, depth 8: register r of A holds depth l%4 + 4·(r/2) of row l/4 + 8·(r%2); of B depth l%4 + 4·r.
__device__ inline void mma_tf32(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
#ifdef PALIMPSEST_CUDA_EMULATED
  const int lane = cudaemu::lane();
  struct Registers {
    const float *a, *b;
  } const mine{a, b};
  const void* const* all = cudaemu::show(&mine);
  const auto of = [&](int holder) { return *static_cast<const Registers*>(all[holder]); };
  for (int k = 0; k < 8; ++k) {
    float of_a[2];
    float of_b[2];
    for (int i = 0; i < 2; ++i) {
      of_a[i] = of(lane / 4 * 4 + k % 4).a[k / 4 * 2 + i];
      of_b[i] = of((lane % 4 * 2 + i) * 4 + k % 4).b[k / 4];
    }
    for (int i = 0; i < 4; ++i) d[i] += of_a[i / 2] * of_b[i % 2];
  }
  __syncwarp();
#else
  const auto bits = [](float x) { return __float_as_uint(x); };
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(bits(a[0])), "r"(bits(a[1])), "r"(bits(a[2])), "r"(bits(a[3])), "r"(bits(b[0])), "r"(bits(b[1])));
#endif
}

// The nearest tf32 (10 bits of fraction), ties away from zero.
__device__ inline float to_tf32(float x) {
#ifdef PALIMPSEST_CUDA_EMULATED
  union {
    float value;
    uint32_t bits;
  } u;
  u.value = x;
  if ((u.bits & 0x7f800000u) != 0x7f800000u) u.bits += 0x1000u;
  u.bits &= 0xffffe000u;
  return u.value;
#else
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return __uint_as_float(bits);
#endif
}

// A float32 as the sum of two tf32: 21 bits of fraction. What is too large or no number has no rest.
__device__ inline void split_tf32(float x, float& high, float& low) {
  high = to_tf32(x);
  const float rest = x - high;
  low = rest - rest == 0.0f ? to_tf32(rest) : 0.0f;
}

}  // namespace palimpsest::cuda
