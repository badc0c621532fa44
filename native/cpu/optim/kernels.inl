// Optimizer steps, memory-bound: floor = bytes of all buffers (AdamW 28 bytes a parameter: p, m, v
// read and written, g read; 20 with bf16 state). Plain loops that the compiler vectorises; work is cut
// by sizes alone, so that nothing depends on the number of threads.

#include <bit>

#include "cpu/masks/bits.inl"
#include "cpu/simd/blocks.inl"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kGrain = 32768;
// Elements of a task of a large tensor: long runs, for the hardware's prefetchers and the page tables.
constexpr int64_t kLargeGrain = 262144;
inline int64_t grain_of(int64_t n) { return n >= 8 * kLargeGrain ? kLargeGrain : kGrain; }

// body(begin, end) of a piece of p, cut where a cache line begins: memory that JavaScript allocated
// starts in the middle of one, and every vector would touch two.
template <typename Body>
inline void by_lines(const float* p, int64_t begin, int64_t end, const Body& body) {
  const auto address = reinterpret_cast<uintptr_t>(p + begin);
  const int64_t lead = static_cast<int64_t>((64 - address % 64) % 64 / sizeof(float));
  if (lead > 0 && end - begin > 16 * lead) {
    body(begin, begin + lead);
    begin += lead;
  }
  body(begin, end);
}

inline float root(float x) { return __builtin_sqrtf(x); }

// 32 bits that depend on the element and the step: the low half rounds one buffer, the high half
// another. (A multiplicative hash with two rounds of mixing; uniform enough to round without bias.)
inline uint32_t noise(uint32_t i, uint32_t seed) {
  uint32_t x = i * 0x9E3779B1u + seed;
  x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
  x = (x ^ (x >> 13)) * 0xC2B2AE35u;
  return x ^ (x >> 16);
}
inline uint32_t seed_of(int64_t step, int64_t tensor) {
  return noise(static_cast<uint32_t>(step), static_cast<uint32_t>(tensor) * 0x27D4EB2Fu + 0x165667B1u);
}

// How state is held.
inline float load(float x) { return x; }
inline float load(BFloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }
inline void store(float* to, float x, uint32_t) { *to = x; }
// Rounds up with the probability of the part that is cut off.
inline void store(BFloat16* to, float x, uint32_t half) {
  to->bits = static_cast<uint16_t>((std::bit_cast<uint32_t>(x) + half) >> 16);
}

struct Piece {
  int64_t tensor, begin, end;
};

// Calls body(index, begin, end) for pieces of all tensors; a task has at least kGrain elements where
// there are so many, from several tensors if need be.
template <typename Tensor, typename Body>
void over(Context& context, const Tensor* list, int64_t count, const Body& body) {
  const Workspace::Scope scope(context.workspace);
  int64_t total = 0;
  for (int64_t i = 0; i < count; ++i) total += (list[i].n + grain_of(list[i].n) - 1) / grain_of(list[i].n);
  auto* pieces = context.workspace.take<Piece>(total);
  auto* first = context.workspace.take<int64_t>(total + 1);
  int64_t at = 0;
  int64_t tasks = 0;
  int64_t filled = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t grain = grain_of(list[i].n);
    for (int64_t begin = 0; begin < list[i].n; begin += grain) {
      const int64_t end = begin + grain < list[i].n ? begin + grain : list[i].n;
      if (filled == 0) first[tasks++] = at;
      pieces[at++] = {i, begin, end};
      filled += end - begin;
      if (filled >= kGrain) filled = 0;
    }
  }
  first[tasks] = at;
  context.parallel(tasks, [&](int64_t task) {
    for (int64_t k = first[task]; k < first[task + 1]; ++k) {
      body(pieces[k].tensor, pieces[k].begin, pieces[k].end);
    }
  });
}

template <typename State>
void sgd_piece(const SgdArgs& a, const SgdTensor& t, uint32_t seed, int64_t begin, int64_t end) {
  const auto count = static_cast<int32_t>(end - begin);
  seed += static_cast<uint32_t>(begin) * 0x9E3779B1u;
  const bool begins = t.step == 1;
  const auto lr = static_cast<float>(a.lr);
  const auto momentum = static_cast<float>(a.momentum);
  const auto fresh = static_cast<float>(begins ? 1 : 1 - a.dampening);
  const auto kept = static_cast<float>(begins ? 0 : a.momentum);
  const auto decay = static_cast<float>(a.weight_decay);
  const auto sign = static_cast<float>(a.maximize ? -a.grad_scale.value : a.grad_scale.value);
  float* p = t.p + begin;
  const float* grad = t.g + begin;
  auto* buffer = static_cast<State*>(t.buffer);
  if (buffer == nullptr) {
#pragma GCC ivdep
    for (int32_t i = 0; i < count; ++i) {
      const float g = sign * grad[i] + decay * p[i];
      p[i] = p[i] - lr * g;
    }
    return;
  }
  buffer += begin;
  // Nesterov's g + momentum·b is cg·g + cb·b.
  const float cg = a.nesterov ? 1.0f : 0.0f;
  const float cb = a.nesterov ? momentum : 1.0f;
  const auto ask = [&](int64_t i) {
    __builtin_prefetch(p + i, 1);
    __builtin_prefetch(grad + i);
    __builtin_prefetch(buffer + i, 1);
  };
  in_blocks<float>(0, count, ask, [&](int64_t from, int64_t to) {
    const auto first = static_cast<int32_t>(from), last = static_cast<int32_t>(to);
#pragma GCC ivdep
    for (int32_t i = first; i < last; ++i) {
      const float g = sign * grad[i] + decay * p[i];
      const float b = kept * load(buffer[i]) + fresh * g;
      store(buffer + i, b, noise(static_cast<uint32_t>(i), seed) & 0xffffu);
      p[i] = p[i] - lr * (cg * g + cb * b);
    }
  });
}

template <typename State, bool kAmsgrad>
void adamw_piece(const AdamWArgs& a, const AdamWTensor& t, uint32_t seed, int64_t begin,
                 int64_t end) {
  const auto count = static_cast<int32_t>(end - begin);
  seed += static_cast<uint32_t>(begin) * 0x9E3779B1u;
  const double correction1 = 1 - __builtin_pow(a.beta1, static_cast<double>(t.step));
  const double correction2 = 1 - __builtin_pow(a.beta2, static_cast<double>(t.step));
  const auto beta1 = static_cast<float>(a.beta1);
  const auto beta2 = static_cast<float>(a.beta2);
  const auto fresh1 = static_cast<float>(1 - a.beta1);
  const auto fresh2 = static_cast<float>(1 - a.beta2);
  const auto keep = static_cast<float>(a.decoupled ? 1 - a.lr * a.weight_decay : 1);
  const auto l2 = static_cast<float>(a.decoupled ? 0 : a.weight_decay);
  const auto sign = static_cast<float>(a.maximize ? -a.grad_scale.value : a.grad_scale.value);
  const auto step_size = static_cast<float>(a.lr / correction1);
  const auto inverse_root = static_cast<float>(1 / __builtin_sqrt(correction2));
  const auto eps = static_cast<float>(a.eps);
  float* p = t.p + begin;
  const float* grad = t.g + begin;
  auto* m = static_cast<State*>(t.m) + begin;
  auto* v = static_cast<State*>(t.v) + begin;
  State* v_max = kAmsgrad ? static_cast<State*>(t.v_max) + begin : nullptr;
  const auto ask = [&](int64_t i) {
    __builtin_prefetch(p + i, 1);
    __builtin_prefetch(grad + i);
    __builtin_prefetch(m + i, 1);
    __builtin_prefetch(v + i, 1);
  };
  in_blocks<float>(0, count, ask, [&](int64_t from, int64_t to) {
    const auto first = static_cast<int32_t>(from), last = static_cast<int32_t>(to);
#pragma GCC ivdep
    for (int32_t i = first; i < last; ++i) {
      const uint32_t random = noise(static_cast<uint32_t>(i), seed);
      const float g = sign * grad[i] + l2 * p[i];
      const float m1 = beta1 * load(m[i]) + fresh1 * g;
      const float v1 = beta2 * load(v[i]) + fresh2 * (g * g);
      store(m + i, m1, random & 0xffffu);
      store(v + i, v1, random >> 16);
      float second = v1;
      if constexpr (kAmsgrad) {
        const float largest = load(v_max[i]);
        second = largest > v1 ? largest : v1;
        store(v_max + i, second, random >> 16);
      }
      p[i] = keep * p[i] - step_size * (m1 / (root(second) * inverse_root + eps));
    }
  });
}

template <typename State>
void lion_piece(const LionArgs& a, const LionTensor& t, uint32_t seed, int64_t begin, int64_t end) {
  const auto count = static_cast<int32_t>(end - begin);
  seed += static_cast<uint32_t>(begin) * 0x9E3779B1u;
  const auto lr = static_cast<float>(a.lr);
  const auto beta1 = static_cast<float>(a.beta1);
  const auto beta2 = static_cast<float>(a.beta2);
  const auto fresh1 = static_cast<float>(1 - a.beta1);
  const auto fresh2 = static_cast<float>(1 - a.beta2);
  const auto keep = static_cast<float>(1 - a.lr * a.weight_decay);
  const auto scale = static_cast<float>(a.grad_scale.value);
  float* p = t.p + begin;
  const float* grad = t.g + begin;
  auto* m = static_cast<State*>(t.m) + begin;
  const auto ask = [&](int64_t i) {
    __builtin_prefetch(p + i, 1);
    __builtin_prefetch(grad + i);
    __builtin_prefetch(m + i, 1);
  };
  in_blocks<float>(0, count, ask, [&](int64_t from, int64_t to) {
    const auto first = static_cast<int32_t>(from), last = static_cast<int32_t>(to);
#pragma GCC ivdep
    for (int32_t i = first; i < last; ++i) {
      const float g = scale * grad[i];
      const float old = load(m[i]);
      const float u = beta1 * old + fresh1 * g;
      const float direction = u > 0.0f ? 1.0f : (u < 0.0f ? -1.0f : 0.0f);
      store(m + i, beta2 * old + fresh2 * g, noise(static_cast<uint32_t>(i), seed) & 0xffffu);
      p[i] = keep * p[i] - lr * direction;
    }
  });
}

template <typename State>
void momentum_piece(const MomentumArgs& a, const MomentumTensor& t, uint32_t seed, int64_t begin,
                    int64_t end) {
  const auto count = static_cast<int32_t>(end - begin);
  seed += static_cast<uint32_t>(begin) * 0x9E3779B1u;
  const auto beta = static_cast<float>(a.beta);
  const auto fresh = static_cast<float>(a.alpha * a.grad_scale.value);
  const float cg = a.nesterov ? fresh : 0.0f;
  const float cm = a.nesterov ? beta : 1.0f;
  const float* g = t.g + begin;
  auto* m = static_cast<State*>(t.m) + begin;
  float* u = t.u;
  if (u == nullptr) {
#pragma GCC ivdep
    for (int32_t i = 0; i < count; ++i) {
      store(m + i, beta * load(m[i]) + fresh * g[i], noise(static_cast<uint32_t>(i), seed) & 0xffffu);
    }
    return;
  }
  u += begin;
#pragma GCC ivdep
  for (int32_t i = 0; i < count; ++i) {
    const float m1 = beta * load(m[i]) + fresh * g[i];
    store(m + i, m1, noise(static_cast<uint32_t>(i), seed) & 0xffffu);
    u[i] = cg * g[i] + cm * m1;
  }
}

// Steps the masked tensors of a list: body(tensor over a block's entries that are on, side by side in
// L1, number of the first of them, seed), then puts their parameters back.
template <typename Tensor, typename Body>
void over_masked(Context& context, const Tensor* list, int64_t count, const Body& body) {
  for_mask_blocks(context, list, count, [&](const MaskBlock& block) {
    alignas(64) float p[kMaskBlock];
    alignas(64) float g[kMaskBlock];
    Tensor own = list[block.tensor];
    float* const from = own.p + block.first;
    own.n = gather_bits(from, block.words, block.word_count(), p);
    if (own.compact != nullptr) {
      own.g = own.compact + block.start;
    } else {
      gather_bits(own.g + block.first, block.words, block.word_count(), g);
      own.g = g;
    }
    own.p = p;
    const uint32_t seed = seed_of(own.step, block.tensor);
    body(own, block.start, seed + static_cast<uint32_t>(block.start) * 0x9E3779B1u);
    scatter_bits(from, block.words, block.word_count(), p);
  });
}

template <typename State>
void* offset(void* state, int64_t start) {
  return state == nullptr ? nullptr : static_cast<State*>(state) + start;
}

template <typename State>
void sgd_masked(Context& context, const SgdArgs& a, const SgdTensor* list, int64_t count) {
  over_masked(context, list, count, [&](SgdTensor& own, int64_t start, uint32_t seed) {
    own.buffer = offset<State>(own.buffer, start);
    sgd_piece<State>(a, own, seed, 0, own.n);
  });
}

template <typename State>
void adamw_masked(Context& context, const AdamWArgs& a, const AdamWTensor* list, int64_t count) {
  over_masked(context, list, count, [&](AdamWTensor& own, int64_t start, uint32_t seed) {
    own.m = offset<State>(own.m, start);
    own.v = offset<State>(own.v, start);
    own.v_max = offset<State>(own.v_max, start);
    own.v_max != nullptr ? adamw_piece<State, true>(a, own, seed, 0, own.n)
                         : adamw_piece<State, false>(a, own, seed, 0, own.n);
  });
}

template <typename State>
void lion_masked(Context& context, const LionArgs& a, const LionTensor* list, int64_t count) {
  over_masked(context, list, count, [&](LionTensor& own, int64_t start, uint32_t seed) {
    own.m = offset<State>(own.m, start);
    lion_piece<State>(a, own, seed, 0, own.n);
  });
}

void sgd(Context& context, const SgdArgs& a, const SgdTensor* list, int64_t count) {
  a.state == DType::bf16 ? sgd_masked<BFloat16>(context, a, list, count)
                         : sgd_masked<float>(context, a, list, count);
  over(context, list, count, [&](int64_t i, int64_t from, int64_t to) {
    if (list[i].mask != nullptr) return;
    const uint32_t seed = seed_of(list[i].step, i);
    by_lines(list[i].p, from, to, [&](int64_t begin, int64_t end) {
      a.state == DType::bf16 ? sgd_piece<BFloat16>(a, list[i], seed, begin, end)
                             : sgd_piece<float>(a, list[i], seed, begin, end);
    });
  });
}

void adamw(Context& context, const AdamWArgs& a, const AdamWTensor* list, int64_t count) {
  a.state == DType::bf16 ? adamw_masked<BFloat16>(context, a, list, count)
                         : adamw_masked<float>(context, a, list, count);
  over(context, list, count, [&](int64_t i, int64_t from, int64_t to) {
    if (list[i].mask != nullptr) return;
    const uint32_t seed = seed_of(list[i].step, i);
    const bool half = a.state == DType::bf16;
    by_lines(list[i].p, from, to, [&](int64_t begin, int64_t end) {
      if (list[i].v_max != nullptr) {
        half ? adamw_piece<BFloat16, true>(a, list[i], seed, begin, end)
             : adamw_piece<float, true>(a, list[i], seed, begin, end);
      } else {
        half ? adamw_piece<BFloat16, false>(a, list[i], seed, begin, end)
             : adamw_piece<float, false>(a, list[i], seed, begin, end);
      }
    });
  });
}

void lion(Context& context, const LionArgs& a, const LionTensor* list, int64_t count) {
  a.state == DType::bf16 ? lion_masked<BFloat16>(context, a, list, count)
                         : lion_masked<float>(context, a, list, count);
  over(context, list, count, [&](int64_t i, int64_t from, int64_t to) {
    if (list[i].mask != nullptr) return;
    const uint32_t seed = seed_of(list[i].step, i);
    by_lines(list[i].p, from, to, [&](int64_t begin, int64_t end) {
      a.state == DType::bf16 ? lion_piece<BFloat16>(a, list[i], seed, begin, end)
                             : lion_piece<float>(a, list[i], seed, begin, end);
    });
  });
}

void momentum(Context& context, const MomentumArgs& a, const MomentumTensor* list, int64_t count) {
  over(context, list, count, [&](int64_t i, int64_t begin, int64_t end) {
    const uint32_t seed = seed_of(list[i].step, i);
    a.state == DType::bf16 ? momentum_piece<BFloat16>(a, list[i], seed, begin, end)
                           : momentum_piece<float>(a, list[i], seed, begin, end);
  });
}

// One row: p ← kept·p − scale·(columns ·) o.
template <bool kColumns>
void update_row(const DecayedUpdateArgs& a, float* p, const float* o, float scale) {
  const auto decay = static_cast<float>(a.decay);
  const auto keep = static_cast<float>(1 - a.decay);
  const float* columns = a.col_scale;
  if (a.cautious) {
#pragma GCC ivdep
    for (int64_t j = 0; j < a.cols; ++j) {
      const float kept = p[j] * o[j] > 0.0f ? p[j] - decay * p[j] : p[j];
      p[j] = kept - scale * (kColumns ? columns[j] * o[j] : o[j]);
    }
  } else {
#pragma GCC ivdep
    for (int64_t j = 0; j < a.cols; ++j) {
      p[j] = keep * p[j] - scale * (kColumns ? columns[j] * o[j] : o[j]);
    }
  }
}

void decayed_update(Context& context, const DecayedUpdateArgs& a) {
  const int64_t rows_a_task = a.cols >= kGrain ? 1 : kGrain / (a.cols > 0 ? a.cols : 1);
  context.parallel_chunks(a.rows, rows_a_task, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* p = a.p + r * a.cols;
      const float* o = a.o + r * a.cols;
      const float scale =
          static_cast<float>(a.scale) * (a.row_scale != nullptr ? a.row_scale[r] : 1.0f);
      a.col_scale != nullptr ? update_row<true>(a, p, o, scale) : update_row<false>(a, p, o, scale);
    }
  });
}

// One number a neuron: too little for threads.
Status neuron_factors(Context&, const NeuronFactorArgs& a) {
  double before = 0;
  double after = 0;
  for (int64_t i = 0; i < a.neurons; ++i) {
    const double squares = a.squares[i];
    const double mean = squares / static_cast<double>(a.inputs);
    const double v = a.beta2 * a.second_moment[i] + (1 - a.beta2) * mean;
    a.second_moment[i] = static_cast<float>(v);
    const double factor = 1 / (__builtin_sqrt(v) + a.eps);
    before += squares;
    after += squares * factor * factor;
    a.factors[i] = static_cast<float>(factor);
  }
  const double target = a.norm > 0 ? a.norm : __builtin_sqrt(before);
  const double restore = after > 0 ? target / __builtin_sqrt(after) : 0;
  for (int64_t i = 0; i < a.neurons; ++i) {
    a.factors[i] = static_cast<float>(static_cast<double>(a.factors[i]) * restore);
  }
  return {};
}

// Sixteen sums side by side, in f64: squares of f32 neither overflow nor vanish.
double squares_of(const float* g, int64_t n) {
  constexpr int kLanes = 16;
  double lanes[kLanes] = {};
  int64_t i = 0;
  in_blocks<float>(0, n / kLanes * kLanes, [g](int64_t at) { __builtin_prefetch(g + at); },
                   [&](int64_t from, int64_t to) {
                     for (i = from; i < to; i += kLanes) {
#pragma GCC unroll 16
                       for (int j = 0; j < kLanes; ++j) {
                         const double x = g[i + j];
                         lanes[j] += x * x;
                       }
                     }
                   });
  for (int j = 0; i < n; ++i, ++j) {
    const double x = g[i];
    lanes[j] += x * x;
  }
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  }
  return lanes[0];
}

void sum_of_squares(Context& context, const GradientTensor* list, int64_t count, double* squares) {
  const Workspace::Scope scope(context.workspace);
  auto* first = context.workspace.take<int64_t>(count + 1);
  first[0] = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t grain = grain_of(list[i].n);
    first[i + 1] = first[i] + (list[i].mask != nullptr ? 0 : (list[i].n + grain - 1) / grain);
  }
  auto* parts = context.workspace.take<double>(first[count]);
  over(context, list, count, [&](int64_t i, int64_t begin, int64_t end) {
    if (list[i].mask != nullptr) return;
    parts[first[i] + begin / grain_of(list[i].n)] = squares_of(list[i].g + begin, end - begin);
  });
  for (int64_t i = 0; i < count; ++i) {
    squares[i] = 0;
    for (int64_t k = first[i]; k < first[i + 1]; ++k) squares[i] += parts[k];
  }
  const int64_t blocks = mask_blocks(list, count);
  if (blocks == 0) return;
  auto* own = context.workspace.take<double>(blocks);
  auto* owner = context.workspace.take<int64_t>(blocks);
  for (int64_t b = 0; b < blocks; ++b) owner[b] = -1;
  for_mask_blocks(context, list, count, [&](const MaskBlock& block, int64_t b) {
    alignas(64) float g[kMaskBlock];
    const GradientTensor& t = list[block.tensor];
    float* const to = t.compact != nullptr ? t.compact + block.start : g;
    own[b] = squares_of(to, gather_bits(t.g + block.first, block.words, block.word_count(), to));
    owner[b] = block.tensor;
  });
  for (int64_t b = 0; b < blocks; ++b) {
    if (owner[b] >= 0) squares[owner[b]] += own[b];
  }
}

void fisher(Context& context, const FisherArgs& a) {
  const auto keep = static_cast<float>(a.keep);
  const auto fresh = static_cast<float>(a.fresh);
  context.parallel_chunks(a.n, grain_of(a.n), [&](int64_t from, int64_t to) {
    float* f = a.f;
    if (a.samples == 1) {
      const float* g = a.g;
      by_lines(f, from, to, [&](int64_t begin, int64_t end) {
        const auto ask = [&](int64_t i) {
          __builtin_prefetch(f + i, 1);
          __builtin_prefetch(g + i);
        };
        in_blocks<float>(begin, end, ask, [&](int64_t low, int64_t high) {
#pragma GCC ivdep
          for (int64_t i = low; i < high; ++i) f[i] = keep * f[i] + fresh * (g[i] * g[i]);
        });
      });
      return;
    }
    constexpr int64_t kBlock = 1024;
    for (int64_t at = from; at < to; at += kBlock) {
      const int64_t n = to - at < kBlock ? to - at : kBlock;
      alignas(64) float sums[kBlock] = {};
      for (int64_t s = 0; s < a.samples; ++s) {
        const float* g = a.g + s * a.n + at;
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) sums[i] += g[i] * g[i];
      }
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) f[at + i] = keep * f[at + i] + fresh * sums[i];
    }
  });
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_optim_, PALIMPSEST_LEVEL)(KernelTable& table) {
  using namespace PALIMPSEST_LEVEL;
  table.optim = {.sgd = sgd,
                 .adamw = adamw,
                 .lion = lion,
                 .momentum = momentum,
                 .decayed_update = decayed_update,
                 .neuron_factors = neuron_factors,
                 .sum_of_squares = sum_of_squares,
                 .fisher = fisher,
                 .keeps_compact = true};
}

}  // namespace palimpsest::cpu
