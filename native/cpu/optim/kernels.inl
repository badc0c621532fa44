// Optimizer steps, memory-bound: floor = bytes of all buffers (AdamW 28 bytes a parameter: p, m, v
// read and written, g read). Plain loops that the compiler vectorises; a task takes a chunk that
// leaves the division of work the same for every number of threads.

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kGrain = 32768;

inline float root(float x) { return __builtin_sqrtf(x); }

void sgd(Context& context, const SgdArgs& a) {
  const auto lr = static_cast<float>(a.lr);
  const auto momentum = static_cast<float>(a.momentum);
  const auto fresh = static_cast<float>(a.first ? 1 : 1 - a.dampening);
  const auto kept = static_cast<float>(a.first ? 0 : a.momentum);
  const auto decay = static_cast<float>(a.weight_decay);
  const auto sign = static_cast<float>(a.maximize ? -a.grad_scale : a.grad_scale);
  context.parallel_chunks(a.n, kGrain, [&](int64_t begin, int64_t end) {
    float* p = a.p;
    const float* grad = a.g;
    float* buffer = a.buffer;
    if (buffer == nullptr) {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) {
        const float g = sign * grad[i] + decay * p[i];
        p[i] = p[i] - lr * g;
      }
    } else if (a.nesterov) {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) {
        const float g = sign * grad[i] + decay * p[i];
        const float b = (a.first ? 0.0f : kept * buffer[i]) + fresh * g;
        buffer[i] = b;
        p[i] = p[i] - lr * (g + momentum * b);
      }
    } else {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) {
        const float g = sign * grad[i] + decay * p[i];
        const float b = (a.first ? 0.0f : kept * buffer[i]) + fresh * g;
        buffer[i] = b;
        p[i] = p[i] - lr * b;
      }
    }
  });
}

template <bool kAmsgrad>
void adamw_chunk(const AdamWArgs& a, int64_t begin, int64_t end, double correction1,
                 double correction2) {
  const auto beta1 = static_cast<float>(a.beta1);
  const auto beta2 = static_cast<float>(a.beta2);
  const auto fresh1 = static_cast<float>(1 - a.beta1);
  const auto fresh2 = static_cast<float>(1 - a.beta2);
  const auto keep = static_cast<float>(a.decoupled ? 1 - a.lr * a.weight_decay : 1);
  const auto l2 = static_cast<float>(a.decoupled ? 0 : a.weight_decay);
  const auto sign = static_cast<float>(a.maximize ? -a.grad_scale : a.grad_scale);
  const auto step_size = static_cast<float>(a.lr / correction1);
  const auto inverse_root = static_cast<float>(1 / __builtin_sqrt(correction2));
  const auto eps = static_cast<float>(a.eps);
  float* p = a.p;
  const float* grad = a.g;
  float* m = a.m;
  float* v = a.v;
  float* v_max = a.v_max;
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) {
    const float g = sign * grad[i] + l2 * p[i];
    const float m1 = beta1 * m[i] + fresh1 * g;
    const float v1 = beta2 * v[i] + fresh2 * (g * g);
    m[i] = m1;
    v[i] = v1;
    float second = v1;
    if constexpr (kAmsgrad) {
      second = v_max[i] > v1 ? v_max[i] : v1;
      v_max[i] = second;
    }
    p[i] = keep * p[i] - step_size * (m1 / (root(second) * inverse_root + eps));
  }
}

void adamw(Context& context, const AdamWArgs& a) {
  const double correction1 = 1 - __builtin_pow(a.beta1, static_cast<double>(a.step));
  const double correction2 = 1 - __builtin_pow(a.beta2, static_cast<double>(a.step));
  context.parallel_chunks(a.n, kGrain, [&](int64_t begin, int64_t end) {
    if (a.v_max != nullptr) {
      adamw_chunk<true>(a, begin, end, correction1, correction2);
    } else {
      adamw_chunk<false>(a, begin, end, correction1, correction2);
    }
  });
}

void lion(Context& context, const LionArgs& a) {
  const auto lr = static_cast<float>(a.lr);
  const auto beta1 = static_cast<float>(a.beta1);
  const auto beta2 = static_cast<float>(a.beta2);
  const auto fresh1 = static_cast<float>(1 - a.beta1);
  const auto fresh2 = static_cast<float>(1 - a.beta2);
  const auto keep = static_cast<float>(1 - a.lr * a.weight_decay);
  const auto scale = static_cast<float>(a.grad_scale);
  context.parallel_chunks(a.n, kGrain, [&](int64_t begin, int64_t end) {
    float* p = a.p;
    const float* grad = a.g;
    float* m = a.m;
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      const float g = scale * grad[i];
      const float u = beta1 * m[i] + fresh1 * g;
      const float direction = u > 0.0f ? 1.0f : (u < 0.0f ? -1.0f : 0.0f);
      m[i] = beta2 * m[i] + fresh2 * g;
      p[i] = keep * p[i] - lr * direction;
    }
  });
}

void momentum(Context& context, const MomentumArgs& a) {
  const auto beta = static_cast<float>(a.beta);
  const auto fresh = static_cast<float>(a.alpha * a.grad_scale);
  context.parallel_chunks(a.n, kGrain, [&](int64_t begin, int64_t end) {
    const float* g = a.g;
    float* m = a.m;
    float* u = a.u;
    if (u == nullptr || !a.nesterov) {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) m[i] = beta * m[i] + fresh * g[i];
      if (u != nullptr) {
#pragma GCC ivdep
        for (int64_t i = begin; i < end; ++i) u[i] = m[i];
      }
    } else {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) {
        const float m1 = beta * m[i] + fresh * g[i];
        m[i] = m1;
        u[i] = fresh * g[i] + beta * m1;
      }
    }
  });
}

void decayed_update(Context& context, const DecayedUpdateArgs& a) {
  const auto decay = static_cast<float>(a.decay);
  const int64_t rows_a_task = a.cols >= kGrain ? 1 : kGrain / (a.cols > 0 ? a.cols : 1);
  context.parallel_chunks(a.rows, rows_a_task, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* p = a.p + r * a.cols;
      const float* o = a.o + r * a.cols;
      const float scale =
          static_cast<float>(a.scale) * (a.row_scale != nullptr ? a.row_scale[r] : 1.0f);
      if (a.cautious) {
#pragma GCC ivdep
        for (int64_t j = 0; j < a.cols; ++j) {
          const float kept = p[j] * o[j] > 0.0f ? p[j] - decay * p[j] : p[j];
          p[j] = kept - scale * o[j];
        }
      } else {
        const float keep = static_cast<float>(1 - a.decay);
#pragma GCC ivdep
        for (int64_t j = 0; j < a.cols; ++j) p[j] = keep * p[j] - scale * o[j];
      }
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
                 .decayed_update = decayed_update};
}

}  // namespace palimpsest::cpu
