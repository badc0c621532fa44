// Scaled dot-product attention in tiles of kQueries × kKeys scores held in shared memory, with the online
// softmax of Milakov & Gimelshein 2018 (as in FlashAttention, Dao et al. 2022). The backward pass is two
// kernels, one that owns queries (dq) and one that owns keys (dk, dv), so that nothing is added to from
// two blocks and results repeat bit by bit; scores are computed anew in both.
//
// Products run on the ordinary arithmetic units in the tensors' own precision: 256 threads, a row's
// eight threads side by side. Floor of the forward pass: 4·b·h·tq·tk·d FLOPs at the FMA rate.

#include "cuda/primitives.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kQueries = 32;
constexpr int kKeys = 32;
constexpr int kAcross = 8;  // threads a row
constexpr int kThreads = kQueries * kAcross;
constexpr int kStride = kKeys + 1;  // of a row of scores in shared memory: no bank twice
static_assert(kQueries == kKeys, "the backward pass uses one loop for both");

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }

struct Strided {
  void* data;
  int64_t batch, head, time;  // strides in elements
};

struct Problem {
  Strided q, k, v, out, dout, dq, dk, dv;
  const uint8_t* mask;
  int64_t mask_strides[4];
  int64_t heads, tq, tk;
  int d, e;
  int sd, se;  // rows in shared memory: d and e, made odd
  bool causal;
  double scale;
  void* lse;
};

template <typename T>
__device__ inline T* row_of(const Strided& s, int64_t batch, int64_t head, int64_t time) {
  return static_cast<T*>(s.data) + batch * s.batch + head * s.head + time * s.time;
}

// Rows of a view into shared memory, the rest of the tile as zeros. Rows there are an odd number of elements
// apart: the threads of a row read other rows of the second factor side by side, from different banks.
template <typename T>
__device__ inline void load_tile(T* to, const Strided& from, int64_t batch, int64_t head, int64_t first,
                                 int64_t total, int width) {
  for (int i = static_cast<int>(threadIdx.x); i < kQueries * width; i += kThreads) {
    const int row = i / width;
    const int column = i - row * width;
    to[row * (width | 1) + column] = first + row < total ? row_of<T>(from, batch, head, first + row)[column] : T(0);
  }
}

__device__ inline bool sees(const Problem& p, int64_t batch, int64_t head, int64_t query, int64_t key) {
  if (query >= p.tq || key >= p.tk || (p.causal && key > query)) return false;
  if (p.mask == nullptr) return true;
  return p.mask[batch * p.mask_strides[0] + head * p.mask_strides[1] + query * p.mask_strides[2] +
                key * p.mask_strides[3]] != 0;
}

template <typename T>
__device__ inline T dot(const T* a, const T* b, int n) {
  T sum = T(0);
  for (int i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// Over the eight threads of a row.
template <typename T>
__device__ inline T across_sum(T x) {
  for (int step = kAcross / 2; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}
template <typename T>
__device__ inline T across_max(T x) {
  for (int step = kAcross / 2; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, x, step);
    x = other > x ? other : x;
  }
  return x;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) forward_kernel(const Problem p) {
  T* q = dynamic_shared<T>();
  T* k = q + kQueries * p.sd;
  T* v = k + kKeys * p.sd;
  T* out = v + kKeys * p.se;
  T* scores = out + kQueries * p.se;
  const int64_t batch = blockIdx.y / p.heads;
  const int64_t head = blockIdx.y % p.heads;
  const int64_t first_query = static_cast<int64_t>(blockIdx.x) * kQueries;
  const int row = static_cast<int>(threadIdx.x) / kAcross;
  const int lane = static_cast<int>(threadIdx.x) % kAcross;
  const int64_t query = first_query + row;
  const T none = static_cast<T>(-INFINITY);

  load_tile(q, p.q, batch, head, first_query, p.tq, p.d);
  for (int i = static_cast<int>(threadIdx.x); i < kQueries * p.se; i += kThreads) out[i] = T(0);
  T top = none;
  T sum = T(0);
  const int64_t last = p.causal && first_query + kQueries < p.tk ? first_query + kQueries : p.tk;
  for (int64_t first_key = 0; first_key < last; first_key += kKeys) {
    __syncthreads();
    load_tile(k, p.k, batch, head, first_key, p.tk, p.d);
    load_tile(v, p.v, batch, head, first_key, p.tk, p.e);
    __syncthreads();
    T* s = scores + row * kStride;
    T best = none;
    for (int c = lane; c < kKeys; c += kAcross) {
      const bool seen = sees(p, batch, head, query, first_key + c);
      const T score = seen ? static_cast<T>(p.scale) * dot(q + row * p.sd, k + c * p.sd, p.d) : none;
      s[c] = score;
      best = score > best ? score : best;
    }
    best = across_max(best);
    const T before = top;
    top = best > top ? best : top;
    T part = T(0);
    for (int c = lane; c < kKeys; c += kAcross) {
      const T weight = s[c] == none ? T(0) : exponential(s[c] - top);
      s[c] = weight;
      part += weight;
    }
    const T correction = before == none ? T(0) : exponential(before - top);
    sum = sum * correction + across_sum(part);
    __syncthreads();
    for (int j = lane; j < p.e; j += kAcross) {
      T x = out[row * p.se + j] * correction;
      for (int c = 0; c < kKeys; ++c) x += s[c] * v[c * p.se + j];
      out[row * p.se + j] = x;
    }
  }
  if (query >= p.tq) return;
  T* to = row_of<T>(p.out, batch, head, query);
  for (int j = lane; j < p.e; j += kAcross) to[j] = sum > T(0) ? out[row * p.se + j] / sum : T(0);
  if (lane == 0 && p.lse != nullptr) {
    static_cast<T*>(p.lse)[static_cast<int64_t>(blockIdx.y) * p.tq + query] =
        sum > T(0) ? top + static_cast<T>(log(static_cast<double>(sum))) : static_cast<T>(INFINITY);
  }
}

// delta_i = Σ dout·out, what the softmax's chain rule takes off.
template <typename T>
__global__ void __launch_bounds__(kThreads) delta_kernel(const Problem p, T* delta, int64_t total) {
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const int64_t pair = i / p.tq;
    const int64_t query = i % p.tq;
    delta[i] = dot(row_of<const T>(p.dout, pair / p.heads, pair % p.heads, query),
                   row_of<const T>(p.out, pair / p.heads, pair % p.heads, query), p.e);
  }
}

// kOfQueries: a block owns queries and runs over keys, adding ds·k to dq; else it owns keys and runs over
// queries, adding dsᵀ·q to dk and pᵀ·dout to dv.
template <typename T, bool kOfQueries>
__global__ void __launch_bounds__(kThreads) backward_kernel(const Problem p, const T* delta) {
  T* q = dynamic_shared<T>();
  T* dout = q + kQueries * p.sd;
  T* k = dout + kQueries * p.se;
  T* v = k + kKeys * p.sd;
  T* slope = v + kKeys * p.se;         // ds, by query and key
  T* weight = slope + kQueries * kStride;  // p
  T* sum_d = weight + kQueries * kStride;  // dq or dk
  T* sum_e = sum_d + kQueries * p.sd;       // dv
  const int64_t pair = blockIdx.y;
  const int64_t batch = pair / p.heads;
  const int64_t head = pair % p.heads;
  const int64_t mine = static_cast<int64_t>(blockIdx.x) * kQueries;
  const int row = static_cast<int>(threadIdx.x) / kAcross;
  const int lane = static_cast<int>(threadIdx.x) % kAcross;

  for (int i = static_cast<int>(threadIdx.x); i < kQueries * p.sd; i += kThreads) sum_d[i] = T(0);
  if (!kOfQueries) {
    for (int i = static_cast<int>(threadIdx.x); i < kKeys * p.se; i += kThreads) sum_e[i] = T(0);
  }
  if (kOfQueries) {
    load_tile(q, p.q, batch, head, mine, p.tq, p.d);
    load_tile(dout, p.dout, batch, head, mine, p.tq, p.e);
  } else {
    load_tile(k, p.k, batch, head, mine, p.tk, p.d);
    load_tile(v, p.v, batch, head, mine, p.tk, p.e);
  }
  const int64_t others = kOfQueries ? p.tk : p.tq;
  // Causal: keys up to the last query of the tile; queries from the first key of the tile.
  const int64_t start = !kOfQueries && p.causal ? mine / kQueries * kQueries : 0;
  const int64_t stop = kOfQueries && p.causal && mine + kQueries < others ? mine + kQueries : others;
  for (int64_t other = start; other < stop; other += kKeys) {
    __syncthreads();
    if (kOfQueries) {
      load_tile(k, p.k, batch, head, other, p.tk, p.d);
      load_tile(v, p.v, batch, head, other, p.tk, p.e);
    } else {
      load_tile(q, p.q, batch, head, other, p.tq, p.d);
      load_tile(dout, p.dout, batch, head, other, p.tq, p.e);
    }
    __syncthreads();
    const int64_t first_query = kOfQueries ? mine : other;
    const int64_t first_key = kOfQueries ? other : mine;
    const int64_t query = first_query + row;
    const T lse = query < p.tq ? static_cast<const T*>(p.lse)[pair * p.tq + query] : static_cast<T>(INFINITY);
    const T taken = query < p.tq ? delta[pair * p.tq + query] : T(0);
    for (int c = lane; c < kKeys; c += kAcross) {
      T w = T(0);
      T ds = T(0);
      if (lse < static_cast<T>(INFINITY) && sees(p, batch, head, query, first_key + c)) {
        w = exponential(static_cast<T>(p.scale) * dot(q + row * p.sd, k + c * p.sd, p.d) - lse);
        ds = w * (dot(dout + row * p.se, v + c * p.se, p.e) - taken) * static_cast<T>(p.scale);
      }
      weight[row * kStride + c] = w;
      slope[row * kStride + c] = ds;
    }
    __syncthreads();
    for (int j = lane; j < p.d; j += kAcross) {
      T x = sum_d[row * p.sd + j];
      for (int c = 0; c < kKeys; ++c) {
        x += kOfQueries ? slope[row * kStride + c] * k[c * p.sd + j] : slope[c * kStride + row] * q[c * p.sd + j];
      }
      sum_d[row * p.sd + j] = x;
    }
    if (!kOfQueries) {
      for (int j = lane; j < p.e; j += kAcross) {
        T x = sum_e[row * p.se + j];
        for (int c = 0; c < kQueries; ++c) x += weight[c * kStride + row] * dout[c * p.se + j];
        sum_e[row * p.se + j] = x;
      }
    }
  }
  __syncthreads();
  const int64_t at = mine + row;
  if (at >= (kOfQueries ? p.tq : p.tk)) return;
  T* to = row_of<T>(kOfQueries ? p.dq : p.dk, batch, head, at);
  for (int j = lane; j < p.d; j += kAcross) to[j] = sum_d[row * p.sd + j];
  if (!kOfQueries) {
    T* to_v = row_of<T>(p.dv, batch, head, at);
    for (int j = lane; j < p.e; j += kAcross) to_v[j] = sum_e[row * p.se + j];
  }
}

Strided strided(const View& v) { return {v.data, v.strides[0], v.strides[1], v.strides[2]}; }

Problem problem_of(const AttentionArgs& a) {
  Problem p{};
  p.q = strided(a.q);
  p.k = strided(a.k);
  p.v = strided(a.v);
  p.out = strided(a.out);
  p.mask = a.mask.as<const uint8_t>();
  for (int i = 0; i < 4; ++i) p.mask_strides[i] = a.mask.data == nullptr ? 0 : a.mask.strides[i];
  p.heads = a.q.shape[1];
  p.tq = a.q.shape[2];
  p.tk = a.k.shape[2];
  p.d = static_cast<int>(a.q.shape[3]);
  p.e = static_cast<int>(a.v.shape[3]);
  p.sd = p.d | 1;
  p.se = p.e | 1;
  p.causal = a.causal;
  p.scale = a.scale;
  p.lse = a.lse;
  return p;
}

constexpr size_t kMostShared = 227 * 1024;
Status too_wide() {
  return {Code::device, "attention heads of this width do not fit the GPU's shared memory"};
}

template <typename T>
Status forward(Context& context, const AttentionArgs& a) {
  const Problem p = problem_of(a);
  const int64_t pairs = a.q.shape[0] * p.heads;
  if (pairs * p.tq == 0) return {};
  const size_t shared = sizeof(T) * static_cast<size_t>(kQueries * (2 * p.sd + 2 * p.se + kStride));
  if (shared > kMostShared || pairs > 65535) return too_wide();
  const dim3 grid(static_cast<unsigned>(ceil_div(p.tq, kQueries)), static_cast<unsigned>(pairs));
  return launch(context, forward_kernel<T>, grid, kThreads, shared, p);
}

template <typename T>
Status backward(Context& context, const AttentionBackwardArgs& args) {
  Problem p = problem_of(args.forward);
  p.dout = strided(args.dout);
  p.dq = strided(args.dq);
  p.dk = strided(args.dk);
  p.dv = strided(args.dv);
  const int64_t pairs = args.forward.q.shape[0] * p.heads;
  if (pairs == 0) return {};
  const size_t shared = sizeof(T) * static_cast<size_t>(kQueries * (3 * p.sd + 3 * p.se + 2 * kStride));
  if (shared > kMostShared || pairs > 65535) return too_wide();
  const Workspace::Scope scope(context.workspace);
  T* delta = scratch<T>(context, pairs * p.tq);
  if (delta == nullptr) return no_memory();
  const auto blocks = [&](int64_t rows) {
    return dim3(static_cast<unsigned>(ceil_div(rows, kQueries)), static_cast<unsigned>(pairs));
  };
  PALIMPSEST_TRY(launch(context, delta_kernel<T>, blocks_for(context, pairs * p.tq, kThreads), kThreads, 0, p,
                        delta, pairs * p.tq));
  const T* known = delta;
  PALIMPSEST_TRY(launch(context, backward_kernel<T, true>, blocks(p.tq), kThreads, shared, p, known));
  return launch(context, backward_kernel<T, false>, blocks(p.tk), kThreads, shared, p, known);
}

}  // namespace

void fill_attention(KernelTable& table) {
  table.attention = {
      .forward =
          [](Context& c, const AttentionArgs& a) {
            return a.q.dtype == DType::f64 ? forward<double>(c, a) : forward<float>(c, a);
          },
      .backward =
          [](Context& c, const AttentionBackwardArgs& a) {
            return a.forward.q.dtype == DType::f64 ? backward<double>(c, a) : backward<float>(c, a);
          },
  };
}

}  // namespace palimpsest::cuda
