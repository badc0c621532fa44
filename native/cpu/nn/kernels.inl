// Softmax and cross-entropy, a row at a time. Floor: each row read once from memory (twice from the
// first-level cache) and written once; one exponential an element.

#include "cpu/simd/blocks.inl"
#include "cpu/simd/rows.inl"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

template <typename T>
void softmax_rows(Context& context, const SoftmaxArgs& args) {
  const int64_t n = args.width;
  context.parallel_chunks(args.rows, grain_of(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* x = static_cast<const T*>(args.x) + r * n;
      T* y = static_cast<T*>(args.y) + r * n;
      if (r + 1 < end) ask_for_row(x + n, n);
      const T top = row_max(x, n);
      if (args.logarithm) {
        const double sum = lane_sum<T>(n, [x, top](int64_t i) { return exponential(x[i] - top); });
        const T shift = static_cast<T>(logarithm(sum)) + top;
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) y[i] = x[i] - shift;
      } else {
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) y[i] = exponential(x[i] - top);
        const T scale = static_cast<T>(1.0 / lane_sum<T>(n, [y](int64_t i) { return y[i]; }));
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) y[i] = y[i] * scale;
      }
    }
  });
}

template <typename T>
void softmax_backward_rows(Context& context, const SoftmaxBackwardArgs& args) {
  const int64_t n = args.width;
  context.parallel_chunks(args.rows, grain_of(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* dy = static_cast<const T*>(args.dy) + r * n;
      const T* y = static_cast<const T*>(args.y) + r * n;
      T* dx = static_cast<T*>(args.dx) + r * n;
      if (r + 1 < end) {
        ask_for_row(dy + n, n);
        ask_for_row(y + n, n);
      }
      if (args.logarithm) {
        const T sum = static_cast<T>(lane_sum<T>(n, [dy](int64_t i) { return dy[i]; }));
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) dx[i] = dy[i] - exponential(y[i]) * sum;
      } else {
        const T dot = static_cast<T>(lane_sum<T>(n, [dy, y](int64_t i) { return dy[i] * y[i]; }));
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) dx[i] = y[i] * (dy[i] - dot);
      }
    }
  });
}

// e ← exp(x − shift of the row) for some narrow rows, side by side: alone they would not fill a vector.
constexpr int64_t kNarrow = 512;

template <typename T, typename Shift>
void narrow_exponentials(const T* x, int64_t rows, int64_t n, T* e, const Shift& shift) {
  for (int64_t r = 0; r < rows; ++r) {
    const T by = shift(r);
    for (int64_t i = 0; i < n; ++i) e[r * n + i] = x[r * n + i] - by;
  }
#pragma GCC ivdep
  for (int64_t i = 0; i < rows * n; ++i) e[i] = exponential(e[i]);
}

template <typename T>
void cross_entropy_rows(Context& context, const CrossEntropyArgs& args) {
  const int64_t n = args.width;
  const T* weights = static_cast<const T*>(args.weights);
  const int64_t block = n < kLanes ? kNarrow / n : 0;
  context.parallel_chunks(args.rows, grain_of(n), [&](int64_t begin, int64_t end) {
    T e[kNarrow];
    for (int64_t r = begin; r < end; ++r) {
      const T* x = static_cast<const T*>(args.x) + r * n;
      const int32_t target = args.targets[r];
      const T top = row_max(x, n);
      double sum = 0;
      if (block > 0) {
        const int64_t at = (r - begin) % block;
        if (at == 0) {
          narrow_exponentials(x, end - r < block ? end - r : block, n, e,
                              [x, n](int64_t i) { return row_max(x + i * n, n); });
        }
        for (int64_t i = 0; i < n; ++i) sum += e[at * n + i];
      } else {
        if (r + 1 < end) ask_for_row(x + n, n);
        sum = lane_sum<T>(n, [x, top](int64_t i) { return exponential(x[i] - top); });
      }
      const double normaliser = logarithm(sum) + static_cast<double>(top);
      static_cast<T*>(args.normaliser)[r] = static_cast<T>(normaliser);
      double loss = 0;
      if (target != args.ignore) {
        loss = (1 - args.smoothing) * (normaliser - static_cast<double>(x[target]));
        if (weights != nullptr) loss *= static_cast<double>(weights[target]);
        if (args.smoothing > 0) {
          // The uniform part weighs every class by its own weight.
          const double total =
              weights != nullptr
                  ? lane_sum<T>(n, [=](int64_t i) { return weights[i] * (static_cast<T>(normaliser) - x[i]); })
                  : lane_sum<T>(n, [=](int64_t i) { return static_cast<T>(normaliser) - x[i]; });
          loss += args.smoothing * total / static_cast<double>(n);
        }
      }
      static_cast<T*>(args.loss)[r] = static_cast<T>(loss);
    }
  });
}

template <typename T>
void cross_entropy_backward_rows(Context& context, const CrossEntropyBackwardArgs& args) {
  const CrossEntropyArgs& forward = args.forward;
  const int64_t n = forward.width;
  const T* weights = static_cast<const T*>(forward.weights);
  const T spread = static_cast<T>(forward.smoothing / static_cast<double>(n));
  const T all_weights = weights != nullptr
                            ? static_cast<T>(lane_sum<T>(n, [=](int64_t i) { return weights[i]; }))
                            : static_cast<T>(n);
  const int64_t block = n > 0 && n < kLanes ? kNarrow / n : 0;
  context.parallel_chunks(forward.rows, grain_of(n), [&](int64_t begin, int64_t end) {
    T e[kNarrow];
    for (int64_t r = begin; r < end; ++r) {
      const T* x = static_cast<const T*>(forward.x) + r * n;
      const auto* normalisers = static_cast<const T*>(forward.normaliser) + r;
      if (block > 0 && (r - begin) % block == 0) {
        narrow_exponentials(x, end - r < block ? end - r : block, n, e,
                            [normalisers](int64_t i) { return normalisers[i]; });
      }
      T* dx = static_cast<T*>(args.dx) + r * n;
      const int32_t target = forward.targets[r];
      const T scale = static_cast<const T*>(args.scale)[r * args.scale_stride];
      if (target == forward.ignore) {
        for (int64_t i = 0; i < n; ++i) dx[i] = 0;
        continue;
      }
      const T own =
          static_cast<T>(1 - forward.smoothing) * (weights != nullptr ? weights[target] : T(1));
      const T total = own + spread * all_weights;
      const T normaliser = *normalisers;
      if (block > 0) {
        const T* own_e = e + (r - begin) % block * n;
        for (int64_t i = 0; i < n; ++i) {
          dx[i] = scale * (total * own_e[i] - (weights != nullptr ? spread * weights[i] : spread));
        }
      } else if (weights == nullptr) {
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) {
          dx[i] = scale * (total * exponential(x[i] - normaliser) - spread);
        }
      } else {
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) {
          dx[i] = scale * (total * exponential(x[i] - normaliser) - spread * weights[i]);
        }
      }
      dx[target] -= scale * own;
    }
  });
}

Status check_targets(const CrossEntropyArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const int32_t target = args.targets[r];
    if (target != args.ignore && (target < 0 || target >= args.width)) {
      return {Code::argument, "a target is no class of the logits"};
    }
  }
  return {};
}

NnKernels nn_kernels() {
  return {
      .softmax =
          [](Context& c, const SoftmaxArgs& a) -> Status {
        if (a.width == 0) return {};
        a.dtype == DType::f64 ? softmax_rows<double>(c, a) : softmax_rows<float>(c, a);
        return {};
      },
      .softmax_backward =
          [](Context& c, const SoftmaxBackwardArgs& a) -> Status {
        if (a.width == 0) return {};
        a.dtype == DType::f64 ? softmax_backward_rows<double>(c, a)
                              : softmax_backward_rows<float>(c, a);
        return {};
      },
      .cross_entropy =
          [](Context& c, const CrossEntropyArgs& a) -> Status {
        if (a.width == 0) return {Code::shape, "cross-entropy needs at least one class"};
        PALIMPSEST_TRY(check_targets(a));
        a.dtype == DType::f64 ? cross_entropy_rows<double>(c, a) : cross_entropy_rows<float>(c, a);
        return {};
      },
      .cross_entropy_backward =
          [](Context& c, const CrossEntropyBackwardArgs& a) -> Status {
        PALIMPSEST_TRY(check_targets(a.forward));
        a.forward.dtype == DType::f64 ? cross_entropy_backward_rows<double>(c, a)
                                      : cross_entropy_backward_rows<float>(c, a);
        return {};
      },
  };
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_nn_, PALIMPSEST_LEVEL)(KernelTable& table) {
  table.nn = PALIMPSEST_LEVEL::nn_kernels();
}

}  // namespace palimpsest::cpu
