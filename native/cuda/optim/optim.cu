// Fused optimizer steps over lists of tensors. Floor: the bytes of all buffers (AdamW 28 a parameter,
// 20 with bf16 state); one launch for up to fifty tensors, 16 bytes an access. Of tensors with a mask
// only entries that are on are computed; their places in the compact state come from two launches before.

#include <vector>

#include "cuda/masks/compact.cuh"

namespace palimpsest::cuda {
namespace {

// Runs update.one(…) over the piece of a tensor that belongs to this block. An Update reads and writes
// element i through `Slots`: p, g, and states by number.
//
// kStates state buffers of type State are read, changed and written; p and g likewise (g is read).
template <int kStates>
struct Element {
  float p, g;
  float state[kStates > 0 ? kStates : 1];
};

// half(random, k): the 16 bits that round state k.
__device__ inline uint32_t half_of(uint32_t random, int k) { return k == 0 ? random & 0xffffu : random >> 16; }

// A tensor's mask, and where the piece's entries begin in its compact state; null: all entries are on.
struct Masked {
  const uint64_t* mask;
  int64_t start;
};

// The entries of a piece that are on. State and random numbers go by the place in the compact vectors.
template <typename State, int kStates, typename F>
__device__ inline void over_masked(const Masked& masked, int64_t n, int64_t begin, float* p, const float* g,
                                   void* const* states, uint32_t seed, const F& update) {
  __shared__ PieceMask piece;
  load_piece(piece, masked.mask, n, begin);
  each_on(piece, [&](int entry, int place) {
    const int64_t i = begin + entry;
    const int64_t at = masked.start + place;
    Element<kStates> e;
    e.p = p[i];
    e.g = g[i];
#pragma unroll
    for (int k = 0; k < kStates; ++k) e.state[k] = load_state(static_cast<State*>(states[k]) + at);
    update(e);
    const uint32_t random = sizeof(State) == 2 ? noise(at, seed) : 0;
    p[i] = e.p;
#pragma unroll
    for (int k = 0; k < kStates; ++k) {
      store_state(static_cast<State*>(states[k]) + at, e.state[k], half_of(random, k));
    }
  });
}

template <typename State, int kStates, typename F>
__device__ inline void over_piece(const Masked& masked, int64_t n, int64_t begin, float* p, const float* g,
                                  void* const* states, uint32_t seed, const F& update) {
  if (masked.mask != nullptr) {
    over_masked<State, kStates>(masked, n, begin, p, g, states, seed, update);
    return;
  }
  const int64_t end = begin + kPiece < n ? begin + kPiece : n;
  State* s[kStates > 0 ? kStates : 1];
  bool vector = aligned16(p) && aligned16(g);
#pragma unroll
  for (int k = 0; k < kStates; ++k) {
    s[k] = static_cast<State*>(states[k]);
    vector = vector && aligned16(s[k]);
  }
  int64_t i = begin + 4 * static_cast<int64_t>(threadIdx.x);
  if (vector) {
    for (; i + 4 <= end; i += 4 * kListThreads) {
      Four p4 = load4(p + i);
      const Four g4 = load4(g + i);
      Four old[kStates > 0 ? kStates : 1];
      State fresh[kStates > 0 ? kStates : 1][4];
#pragma unroll
      for (int k = 0; k < kStates; ++k) old[k] = load4(s[k] + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        Element<kStates> e;
        e.p = p4.v[j];
        e.g = g4.v[j];
#pragma unroll
        for (int k = 0; k < kStates; ++k) e.state[k] = old[k].v[j];
        update(e);
        const uint32_t random = sizeof(State) == 2 ? noise(i + j, seed) : 0;
        p4.v[j] = e.p;
#pragma unroll
        for (int k = 0; k < kStates; ++k) fresh[k][j] = rounded(s[k], e.state[k], half_of(random, k));
      }
      store4(p + i, p4);
#pragma unroll
      for (int k = 0; k < kStates; ++k) store4(s[k] + i, fresh[k]);
    }
  }
  // What is left, or all of it where addresses are odd.
  for (; i < end; i += 4 * kListThreads) {
    for (int64_t at = i; at < end && at < i + 4; ++at) {
      Element<kStates> e;
      e.p = p[at];
      e.g = g[at];
      for (int k = 0; k < kStates; ++k) e.state[k] = load_state(s[k] + at);
      update(e);
      const uint32_t random = sizeof(State) == 2 ? noise(at, seed) : 0;
      p[at] = e.p;
      for (int k = 0; k < kStates; ++k) store_state(s[k] + at, e.state[k], half_of(random, k));
    }
  }
}

// ---- masks in lists --------------------------------------------------------------------------------

template <typename Tensor>
__global__ void __launch_bounds__(kListThreads) masked_counts(const __grid_constant__ Held<List<Tensor>> held, int64_t* starts) {
  const List<Tensor>& list = held.get();
  const int t = tensor_of(list, blockIdx.x);
  const Tensor& x = list.tensors[t];
  if (x.mask == nullptr) return;
  const int mine = __popc(word_of_piece(x.mask, x.n, (blockIdx.x - list.first[t]) * kPiece));
  const int total = block_sum<kListThreads>(mine);
  if (threadIdx.x == 0) starts[blockIdx.x] = total;
}

// A block a tensor.
template <typename Tensor>
__global__ void __launch_bounds__(kListThreads) masked_starts(const __grid_constant__ Held<List<Tensor>> held, int64_t* starts) {
  const List<Tensor>& list = held.get();
  const int64_t first = list.first[blockIdx.x];
  if (list.tensors[blockIdx.x].mask == nullptr) return;
  (void)exclusive_sum<kListThreads>(starts + first, list.first[blockIdx.x + 1] - first);
}

// Where the pieces of masked tensors begin in their compact vectors, for a list that has any; else null.
template <typename Tensor>
Status find_starts(Context& context, const List<Tensor>& list, int64_t pieces, int64_t*& starts) {
  starts = nullptr;
  bool any = false;
  for (int t = 0; t < list.count; ++t) any = any || list.tensors[t].mask != nullptr;
  if (!any) return {};
  starts = scratch<int64_t>(context, pieces);
  if (starts == nullptr) return no_memory();
  const Held<List<Tensor>> held = hold(context, list);
  PALIMPSEST_TRY(launch(context, masked_counts<Tensor>, static_cast<unsigned>(pieces), kListThreads, 0, held, starts));
  return launch(context, masked_starts<Tensor>, static_cast<unsigned>(list.count), kListThreads, 0, held, starts);
}

// kernel(list, factors, starts) over lists of tensors that may have masks.
template <typename Tensor, typename Factors>
void step_lists(Context& context, const Tensor* tensors, int64_t count, const Factors& factors,
                void (*kernel)(const Held<Listed<Tensor, Factors>>, const int64_t*)) {
  keep(context, each_list(tensors, count, [&](const List<Tensor>& list, int64_t pieces) -> Status {
    const Workspace::Scope scope(context.workspace);
    int64_t* starts = nullptr;
    PALIMPSEST_TRY(find_starts(context, list, pieces, starts));
    return launch(context, kernel, static_cast<unsigned>(pieces), kListThreads, 0,
                  hold(context, Listed<Tensor, Factors>{list, factors}), static_cast<const int64_t*>(starts));
  }));
}

template <typename Tensor>
__device__ inline Masked masked_of(const Tensor& x, const int64_t* starts) {
  return {x.mask, x.mask == nullptr ? 0 : starts[blockIdx.x]};
}

// ---- SGD -------------------------------------------------------------------------------------------

struct SgdFactors {
  float lr, momentum, dampening, decay;
  GradScale scale;
  bool nesterov, maximize;
};

template <typename State>
__global__ void __launch_bounds__(kListThreads)
    sgd_kernel(const __grid_constant__ Held<Listed<SgdTensor, SgdFactors>> held, const int64_t* starts) {
  const List<SgdTensor>& list = held.get().list;
  const SgdFactors f = held.get().factors;
  const double scale = value_of(f.scale);
  if (scale != scale) return;
  const int t = tensor_of(list, blockIdx.x);
  const SgdTensor x = list.tensors[t];
  const int64_t begin = (blockIdx.x - list.first[t]) * kPiece;
  const auto sign = static_cast<float>(f.maximize ? -scale : scale);
  if (x.buffer == nullptr) {
    over_piece<float, 0>(masked_of(x, starts), x.n, begin, x.p, x.g, nullptr, 0, [&](Element<0>& e) {
      e.p = e.p - f.lr * (sign * e.g + f.decay * e.p);
    });
    return;
  }
  const bool first = x.step == 1;
  const float fresh = first ? 1.0f : f.dampening;
  const float kept = first ? 0.0f : f.momentum;
  const float cg = f.nesterov ? 1.0f : 0.0f;
  const float cb = f.nesterov ? f.momentum : 1.0f;
  void* const states[] = {x.buffer};
  over_piece<State, 1>(masked_of(x, starts), x.n, begin, x.p, x.g, states, seed_of(x.step, list.base + t), [&](Element<1>& e) {
    const float g = sign * e.g + f.decay * e.p;
    // At the first step the buffer may hold anything: 0·NaN would stay.
    const float b = (first ? 0.0f : kept * e.state[0]) + fresh * g;
    e.state[0] = b;
    e.p = e.p - f.lr * (cg * g + cb * b);
  });
}

void sgd(Context& context, const SgdArgs& a, const SgdTensor* tensors, int64_t count) {
  const SgdFactors f{static_cast<float>(a.lr), static_cast<float>(a.momentum),
                     static_cast<float>(1 - a.dampening), static_cast<float>(a.weight_decay),
                     a.grad_scale, a.nesterov, a.maximize};
  step_lists(context, tensors, count, f, a.state == DType::bf16 ? sgd_kernel<BFloat16> : sgd_kernel<float>);
}

// ---- AdamW -----------------------------------------------------------------------------------------

struct AdamWFactors {
  double lr, beta1, beta2;
  float keep, l2, eps;
  bool maximize;
  GradScale scale;
};

template <typename State>
__global__ void __launch_bounds__(kListThreads)
    adamw_kernel(const __grid_constant__ Held<Listed<AdamWTensor, AdamWFactors>> held, const int64_t* starts) {
  const List<AdamWTensor>& list = held.get().list;
  const AdamWFactors f = held.get().factors;
  const double scale = value_of(f.scale);
  if (scale != scale) return;
  const int t = tensor_of(list, blockIdx.x);
  const AdamWTensor x = list.tensors[t];
  const int64_t begin = (blockIdx.x - list.first[t]) * kPiece;
  const auto sign = static_cast<float>(f.maximize ? -scale : scale);
  // Bias corrections: one thread's worth of float64 a block.
  __shared__ float corrections[2];
  if (threadIdx.x == 0) {
    const auto step = static_cast<double>(x.step);
    corrections[0] = static_cast<float>(f.lr / (1 - pow(f.beta1, step)));
    corrections[1] = static_cast<float>(1 / sqrt(1 - pow(f.beta2, step)));
  }
  __syncthreads();
  const float step_size = corrections[0];
  const float inverse_root = corrections[1];
  const auto beta1 = static_cast<float>(f.beta1);
  const auto beta2 = static_cast<float>(f.beta2);
  const auto fresh1 = static_cast<float>(1 - f.beta1);
  const auto fresh2 = static_cast<float>(1 - f.beta2);
  const uint32_t seed = seed_of(x.step, list.base + t);
  if (x.v_max == nullptr) {
    void* const states[] = {x.m, x.v};
    over_piece<State, 2>(masked_of(x, starts), x.n, begin, x.p, x.g, states, seed, [&](Element<2>& e) {
      const float g = sign * e.g + f.l2 * e.p;
      e.state[0] = beta1 * e.state[0] + fresh1 * g;
      e.state[1] = beta2 * e.state[1] + fresh2 * (g * g);
      e.p = f.keep * e.p - step_size * (e.state[0] / (sqrtf(e.state[1]) * inverse_root + f.eps));
    });
  } else {
    void* const states[] = {x.m, x.v, x.v_max};
    over_piece<State, 3>(masked_of(x, starts), x.n, begin, x.p, x.g, states, seed, [&](Element<3>& e) {
      const float g = sign * e.g + f.l2 * e.p;
      e.state[0] = beta1 * e.state[0] + fresh1 * g;
      e.state[1] = beta2 * e.state[1] + fresh2 * (g * g);
      e.state[2] = e.state[2] > e.state[1] ? e.state[2] : e.state[1];
      e.p = f.keep * e.p - step_size * (e.state[0] / (sqrtf(e.state[2]) * inverse_root + f.eps));
    });
  }
}

void adamw(Context& context, const AdamWArgs& a, const AdamWTensor* tensors, int64_t count) {
  const AdamWFactors f{a.lr,
                       a.beta1,
                       a.beta2,
                       static_cast<float>(a.decoupled ? 1 - a.lr * a.weight_decay : 1),
                       static_cast<float>(a.decoupled ? 0 : a.weight_decay),
                       static_cast<float>(a.eps),
                       a.maximize,
                       a.grad_scale};
  step_lists(context, tensors, count, f, a.state == DType::bf16 ? adamw_kernel<BFloat16> : adamw_kernel<float>);
}

// ---- Lion ------------------------------------------------------------------------------------------

struct LionFactors {
  float lr, beta1, beta2, fresh1, fresh2, keep;
  GradScale scale;
};

template <typename State>
__global__ void __launch_bounds__(kListThreads)
    lion_kernel(const __grid_constant__ Held<Listed<LionTensor, LionFactors>> held, const int64_t* starts) {
  const List<LionTensor>& list = held.get().list;
  const LionFactors f = held.get().factors;
  const double scale = value_of(f.scale);
  if (scale != scale) return;
  const int t = tensor_of(list, blockIdx.x);
  const LionTensor x = list.tensors[t];
  const int64_t begin = (blockIdx.x - list.first[t]) * kPiece;
  const auto of_gradient = static_cast<float>(scale);
  void* const states[] = {x.m};
  over_piece<State, 1>(masked_of(x, starts), x.n, begin, x.p, x.g, states, seed_of(x.step, list.base + t), [&](Element<1>& e) {
    const float g = of_gradient * e.g;
    const float old = e.state[0];
    const float u = f.beta1 * old + f.fresh1 * g;
    const float direction = u > 0.0f ? 1.0f : (u < 0.0f ? -1.0f : 0.0f);
    e.state[0] = f.beta2 * old + f.fresh2 * g;
    e.p = f.keep * e.p - f.lr * direction;
  });
}

void lion(Context& context, const LionArgs& a, const LionTensor* tensors, int64_t count) {
  const LionFactors f{static_cast<float>(a.lr),        static_cast<float>(a.beta1),
                      static_cast<float>(a.beta2),     static_cast<float>(1 - a.beta1),
                      static_cast<float>(1 - a.beta2), static_cast<float>(1 - a.lr * a.weight_decay),
                      a.grad_scale};
  step_lists(context, tensors, count, f, a.state == DType::bf16 ? lion_kernel<BFloat16> : lion_kernel<float>);
}

// ---- Muon ------------------------------------------------------------------------------------------

struct MomentumFactors {
  float beta;
  bool nesterov;
  double alpha;
  GradScale scale;
};

template <typename State>
__global__ void __launch_bounds__(kListThreads)
    momentum_kernel(const __grid_constant__ Held<Listed<MomentumTensor, MomentumFactors>> held) {
  const List<MomentumTensor>& list = held.get().list;
  const MomentumFactors f = held.get().factors;
  const double scale = value_of(f.scale);
  if (scale != scale) return;
  const auto fresh = static_cast<float>(f.alpha * scale);
  const float cg = f.nesterov ? fresh : 0.0f;
  const float cm = f.nesterov ? f.beta : 1.0f;
  const int t = tensor_of(list, blockIdx.x);
  const MomentumTensor x = list.tensors[t];
  const int64_t begin = (blockIdx.x - list.first[t]) * kPiece;
  const int64_t end = begin + kPiece < x.n ? begin + kPiece : x.n;
  const uint32_t seed = seed_of(x.step, list.base + t);
  if (x.u != nullptr) {
    // u takes p's place: written, not read.
    void* const states[] = {x.m};
    over_piece<State, 1>(Masked{nullptr, 0}, x.n, begin, x.u, x.g, states, seed, [&](Element<1>& e) {
      const float m1 = f.beta * e.state[0] + fresh * e.g;
      e.state[0] = m1;
      e.p = cg * e.g + cm * m1;
    });
    return;
  }
  State* m = static_cast<State*>(x.m);
  for (int64_t i = begin + threadIdx.x; i < end; i += kListThreads) {
    store_state(m + i, f.beta * load_state(m + i) + fresh * x.g[i], noise(i, seed) & 0xffffu);
  }
}

void momentum(Context& context, const MomentumArgs& a, const MomentumTensor* tensors, int64_t count) {
  const MomentumFactors f{static_cast<float>(a.beta), a.nesterov, a.alpha, a.grad_scale};
  keep(context, each_list(tensors, count, [&](const List<MomentumTensor>& list, int64_t pieces) {
    const auto kernel = a.state == DType::bf16 ? momentum_kernel<BFloat16> : momentum_kernel<float>;
    return launch(context, kernel, static_cast<unsigned>(pieces), kListThreads, 0,
                  hold(context, Listed<MomentumTensor, MomentumFactors>{list, f}));
  }));
}

// Entries from `first` on, `step` apart, below `end`.
__device__ inline void update_range(const DecayedUpdateArgs& a, int64_t first, int64_t end, int64_t step) {
  if (forbidden(a.go)) return;
  const auto decay = static_cast<float>(a.decay);
  const auto keep = static_cast<float>(1 - a.decay);
  for (int64_t i = first; i < end; i += step) {
    const int64_t row = i / a.cols;
    const float p = a.p[i];
    const float o = a.o[i];
    const float scale = static_cast<float>(a.scale) * (a.row_scale != nullptr ? a.row_scale[row] : 1.0f);
    const float kept = a.cautious ? (p * o > 0.0f ? p - decay * p : p) : keep * p;
    a.p[i] = kept - scale * (a.col_scale != nullptr ? a.col_scale[i - row * a.cols] * o : o);
  }
}

__global__ void __launch_bounds__(kListThreads) update_kernel(const __grid_constant__ Held<DecayedUpdateArgs> held) {
  const DecayedUpdateArgs a = held.get();
  update_range(a, global_thread(), a.rows * a.cols, all_threads());
}

void decayed_update(Context& context, const DecayedUpdateArgs& a) {
  const int64_t n = a.rows * a.cols;
  if (n == 0) return;
  keep(context, launch(context, update_kernel, blocks_for(context, n, 4 * kListThreads), kListThreads, 0, hold(context, a)));
}

// Many matrices in one launch.
struct UpdateTensor {
  int64_t n;
  DecayedUpdateArgs args;
};

__global__ void __launch_bounds__(kListThreads) updates_kernel(const __grid_constant__ Held<List<UpdateTensor>> held) {
  const List<UpdateTensor>& list = held.get();
  const int t = tensor_of(list, blockIdx.x);
  const UpdateTensor x = list.tensors[t];
  const int64_t begin = (blockIdx.x - list.first[t]) * kPiece;
  update_range(x.args, begin + threadIdx.x, begin + kPiece < x.n ? begin + kPiece : x.n, kListThreads);
}

void decayed_updates(Context& context, const DecayedUpdateArgs* updates, int64_t count) {
  std::vector<UpdateTensor> tensors;
  for (int64_t i = 0; i < count; ++i) tensors.push_back({updates[i].rows * updates[i].cols, updates[i]});
  keep(context, each_list(tensors.data(), count, [&](const List<UpdateTensor>& list, int64_t pieces) {
    return launch(context, updates_kernel, static_cast<unsigned>(pieces), kListThreads, 0, hold(context, list));
  }));
}

// By one block: neurons are thousands, not millions.
__device__ inline void factors_of(const NeuronFactorArgs& a) {
  if (forbidden(a.go)) return;
  double before = 0;
  double after = 0;
  for (int64_t i = threadIdx.x; i < a.neurons; i += kListThreads) {
    const double squares = a.squares[i];
    const double v = a.beta2 * a.second_moment[i] + (1 - a.beta2) * squares / static_cast<double>(a.inputs);
    a.second_moment[i] = static_cast<float>(v);
    const double factor = 1 / (sqrt(v) + a.eps);
    before += squares;
    after += squares * factor * factor;
    a.factors[i] = static_cast<float>(factor);
  }
  before = block_sum<kListThreads>(before);
  after = block_sum<kListThreads>(after);
  const double target = a.norm > 0 ? a.norm : sqrt(before);
  const double restore = after > 0 ? target / sqrt(after) : 0;
  for (int64_t i = threadIdx.x; i < a.neurons; i += kListThreads) {
    a.factors[i] = static_cast<float>(static_cast<double>(a.factors[i]) * restore);
  }
}

// A block a matrix, many matrices in one launch.
struct FactorTensor {
  int64_t n;  // 1: one piece
  NeuronFactorArgs args;
};

__global__ void __launch_bounds__(kListThreads) factors_kernel(const __grid_constant__ Held<List<FactorTensor>> held) {
  const List<FactorTensor>& list = held.get();
  const FactorTensor x = list.tensors[tensor_of(list, blockIdx.x)];
  factors_of(x.args);
}

Status neuron_factors_each(Context& context, const NeuronFactorArgs* matrices, int64_t count) {
  std::vector<FactorTensor> tensors;
  for (int64_t i = 0; i < count; ++i) tensors.push_back({1, matrices[i]});
  return each_list(tensors.data(), count, [&](const List<FactorTensor>& list, int64_t pieces) {
    return launch(context, factors_kernel, static_cast<unsigned>(pieces), kListThreads, 0, hold(context, list));
  });
}

Status neuron_factors(Context& context, const NeuronFactorArgs& a) { return neuron_factors_each(context, &a, 1); }

// ---- gradients -------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kListThreads) squares_kernel(const __grid_constant__ Held<List<GradientTensor>> held, double* parts) {
  const List<GradientTensor>& list = held.get();
  const int t = tensor_of(list, blockIdx.x);
  const GradientTensor x = list.tensors[t];
  const int64_t begin = (blockIdx.x - list.first[t]) * kPiece;
  const int64_t end = begin + kPiece < x.n ? begin + kPiece : x.n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kListThreads) {
    // What is off counts nothing, and may hold anything.
    if (x.mask != nullptr && (half_words(x.mask)[i / 32] >> (i % 32) & 1u) == 0) continue;
    const double g = x.g[i];
    sum += g * g;
  }
  sum = block_sum<kListThreads>(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// A warp a tensor.
__global__ void __launch_bounds__(kListThreads)
    total_kernel(const __grid_constant__ Held<List<GradientTensor>> held, const double* parts, double* squares) {
  const List<GradientTensor>& list = held.get();
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int64_t t = global_thread() / 32; t < list.count; t += all_threads() / 32) {
    double sum = 0;
    for (int64_t k = list.first[t] + lane; k < list.first[t + 1]; k += 32) sum += parts[k];
    sum = warp_sum(sum);
    if (lane == 0) squares[list.base + t] = sum;
  }
}

// totals[i] = Σg² of gradient i, on the device.
Status start_sums(Context& context, const GradientTensor* tensors, int64_t count, double* totals) {
  PALIMPSEST_TRY(clear(context, totals, static_cast<size_t>(count) * sizeof(double)));
  return each_list(tensors, count, [&](const List<GradientTensor>& list, int64_t pieces) -> Status {
    const Workspace::Scope inner(context.workspace);
    double* parts = scratch<double>(context, pieces);
    if (parts == nullptr) return no_memory();
    const Held<List<GradientTensor>> held = hold(context, list);
    PALIMPSEST_TRY(launch(context, squares_kernel, static_cast<unsigned>(pieces), kListThreads, 0, held, parts));
    return launch(context, total_kernel, static_cast<unsigned>(ceil_div(list.count, kListThreads / 32)),
                  kListThreads, 0, held, static_cast<const double*>(parts), totals);
  });
}

void sum_of_squares(Context& context, const GradientTensor* tensors, int64_t count, double* squares) {
  for (int64_t i = 0; i < count; ++i) squares[i] = tensors[i].n == 0 ? 0 : NAN;  // until it is known
  if (count == 0) return;
  keep(context, [&]() -> Status {
    const Workspace::Scope scope(context.workspace);
    double* totals = scratch<double>(context, count);
    if (totals == nullptr) return no_memory();
    PALIMPSEST_TRY(start_sums(context, tensors, count, totals));
    return context.read_bytes(squares, totals, static_cast<size_t>(count) * sizeof(double));
  }());
}

// One block; one thread adds up, in the order in which native/ops/optimizer.cpp does.
struct Decision {
  int64_t count, groups;
  const double* squares;
  const int64_t* ends;
  const double* max_norms;
  double* scales;
  double* answers;
};

__device__ inline double clip(double norm, double limit) { return norm > limit ? limit / (norm + 1e-6) : 1.0; }

__global__ void __launch_bounds__(kListThreads) decide_kernel(const Decision d, const __grid_constant__ Held<double> max_norm) {
  __shared__ double of_chunk[kListThreads];
  __shared__ double norm;
  const int thread = static_cast<int>(threadIdx.x);
  double total = 0;
  double of_group = 0;
  int64_t group = 0;
  for (int64_t first = 0; first < d.count; first += kListThreads) {
    if (first + thread < d.count) of_chunk[thread] = d.squares[first + thread];
    __syncthreads();
    for (int64_t i = first; thread == 0 && i < first + kListThreads && i < d.count; ++i) {
      for (; i >= d.ends[group]; ++group, of_group = 0) d.scales[group] = of_group;
      total += of_chunk[i - first];
      of_group += of_chunk[i - first];
    }
    __syncthreads();
  }
  if (thread == 0) {
    norm = sqrt(total);
    const double global = clip(norm, max_norm.get());
    for (int64_t g = 0; g < d.groups; ++g) {
      const double sum = g < group ? d.scales[g] : (g == group ? of_group : 0.0);
      d.scales[g] = global * clip(global * sqrt(sum), d.max_norms[g]);
    }
  }
  __syncthreads();
  int64_t bad = INT64_MIN;  // minus the first that is
  int64_t begin = 0;
  for (int64_t g = 0; g < d.groups; ++g) {
    const double scale = d.scales[g];
    for (int64_t i = begin + thread; i < d.ends[g]; i += kListThreads) {
      const double largest = d.squares[i] * scale * scale;
      if (!(largest < 3.4028234663852886e38) && -i > bad) bad = -i;
    }
    begin = d.ends[g];
  }
  bad = block_max<kListThreads>(bad);
  if (bad != INT64_MIN) {
    for (int64_t g = thread; g < d.groups; g += kListThreads) d.scales[g] = NAN;
  }
  if (thread != 0) return;
  d.answers[0] = norm;
  d.answers[1] = bad == INT64_MIN ? -1.0 : static_cast<double>(-bad);
  const double squares = bad == INT64_MIN ? 0.0 : d.squares[-bad];
  d.answers[2] = squares - squares == 0 ? 1.0 : 0.0;
}

Status decide(Context& context, const DecideArgs& a) {
  const Workspace::Scope scope(context.workspace);
  double* squares = scratch<double>(context, a.count);
  if (squares == nullptr) return no_memory();
  PALIMPSEST_TRY(start_sums(context, a.list, a.count, squares));
  const int64_t* ends = nullptr;
  const double* max_norms = nullptr;
  PALIMPSEST_TRY(hold_list(context, a.ends, a.groups, ends));
  PALIMPSEST_TRY(hold_list(context, a.max_norms, a.groups, max_norms));
  return launch(context, decide_kernel, 1, kListThreads, 0,
                Decision{a.count, a.groups, squares, ends, max_norms, a.scales, a.answers}, hold(context, a.max_norm));
}

__global__ void __launch_bounds__(kListThreads) fisher_kernel(const FisherArgs a) {
  const auto keep = static_cast<float>(a.keep);
  const auto fresh = static_cast<float>(a.fresh);
  for (int64_t i = global_thread(); i < a.n; i += all_threads()) {
    float sum = 0;
    for (int64_t s = 0; s < a.samples; ++s) {
      const float g = a.g[s * a.n + i];
      sum += g * g;
    }
    a.f[i] = keep * a.f[i] + fresh * sum;
  }
}

void fisher(Context& context, const FisherArgs& a) {
  if (a.n == 0) return;
  keep(context, launch(context, fisher_kernel, blocks_for(context, a.n, 4 * kListThreads), kListThreads, 0, a));
}

}  // namespace

void fill_optim(KernelTable& table) {
  table.optim = {.sgd = sgd,
                 .adamw = adamw,
                 .lion = lion,
                 .momentum = momentum,
                 .decayed_update = decayed_update,
                 .decayed_updates = decayed_updates,
                 .neuron_factors = neuron_factors,
                 .neuron_factors_each = neuron_factors_each,
                 .sum_of_squares = sum_of_squares,
                 .fisher = fisher,
                 .decide = decide};
}

}  // namespace palimpsest::cuda
