// What the GPU can do at most: multiply-adds on registers, memory read, written and copied. Work is cut
// into kProbeTasks tasks as on the CPU; a task is kBlocks blocks.

#include "cuda/gemm/mma.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 64;      // a task
constexpr int kChains = 16;      // independent sums a thread
constexpr int kRounds = 64;      // multiply-adds a chain and repetition

template <typename T>
__global__ void __launch_bounds__(kThreads) fma_kernel(int64_t repetitions, double* sink) {
  T sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = static_cast<T>(threadIdx.x + i);
  for (int64_t r = 0; r < repetitions; ++r) {
    for (int round = 0; round < kRounds; ++round) {
#pragma unroll
      for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * static_cast<T>(0.999) + static_cast<T>(0.5);
    }
  }
  T total = T(0);
  for (int i = 0; i < kChains; ++i) total += sums[i];
  if (threadIdx.x == 0 && blockIdx.x % kBlocks == 0) sink[blockIdx.x / kBlocks] = static_cast<double>(total);
}

__global__ void __launch_bounds__(kThreads) mma_kernel(int64_t repetitions, double* sink) {
  float sums[8][4] = {};
  const uint32_t a[4] = {0x3f803f80u, 0x3f803f80u, 0x3f803f80u, 0x3f803f80u};
  const uint32_t b[2] = {0x3f803f80u, 0x3f803f80u};
  for (int64_t r = 0; r < repetitions; ++r) {
#pragma unroll
    for (int i = 0; i < 8; ++i) mma_bf16(sums[i], a, b);
  }
  float total = 0;
  for (int i = 0; i < 8; ++i) total += sums[i][0];
  if (threadIdx.x == 0 && blockIdx.x % kBlocks == 0) sink[blockIdx.x / kBlocks] = static_cast<double>(total);
}

template <typename T>
Status fma(Context& context, const ProbeArgs& a) {
  return launch(context, fma_kernel<T>, kProbeTasks * kBlocks, kThreads, 0, a.repetitions, a.sink);
}
Status dot(Context& context, const ProbeArgs& a) {
  return launch(context, mma_kernel, kProbeTasks * kBlocks, kThreads, 0, a.repetitions, a.sink);
}

enum class Pass { copy, read, write };

// n a multiple of 4 in vectors; the rest one by one.
template <Pass kPass>
__global__ void __launch_bounds__(kThreads) memory_kernel(const float* from, float* to, int64_t n, double* sink) {
  float sum = 0;
  const auto one = [&](int64_t i) {
    if (kPass == Pass::read) sum += from[i];
    else to[i] = kPass == Pass::copy ? from[i] : 1.0f;
  };
  const bool even = (reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to)) % 16 == 0;
  const int64_t vectors = even ? n / 4 : 0;
  for (int64_t i = global_thread(); i < vectors; i += all_threads()) {
    if (kPass == Pass::write) {
      reinterpret_cast<float4*>(to)[i] = make_float4(1, 1, 1, 1);
      continue;
    }
    const float4 x = reinterpret_cast<const float4*>(from)[i];
    if (kPass == Pass::copy) reinterpret_cast<float4*>(to)[i] = x;
    else sum += x.x + x.y + x.z + x.w;
  }
  for (int64_t i = 4 * vectors + global_thread(); i < n; i += all_threads()) one(i);
  if (kPass == Pass::read) {
    const float total = block_sum<kThreads>(sum);
    if (threadIdx.x == 0 && blockIdx.x < kProbeTasks) sink[blockIdx.x] = static_cast<double>(total);
    // Other blocks' sums count too, so that their reads stay.
    if (total == -1.5f) sink[0] = 0;
  }
}

template <Pass kPass>
Status memory(Context& context, const ProbeArgs& a) {
  for (int64_t r = 0; r < a.repetitions && a.n > 0; ++r) {
    PALIMPSEST_TRY(launch(context, memory_kernel<kPass>, blocks_for(context, a.n, 4 * kThreads), kThreads, 0,
                          a.from, a.to, a.n, a.sink));
  }
  return {};
}

}  // namespace

void fill_probe(KernelTable& table) {
  constexpr int64_t fma_operations = int64_t{2} * kBlocks * kThreads * kChains * kRounds;
  constexpr int64_t mma_operations = int64_t{2} * 16 * 8 * 16 * 8 * kBlocks * (kThreads / 32);
  table.probe.fma_f32 = {fma<float>, fma_operations};
  table.probe.fma_f64 = {fma<double>, fma_operations};
  table.probe.dot_bf16 = {dot, mma_operations};
  table.probe.copy = memory<Pass::copy>;
  table.probe.read = memory<Pass::read>;
  table.probe.write = memory<Pass::write>;
}

}  // namespace palimpsest::cuda
