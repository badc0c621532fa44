// Counts of magnitudes by their upper or lower bits. Floor: x read once.
//
// Upper bits: a block of 1024 threads counts in shared memory, 32768 counters of 16 bits, two a word, and
// adds them to those of the device before one can run over. Lower bits are asked for among the few
// magnitudes that share their upper ones: these go to the device's counters at once. Whole numbers: the
// order of additions does not matter.

#include "cuda/selection/selection.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int64_t kBlockPiece = 60 * kThreads;  // elements between two emptyings, below 2¹⁶
constexpr size_t kSharedBytes = kMagnitudeUpper * 2;
using Counter = unsigned long long;

__device__ inline uint32_t magnitude_bits(float x) {
  union {
    float value;
    uint32_t bits;
  } u;
  u.value = x;
  return u.bits & 0x7fffffffu;
}

__global__ void __launch_bounds__(kThreads) upper_kernel(const float* x, int64_t n, Counter* counts) {
  auto* own = dynamic_shared<uint32_t>();
  const int thread = static_cast<int>(threadIdx.x);
  for (int64_t piece = blockIdx.x; piece * kBlockPiece < n; piece += gridDim.x) {
    for (int i = thread; i < kMagnitudeUpper / 2; i += kThreads) own[i] = 0;
    __syncthreads();
    const int64_t begin = piece * kBlockPiece;
    const int64_t end = begin + kBlockPiece < n ? begin + kBlockPiece : n;
    for (int64_t i = begin + thread; i < end; i += kThreads) {
      const uint32_t bin = magnitude_bits(x[i]) >> 16;
      atomicAdd(own + bin / 2, bin % 2 == 0 ? 1u : 0x10000u);
    }
    __syncthreads();
    for (int i = thread; i < kMagnitudeUpper / 2; i += kThreads) {
      const uint32_t word = own[i];
      if ((word & 0xffffu) != 0) atomicAdd(counts + 2 * i, static_cast<Counter>(word & 0xffffu));
      if (word >> 16 != 0) atomicAdd(counts + 2 * i + 1, static_cast<Counter>(word >> 16));
    }
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kThreads) lower_kernel(const float* x, int64_t n, uint32_t upper, Counter* counts) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    const uint32_t bits = magnitude_bits(x[i]);
    if (bits >> 16 == upper) atomicAdd(counts + (bits & 0xffffu), Counter{1});
  }
}

__global__ void __launch_bounds__(kThreads) add_kernel(const Counter* found, int64_t n, double* counts) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) counts[i] += static_cast<double>(found[i]);
}

}  // namespace

Status magnitude_counts(Context& context, const MagnitudeCountsArgs& args) {
  if (args.n == 0) return {};
  const bool by_upper = args.upper < 0;
  const int64_t bins = by_upper ? kMagnitudeUpper : kMagnitudeLower;
  const Workspace::Scope scope(context.workspace);
  auto* found = scratch<Counter>(context, bins);
  if (found == nullptr) return no_memory();
  PALIMPSEST_TRY(clear(context, found, static_cast<size_t>(bins) * sizeof(Counter)));
  if (by_upper) {
    const int64_t pieces = ceil_div(args.n, kBlockPiece);
    const int64_t most = int64_t{2} * state(context).multiprocessors;
    PALIMPSEST_TRY(launch(context, upper_kernel, static_cast<unsigned>(pieces < most ? pieces : most), kThreads,
                          kSharedBytes, args.x, args.n, found));
  } else {
    PALIMPSEST_TRY(launch(context, lower_kernel, blocks_for(context, args.n, 4 * kThreads), kThreads, 0, args.x, args.n,
                          static_cast<uint32_t>(args.upper), found));
  }
  return launch(context, add_kernel, blocks_for(context, bins, kThreads), kThreads, 0, static_cast<const Counter*>(found),
                bins, args.counts);
}

}  // namespace palimpsest::cuda
