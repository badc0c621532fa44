// Hopper's own instructions: bulk tensor copies into shared memory that complete on a barrier, and
// matrix products of a warpgroup that read both operands from there.
//
// A tile in shared memory is made of atoms of 8 rows × 128 bytes in which the 16-byte chunk c of row r
// lies at chunk c xor r (the 128-byte swizzle, which copies and products agree on). Two forms:
//   along the depth ("K-major"):  a row of the atom is a row of A (a column of B), 64 bf16 of depth;
//                                 groups of 8 rows follow at 1024 bytes; 16 of depth are 32 bytes on.
//   across ("MN-major"):          a row of the atom is one step of depth, 64 rows of A (columns of B);
//                                 groups of 8 steps follow at 1024 bytes, the next 64 rows at 8192.
// Sources: PTX ISA 8.x, "Asynchronous warpgroup-level matrix shared memory layout" and "Matrix
// descriptor format".
#pragma once

#include <cuda.h>

#include "cuda/primitives.cuh"

namespace palimpsest::cuda {

constexpr int kAtomBytes = 1024;
constexpr int kAcrossBytes = 8192;  // 64 steps of depth × 128 bytes

// Where byte `offset` of a tile (row-major rows of 128 bytes) lies: the swizzle.
__host__ __device__ inline uint32_t swizzled(uint32_t offset) { return offset ^ ((offset >> 7 & 7) << 4); }

// A descriptor: address, leading and stride offsets in units of 16 bytes, 128-byte swizzle.
__host__ __device__ inline uint64_t matrix_descriptor(uint32_t address, bool across) {
  const uint64_t leading = across ? kAcrossBytes / 16 : 1;
  const uint64_t stride = kAtomBytes / 16;
  return (static_cast<uint64_t>(address & 0x3ffff) >> 4) | leading << 16 | stride << 32 | uint64_t{1} << 62;
}
// What 16 steps of depth add to a descriptor.
__host__ __device__ constexpr uint64_t depth_step(bool across) { return across ? 16 * 128 / 16 : 32 / 16; }

#ifdef PALIMPSEST_CUDA_EMULATED

// Barriers count arrivals and bytes; both are done at once here, so that a phase is a counter.
struct EmulatedBarrier {
  int16_t wanted, pending;
  int32_t bytes_and_phase;  // bytes still to come · 2 + phase
};
inline EmulatedBarrier& emulated(uint64_t* b) { return *reinterpret_cast<EmulatedBarrier*>(b); }
inline void turn(EmulatedBarrier& b) {
  if (b.pending == 0 && b.bytes_and_phase >> 1 == 0) {
    b.pending = b.wanted;
    b.bytes_and_phase ^= 1;
  }
}
inline uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(static_cast<const char*>(p) - cudaemu::shared);
}
inline void barrier_start(uint64_t* b, int arrivals) {
  emulated(b) = {static_cast<int16_t>(arrivals), static_cast<int16_t>(arrivals), 0};
}
inline void barriers_started() {}
inline void barrier_expect(uint64_t* b, uint32_t bytes) {
  emulated(b).bytes_and_phase += static_cast<int32_t>(bytes) * 2;
  --emulated(b).pending;
  turn(emulated(b));
}
inline void barrier_arrive(uint64_t* b) {
  --emulated(b).pending;
  turn(emulated(b));
}
inline void barrier_wait(uint64_t* b, uint32_t phase) {
  while (static_cast<uint32_t>(emulated(b).bytes_and_phase & 1) == phase) cudaemu::yield();
}
inline void copy_tile(void* to, const CUtensorMap* map, uint64_t* b, int32_t inner, int32_t outer, int32_t batch) {
  const uint32_t bytes = cudaemu::copy_box(to, map, inner, outer, batch, swizzled);
  emulated(b).bytes_and_phase -= static_cast<int32_t>(bytes) * 2;
  turn(emulated(b));
}
inline void group_barrier(int number) { cudaemu::barrier(number, 128); }
inline void prefetch_map(const CUtensorMap*) {}
template <int kRegisters>
inline void more_registers() {}
template <int kRegisters>
inline void fewer_registers() {}
inline void products_fence() {}
inline void products_commit() {}
template <int kPending>
inline void products_wait() {}

// One element of an operand as the descriptor's layout says.
inline float emulated_element(uint64_t descriptor, bool across, int row, int k) {
  const auto start = static_cast<uint32_t>(descriptor & 0x3fff) << 4;
  const auto leading = static_cast<uint32_t>(descriptor >> 16 & 0x3fff) << 4;
  const auto stride = static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4;
  const uint32_t offset =
      across ? static_cast<uint32_t>(row / 64) * leading + static_cast<uint32_t>(k / 8) * stride +
                   static_cast<uint32_t>(k % 8) * 128 + static_cast<uint32_t>(row % 64) * 2
             : static_cast<uint32_t>(row / 8) * stride + static_cast<uint32_t>(row % 8) * 128 +
                   static_cast<uint32_t>(k) * 2;
  BFloat16 x;
  std::memcpy(&x, cudaemu::shared + swizzled(start + offset), 2);
  return widen(x);
}
template <int kColumns, bool kAcrossA, bool kAcrossB>
inline void multiply_tiles(float (&sums)[kColumns / 2], uint64_t a, uint64_t b, bool add) {
  const int thread = static_cast<int>(threadIdx.x % 128);
  for (int i = 0; i < kColumns / 2; ++i) {
    const int row = thread / 32 * 16 + thread % 32 / 4 + (i / 2 % 2) * 8;
    const int column = i / 4 * 8 + thread % 4 * 2 + i % 2;
    float sum = add ? sums[i] : 0.0f;
    for (int k = 0; k < 16; ++k) {
      sum += emulated_element(a, kAcrossA, row, k) * emulated_element(b, kAcrossB, column, k);
    }
    sums[i] = sum;
  }
}

#else

__device__ inline uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// ---- barriers --------------------------------------------------------------------------------------

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
__device__ inline void barrier_start(uint64_t* b, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals));
}
// After barrier_start and before a barrier of the block: makes them known to the copy engine.
__device__ inline void barriers_started() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// Arrives and announces bytes that copies will bring.
__device__ inline void barrier_expect(uint64_t* b, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes)
               : "memory");
}
__device__ inline void barrier_arrive(uint64_t* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
// Waits until the phase of this parity is complete.
__device__ inline void barrier_wait(uint64_t* b, uint32_t phase) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra through;\n"
      "bra again;\n"
      "through:\n"
      "}\n" ::"r"(shared_address(b)),
      "r"(phase)
      : "memory");
}

// A barrier of the 128 threads of a warpgroup; 0 is the whole block's.
__device__ inline void group_barrier(int number) { asm volatile("bar.sync %0, 128;" ::"r"(number) : "memory"); }

// ---- copies ----------------------------------------------------------------------------------------

__device__ inline void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
// A box of a tensor [batch, outer, inner] to shared memory; its bytes count on the barrier.
__device__ inline void copy_tile(void* to, const CUtensorMap* map, uint64_t* b, int32_t inner, int32_t outer,
                                 int32_t batch) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
      ::"r"(shared_address(to)), "l"(map), "r"(shared_address(b)), "r"(inner), "r"(outer), "r"(batch)
      : "memory");
}

// ---- products --------------------------------------------------------------------------------------

template <int kRegisters>
__device__ inline void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
__device__ inline void products_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
__device__ inline void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// sums (+)= A (64 × 16) · B (16 × kColumns). Thread t of the warpgroup holds, for i < kColumns / 2, row
// t/32·16 + t%32/4 + (i/2%2)·8 and column i/4·8 + t%4·2 + i%2.
template <int kColumns, bool kAcrossA, bool kAcrossB>
__device__ inline void multiply_tiles(float (&sums)[kColumns / 2], uint64_t a, uint64_t b, bool add);
#include "cuda/gemm/wgmma.inl"

#endif  // sm_90a
#endif  // emulated

}  // namespace palimpsest::cuda
