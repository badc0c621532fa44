// Ordering rows: a block a row, eight bits of the key a pass, each pass keeping the order of equals: a tile
// of entries finds its places from votes within warps and counts over warps. A pass in which all
// entries agree is left out. Floor: keys and indices moved once a pass; one row alone fills one
// multiprocessor only.

#include "cuda/selection/selection.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;  // one a bin
constexpr int kWarps = kThreads / 32;

// As native/cpu/selection/sort.cpp orders: ascending, NaN last, −0 as 0.
template <typename T>
__device__ inline Key<T> sort_key(T x, bool descending) {
  bool nan = false;
  const Key<T> key = plain_key(x, false, nan);
  const Key<T> order = nan ? ~Key<T>(0) : key;
  return descending ? ~order : order;
}

// The threads of this warp whose digit is this one's.
__device__ inline unsigned peers_of(int digit, bool there) {
  unsigned peers = __ballot_sync(kAllLanes, there);
  for (int bit = 0; bit < 8; ++bit) {
    const bool one = (digit >> bit & 1) != 0;
    const unsigned ones = __ballot_sync(kAllLanes, one);
    peers &= one ? ones : ~ones;
  }
  return peers;
}

template <typename K>
struct Pairs {
  K* keys;
  int32_t* indices;
};

// One stable pass from `from` to `to`; false where all digits agree and nothing was moved.
template <typename K>
__device__ inline bool sort_pass(const Pairs<K>& from, const Pairs<K>& to, int64_t n, int shift) {
  __shared__ int64_t next[kThreads];  // where the next entry of a digit goes
  __shared__ int counts[kWarps][kThreads];
  __shared__ int bins[kThreads];
  const int t = static_cast<int>(threadIdx.x);
  const int lane = t % 32;
  const int warp = t / 32;
  bins[t] = 0;
  __syncthreads();
  // Rows may be long: counts of a digit fit 32 bits, as indices do.
  for (int64_t i = t; i < n; i += kThreads) atomicAdd(&bins[static_cast<int>(from.keys[i] >> shift & 0xff)], 1);
  __syncthreads();
  const int64_t mine = bins[t];
  int64_t total = 0;
  next[t] = block_exclusive_sum<kThreads>(mine, total);
  if (block_max<kThreads>(mine) == n) return false;
  for (int64_t begin = 0; begin < n; begin += kThreads) {
    const int64_t i = begin + t;
    const bool there = i < n;
    const K key = there ? from.keys[i] : K(0);
    const int digit = static_cast<int>(key >> shift & 0xff);
    for (int w = 0; w < kWarps; ++w) counts[w][t] = 0;
    __syncthreads();
    const unsigned peers = peers_of(digit, there);
    const int rank = __popc(peers & ((1u << lane) - 1u));
    if (there && rank == 0) counts[warp][digit] = __popc(peers);
    __syncthreads();
    // Thread t: digit t. Counts become places relative to `next`.
    int sum = 0;
    for (int w = 0; w < kWarps; ++w) {
      const int count = counts[w][t];
      counts[w][t] = sum;
      sum += count;
    }
    __syncthreads();
    if (there) {
      const int64_t at = next[digit] + counts[warp][digit] + rank;
      to.keys[at] = key;
      to.indices[at] = from.indices[i];
    }
    __syncthreads();
    next[t] += sum;
  }
  __syncthreads();
  return true;
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 2)
    sort_kernel(const SortRowsArgs a, Key<T>* keys, int32_t* indices) {
  const int64_t room = 2 * a.cols * static_cast<int64_t>(blockIdx.x);
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    Pairs<Key<T>> from{keys + room, indices + room};
    Pairs<Key<T>> to{from.keys + a.cols, from.indices + a.cols};
    const T* x = static_cast<const T*>(a.x) + row * a.cols;
    for (int64_t i = threadIdx.x; i < a.cols; i += kThreads) {
      from.keys[i] = sort_key(x[i], a.descending);
      from.indices[i] = static_cast<int32_t>(i);
    }
    __syncthreads();
    for (int shift = 0; shift < 8 * static_cast<int>(sizeof(Key<T>)); shift += 8) {
      if (!sort_pass(from, to, a.cols, shift)) continue;
      const Pairs<Key<T>> other = from;
      from = to;
      to = other;
    }
    for (int64_t i = threadIdx.x; i < a.k; i += kThreads) {
      const int32_t index = from.indices[i];
      a.indices[row * a.k + i] = index;
      if (a.values != nullptr) static_cast<T*>(a.values)[row * a.k + i] = x[index];
    }
    __syncthreads();
  }
}

template <typename T>
Status sort(Context& context, const SortRowsArgs& a) {
  if (a.rows == 0 || a.cols == 0 || a.k == 0) return {};
  const Workspace::Scope scope(context.workspace);
  const int64_t most = int64_t{state(context).multiprocessors} * 4;
  const int64_t blocks = a.rows < most ? a.rows : most;
  auto* keys = scratch<Key<T>>(context, 2 * blocks * a.cols);
  auto* indices = scratch<int32_t>(context, 2 * blocks * a.cols);
  if (keys == nullptr || indices == nullptr) return no_memory();
  return launch(context, sort_kernel<T>, static_cast<unsigned>(blocks), kThreads, 0, a, keys, indices);
}

}  // namespace

Status sort_rows(Context& context, const SortRowsArgs& args) {
  switch (args.dtype) {
    case DType::f32: return sort<float>(context, args);
    case DType::f64: return sort<double>(context, args);
    case DType::bf16: return sort<BFloat16>(context, args);
    case DType::i32: return sort<int32_t>(context, args);
    default: return {Code::dtype, "'x' must be float32, float64, bfloat16 or int32"};
  }
}

}  // namespace palimpsest::cuda
