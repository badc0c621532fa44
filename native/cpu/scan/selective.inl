// The selective scan. A task takes one batch and a block of channels through all of time; the inner
// loop runs over the states of a channel, whose B and C lie side by side. Floor: one exponential and
// about six FLOPs a state and step. States are kept at every kScanChunk-th step alone: the backward
// pass computes a chunk of them again into scratch memory that stays in cache. What blocks or batches
// share (dB, dC; dA, dD) is summed in partial buffers, then in a fixed order.
#pragma once

#include "cpu/simd/rows.inl"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kScanBlock = 64;  // channels of a task

inline int64_t scan_blocks(int64_t channels) { return (channels + kScanBlock - 1) / kScanBlock; }

// One step of a channel's states; gives C·h.
template <typename T>
inline T scan_step(int64_t states, T delta, T input, const T* a, const T* b, const T* c, T* h) {
  T out = 0;
  const T drive = delta * input;
  constexpr int64_t kPart = 16;
  T products[kPart];
  for (int64_t first = 0; first < states; first += kPart) {
    const int64_t n = states - first < kPart ? states - first : kPart;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      const T next = exponential(delta * a[first + i]) * h[first + i] + drive * b[first + i];
      h[first + i] = next;
      products[i] = c[first + i] * next;
    }
    for (int64_t i = 0; i < n; ++i) out += products[i];
  }
  return out;
}

template <typename T>
void selective_scan(Context& context, const SelectiveScanArgs& s) {
  const int64_t n = s.states, blocks = scan_blocks(s.channels), chunks = scan_chunks(s.time);
  context.parallel(s.batch * blocks, [&](int64_t task) {
    const int64_t batch = task / blocks, first = task % blocks * kScanBlock;
    const int64_t last = first + kScanBlock < s.channels ? first + kScanBlock : s.channels;
    Workspace& local = Workspace::local();
    const Workspace::Scope scope(local);
    T* h = static_cast<T*>(local.take_bytes(static_cast<size_t>((last - first) * n) * sizeof(T)));
    for (int64_t i = 0; i < (last - first) * n; ++i) h[i] = 0;
    for (int64_t t = 0; t < s.time; ++t) {
      const int64_t row = batch * s.time + t;
      if (t % kScanChunk == 0) {
        T* kept = static_cast<T*>(s.checkpoints) +
                  ((batch * chunks + t / kScanChunk) * s.channels + first) * n;
        for (int64_t i = 0; i < (last - first) * n; ++i) kept[i] = h[i];
      }
      const T* b = static_cast<const T*>(s.b) + row * n;
      const T* c = static_cast<const T*>(s.c) + row * n;
      for (int64_t d = first; d < last; ++d) {
        const int64_t at = row * s.channels + d;
        const T input = static_cast<const T*>(s.u)[at];
        const T through = s.d != nullptr ? static_cast<const T*>(s.d)[d] * input : T(0);
        static_cast<T*>(s.y)[at] =
            scan_step(n, static_cast<const T*>(s.delta)[at], input, static_cast<const T*>(s.a) + d * n,
                      b, c, h + (d - first) * n) +
            through;
      }
    }
  });
}

// out[i] = Σ_k parts[k·stride + i] in ascending k.
template <typename T>
void sum_parts(Context& context, const T* parts, int64_t count, int64_t stride, int64_t n, T* out) {
  context.parallel_chunks(n, 8192, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = 0;
    for (int64_t k = 0; k < count; ++k) {
      const T* from = parts + k * stride;
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) out[i] += from[i];
    }
  });
}

// The chain rule of one step and channel: `grad` is the gradient of h_t that later steps and y_t give.
template <typename T>
struct ScanSlopes {
  T u, delta;
};
template <typename T>
inline ScanSlopes<T> scan_step_back(int64_t states, T delta, T input, T dy, const T* a, const T* b,
                                    const T* c, const T* before, const T* after, T* grad, T* da, T* db,
                                    T* dc) {
  constexpr int64_t kPart = 16;
  T towards_u[kPart], towards_delta[kPart];
  ScanSlopes<T> slopes{0, 0};
  for (int64_t first = 0; first < states; first += kPart) {
    const int64_t n = states - first < kPart ? states - first : kPart;
#pragma GCC ivdep
    for (int64_t k = 0; k < n; ++k) {
      const int64_t i = first + k;
      const T g = grad[i] + c[i] * dy;
      const T decay = exponential(delta * a[i]);
      const T decayed = decay * before[i];
      dc[i] += dy * after[i];
      db[i] += g * delta * input;
      da[i] += g * delta * decayed;
      towards_u[k] = g * delta * b[i];
      towards_delta[k] = g * (a[i] * decayed + input * b[i]);
      grad[i] = g * decay;
    }
    for (int64_t k = 0; k < n; ++k) {
      slopes.u += towards_u[k];
      slopes.delta += towards_delta[k];
    }
  }
  return slopes;
}

template <typename T>
void selective_scan_backward(Context& context, const SelectiveScanBackwardArgs& args) {
  const SelectiveScanArgs& s = args.forward;
  const int64_t n = s.states, blocks = scan_blocks(s.channels), chunks = scan_chunks(s.time);
  const int64_t shared = s.batch * s.time * n;  // of dB, dC
  const int64_t own = s.channels * (n + 1);     // of dA, dD of one batch
  const Workspace::Scope scope(context.workspace);
  const auto take = [&](int64_t count) {
    return static_cast<T*>(context.workspace.take_bytes(static_cast<size_t>(count) * sizeof(T)));
  };
  T* db = take(blocks * shared);
  T* dc = take(blocks * shared);
  T* da = take(s.batch * own);
  context.parallel(s.batch * blocks, [&](int64_t task) {
    const int64_t batch = task / blocks, block = task % blocks, first = block * kScanBlock;
    const int64_t last = first + kScanBlock < s.channels ? first + kScanBlock : s.channels;
    const int64_t width = last - first;
    Workspace& local = Workspace::local();
    const Workspace::Scope inner(local);
    // Row 0 is the state before the chunk, row k + 1 that after its step k.
    T* h = static_cast<T*>(
        local.take_bytes(static_cast<size_t>((kScanChunk + 2) * width * n) * sizeof(T)));
    T* grad = h + (kScanChunk + 1) * width * n;
    for (int64_t i = 0; i < width * n; ++i) grad[i] = 0;
    T* my_da = da + batch * own + first * n;
    T* my_dd = da + batch * own + s.channels * n + first;
    for (int64_t i = 0; i < width * n; ++i) my_da[i] = 0;
    for (int64_t i = 0; i < width; ++i) my_dd[i] = 0;
    for (int64_t chunk = chunks - 1; chunk >= 0; --chunk) {
      const int64_t begin = chunk * kScanChunk;
      const int64_t steps = begin + kScanChunk < s.time ? kScanChunk : s.time - begin;
      const T* kept = static_cast<const T*>(s.checkpoints) +
                      ((batch * chunks + chunk) * s.channels + first) * n;
      for (int64_t i = 0; i < width * n; ++i) h[i] = kept[i];
      for (int64_t k = 0; k < steps; ++k) {
        const int64_t row = batch * s.time + begin + k;
        T* next = h + (k + 1) * width * n;
        for (int64_t i = 0; i < width * n; ++i) next[i] = h[k * width * n + i];
        for (int64_t d = first; d < last; ++d) {
          const int64_t at = row * s.channels + d;
          (void)scan_step(n, static_cast<const T*>(s.delta)[at], static_cast<const T*>(s.u)[at],
                          static_cast<const T*>(s.a) + d * n, static_cast<const T*>(s.b) + row * n,
                          static_cast<const T*>(s.c) + row * n, next + (d - first) * n);
        }
      }
      for (int64_t k = steps - 1; k >= 0; --k) {
        const int64_t row = batch * s.time + begin + k;
        T* my_db = db + block * shared + row * n;
        T* my_dc = dc + block * shared + row * n;
        for (int64_t i = 0; i < n; ++i) my_db[i] = my_dc[i] = 0;
        for (int64_t d = first; d < last; ++d) {
          const int64_t at = row * s.channels + d, l = d - first;
          const T dy = static_cast<const T*>(args.dy)[at], input = static_cast<const T*>(s.u)[at];
          const ScanSlopes<T> slopes = scan_step_back(
              n, static_cast<const T*>(s.delta)[at], input, dy, static_cast<const T*>(s.a) + d * n,
              static_cast<const T*>(s.b) + row * n, static_cast<const T*>(s.c) + row * n,
              h + (k * width + l) * n, h + ((k + 1) * width + l) * n, grad + l * n, my_da + l * n,
              my_db, my_dc);
          const T through = s.d != nullptr ? static_cast<const T*>(s.d)[d] * dy : T(0);
          my_dd[l] += dy * input;
          static_cast<T*>(args.du)[at] = slopes.u + through;
          static_cast<T*>(args.ddelta)[at] = slopes.delta;
        }
      }
    }
  });
  sum_parts(context, db, blocks, shared, shared, static_cast<T*>(args.db));
  sum_parts(context, dc, blocks, shared, shared, static_cast<T*>(args.dc));
  sum_parts(context, da, s.batch, own, s.channels * n, static_cast<T*>(args.da));
  if (args.dd != nullptr) {
    sum_parts(context, da + s.channels * n, s.batch, own, s.channels, static_cast<T*>(args.dd));
  }
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
