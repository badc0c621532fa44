// Mask algebra, and masks beside tensors. Floor: the bytes of masks and tensors, each moved once. Bits
// are made by warps: 32 neighbours vote, one lane writes their word; no atomics, the same bits always.

#include "cuda/masks/compact.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;

__host__ __device__ inline int64_t half_word_count(int64_t n) { return 2 * mask_words(n); }

// Clears the bits behind the last entry.
__global__ void __launch_bounds__(kThreads) logic_kernel(const MaskLogicArgs a) {
  const int64_t words = mask_words(a.n);
  for (int64_t i = global_thread(); i < words; i += all_threads()) {
    const uint64_t x = a.a[i];
    const uint64_t y = a.op == MaskLogic::complement ? 0 : a.b[i];
    uint64_t r = 0;
    switch (a.op) {
      case MaskLogic::conjunction: r = x & y; break;
      case MaskLogic::disjunction: r = x | y; break;
      case MaskLogic::exclusive: r = x ^ y; break;
      case MaskLogic::difference: r = x & ~y; break;
      case MaskLogic::complement: r = ~x; break;
    }
    if (i + 1 == words && a.n % 64 != 0) r &= ~uint64_t{0} >> (64 - a.n % 64);
    a.out[i] = r;
  }
}

Status logic(Context& context, const MaskLogicArgs& a) {
  if (a.n == 0) return {};
  return launch(context, logic_kernel, blocks_for(context, mask_words(a.n), kThreads), kThreads, 0, a);
}

__global__ void __launch_bounds__(kThreads)
    count_kernel(const uint32_t* words, int64_t count, unsigned long long* total) {
  unsigned long long mine = 0;
  for (int64_t i = global_thread(); i < count; i += all_threads()) mine += static_cast<unsigned>(__popc(words[i]));
  mine = block_sum<kThreads>(mine);
  if (threadIdx.x == 0) atomicAdd(total, mine);  // of integers: any order gives the same
}

Status count(Context& context, const MaskCountArgs& a) {
  *a.count = 0;
  if (a.n == 0) return {};
  const Workspace::Scope scope(context.workspace);
  auto* total = scratch<unsigned long long>(context, 1);
  if (total == nullptr) return no_memory();
  PALIMPSEST_TRY(clear(context, total, sizeof(*total)));
  PALIMPSEST_TRY(launch(context, count_kernel, blocks_for(context, half_word_count(a.n), 8 * kThreads), kThreads, 0,
                        half_words(a.mask), half_word_count(a.n), total));
  unsigned long long result = 0;
  PALIMPSEST_TRY(context.read(result, static_cast<const unsigned long long*>(total)));
  *a.count = static_cast<int64_t>(result);
  return {};
}

// The words of a mask by whole warps, from bit(entry).
template <typename Bit>
__device__ inline void each_word_bit(int64_t n, uint64_t* mask, const Bit& bit) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  auto* words = reinterpret_cast<uint32_t*>(mask);
  for (int64_t w = global_thread() / 32; w < half_word_count(n); w += all_threads() / 32) {
    const int64_t i = 32 * w + lane;
    const unsigned bits = __ballot_sync(kAllLanes, i < n && bit(i));
    if (lane == 0) words[w] = bits;
  }
}

__global__ void __launch_bounds__(kThreads) pack_kernel(const MaskTensorArgs a) {
  each_word_bit(a.n, a.mask, [&](int64_t i) {
    switch (a.dtype) {
      case DType::f32: return static_cast<const float*>(a.x)[i] != 0.0f;
      case DType::f64: return static_cast<const double*>(a.x)[i] != 0.0;
      case DType::bf16: return (static_cast<const BFloat16*>(a.x)[i].bits & 0x7fff) != 0;
      case DType::i32: return static_cast<const int32_t*>(a.x)[i] != 0;
      default: return static_cast<const uint8_t*>(a.x)[i] != 0;
    }
  });
}

Status pack(Context& context, const MaskTensorArgs& a) {
  if (a.n == 0) return {};
  return launch(context, pack_kernel, blocks_for(context, a.n, 4 * kThreads), kThreads, 0, a);
}

// Eight entries a thread, one store where `y` allows it.
__global__ void __launch_bounds__(kThreads) unpack_kernel(const MaskTensorArgs a) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(a.mask);
  auto* y = static_cast<uint8_t*>(a.y);
  const bool even = reinterpret_cast<uintptr_t>(y) % 8 == 0;
  for (int64_t k = global_thread(); 8 * k < a.n; k += all_threads()) {
    const uint8_t byte = bytes[k];
    if (even && 8 * k + 8 <= a.n) {
      uint64_t spread = 0;
      for (int j = 0; j < 8; ++j) spread |= static_cast<uint64_t>(byte >> j & 1u) << (8 * j);
      reinterpret_cast<uint64_t*>(y)[k] = spread;
    } else {
      for (int j = 0; j < 8 && 8 * k + j < a.n; ++j) y[8 * k + j] = byte >> j & 1u;
    }
  }
}

Status unpack(Context& context, const MaskTensorArgs& a) {
  if (a.n == 0) return {};
  return launch(context, unpack_kernel, blocks_for(context, ceil_div(a.n, 8), kThreads), kThreads, 0, a);
}

// U is an unsigned integer as wide as the entries: what is off becomes 0 whatever it was, NaN too.
template <typename U>
__global__ void __launch_bounds__(kThreads) apply_kernel(const MaskTensorArgs a) {
  const auto* words = reinterpret_cast<const uint32_t*>(a.mask);
  const auto* x = static_cast<const U*>(a.x);
  auto* y = static_cast<U*>(a.y);
  for (int64_t i = global_thread(); i < a.n; i += all_threads()) {
    y[i] = (words[i / 32] >> (i % 32) & 1u) != 0 ? x[i] : U(0);
  }
}

Status apply(Context& context, const MaskTensorArgs& a) {
  if (a.n == 0) return {};
  const auto start = [&](auto kernel) {
    return launch(context, kernel, blocks_for(context, a.n, 4 * kThreads), kThreads, 0, a);
  };
  switch (size_of(a.dtype)) {
    case 8: return start(apply_kernel<uint64_t>);
    case 4: return start(apply_kernel<uint32_t>);
    case 2: return start(apply_kernel<uint16_t>);
    default: return start(apply_kernel<uint8_t>);
  }
}

// ---- N:M -------------------------------------------------------------------------------------------

template <typename V>
struct ScoreOf;
template <>
struct ScoreOf<float> {
  __device__ static float get(const void* x, int64_t i) { return static_cast<const float*>(x)[i]; }
};
template <>
struct ScoreOf<double> {
  __device__ static double get(const void* x, int64_t i) { return static_cast<const double*>(x)[i]; }
};
template <>
struct ScoreOf<BFloat16> {
  __device__ static float get(const void* x, int64_t i) { return widen(static_cast<const BFloat16*>(x)[i]); }
};

// A thread an entry: it is on where fewer than n of its group come before it. The group's scores are
// in the first-level cache, brought there by the neighbours.
template <typename T>
__global__ void __launch_bounds__(kThreads) nm_kernel(const NmArgs a, int* nan) {
  const auto score = [&](int64_t i) {
    const auto v = ScoreOf<T>::get(a.x, i);
    return a.magnitude && v < 0 ? -v : v;
  };
  bool found = false;
  each_word_bit(a.outer * a.length * a.inner, a.mask, [&](int64_t i) {
    const int64_t place = i / a.inner % a.length % a.m;  // within the group
    const auto mine = score(i);
    found = found || mine != mine;
    int64_t at = i - place * a.inner;
    int64_t before = 0;
    for (int64_t k = 0; k < a.m; ++k, at += a.inner) {
      const auto other = score(at);
      before += k < place ? other >= mine : other > mine;
    }
    return before < a.n;
  });
  if (found) atomicOr(nan, 1);
}

Status nm(Context& context, const NmArgs& a) {
  const int64_t total = a.outer * a.length * a.inner;
  if (total == 0) return {};
  int* const nan = state(context).flag;
  PALIMPSEST_TRY(clear(context, nan, sizeof(int)));
  const auto start = [&](auto kernel) {
    return launch(context, kernel, blocks_for(context, total, 4 * kThreads), kThreads, 0, a, nan);
  };
  switch (a.dtype) {
    case DType::f32: PALIMPSEST_TRY(start(nm_kernel<float>)); break;
    case DType::f64: PALIMPSEST_TRY(start(nm_kernel<double>)); break;
    case DType::bf16: PALIMPSEST_TRY(start(nm_kernel<BFloat16>)); break;
    default: return {Code::dtype, "'scores' must be float32, float64 or bfloat16"};
  }
  int found = 0;
  PALIMPSEST_TRY(context.read(found, static_cast<const int*>(nan)));
  if (found != 0) return {Code::numerical, "'scores' hold NaN, which has no place in an order"};
  return {};
}

// ---- compact vectors -------------------------------------------------------------------------------

__global__ void __launch_bounds__(kListThreads) piece_counts(const uint64_t* mask, int64_t n, int64_t* counts) {
  const int mine = __popc(word_of_piece(mask, n, blockIdx.x * kPiece));
  const int total = block_sum<kListThreads>(mine);
  if (threadIdx.x == 0) counts[blockIdx.x] = total;
}

__global__ void __launch_bounds__(kThreads) sum_counts(int64_t* counts, int64_t count) {
  const int64_t total = exclusive_sum<kThreads>(counts, count);
  if (threadIdx.x == 0) counts[count] = total;
}

// Where the pieces' entries begin in the compact vector of a mask.
Status piece_starts(Context& context, const uint64_t* mask, int64_t n, int64_t*& starts) {
  const int64_t pieces = ceil_div(n, kPiece);
  starts = scratch<int64_t>(context, pieces + 1);
  if (starts == nullptr) return no_memory();
  PALIMPSEST_TRY(launch(context, piece_counts, static_cast<unsigned>(pieces), kListThreads, 0, mask, n, starts));
  return launch(context, sum_counts, 1, kThreads, 0, starts, pieces);
}

template <bool kGather>
__global__ void __launch_bounds__(kListThreads) compact_kernel(const MaskCompactArgs a, const int64_t* starts) {
  __shared__ PieceMask piece;
  const int64_t begin = blockIdx.x * kPiece;
  load_piece(piece, a.mask, a.n, begin);
  float* compact = a.compact + starts[blockIdx.x];
  each_on(piece, [&](int entry, int place) {
    if (kGather) {
      compact[place] = a.dense[begin + entry];
    } else {
      a.dense[begin + entry] = compact[place];
    }
  });
}

template <bool kGather>
Status compact(Context& context, const MaskCompactArgs& a) {
  if (a.n == 0) return {};
  const Workspace::Scope scope(context.workspace);
  int64_t* starts = nullptr;
  PALIMPSEST_TRY(piece_starts(context, a.mask, a.n, starts));
  return launch(context, compact_kernel<kGather>, static_cast<unsigned>(ceil_div(a.n, kPiece)), kListThreads, 0, a,
                static_cast<const int64_t*>(starts));
}

__global__ void __launch_bounds__(kListThreads)
    carry_kernel(const MaskCarryArgs a, const int64_t* old_starts, const int64_t* starts) {
  __shared__ PieceMask before;
  __shared__ PieceMask after;
  const int64_t begin = blockIdx.x * kPiece;
  load_piece(before, a.old_mask, a.n, begin);
  load_piece(after, a.mask, a.n, begin);
  const float* from = a.old_compact + old_starts[blockIdx.x];
  float* to = a.compact + starts[blockIdx.x];
  each_on(after, [&](int entry, int place) {
    const uint32_t word = before.words[entry / 32];
    const uint32_t bit = 1u << (entry % 32);
    to[place] = (word & bit) != 0 ? from[before.before[entry / 32] + __popc(word & (bit - 1u))] : 0.0f;
  });
}

Status carry(Context& context, const MaskCarryArgs& a) {
  if (a.n == 0) return {};
  const Workspace::Scope scope(context.workspace);
  int64_t* old_starts = nullptr;
  int64_t* starts = nullptr;
  PALIMPSEST_TRY(piece_starts(context, a.old_mask, a.n, old_starts));
  PALIMPSEST_TRY(piece_starts(context, a.mask, a.n, starts));
  return launch(context, carry_kernel, static_cast<unsigned>(ceil_div(a.n, kPiece)), kListThreads, 0, a,
                static_cast<const int64_t*>(old_starts), static_cast<const int64_t*>(starts));
}

}  // namespace

void fill_masks(KernelTable& table) {
  table.masks = {.logic = logic,
                 .count = count,
                 .pack = pack,
                 .unpack = unpack,
                 .apply = apply,
                 .nm = nm,
                 .gather = compact<true>,
                 .scatter = compact<false>,
                 .carry = carry};
}

}  // namespace palimpsest::cuda
