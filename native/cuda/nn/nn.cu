// Softmax and cross-entropy, a block a row. Floor: each row read once from memory (again from the
// cache) and written once. Sums in float64.

#include "cuda/primitives.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }

template <typename T>
__device__ inline T lowest() {
  return static_cast<T>(-INFINITY);
}

// Σ f(i) over a row, in every thread.
template <typename F>
__device__ inline double row_sum(int64_t n, const F& f) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += f(i);
  return block_sum<kThreads>(sum);
}
template <typename T>
__device__ inline T row_max(const T* x, int64_t n) {
  T best = lowest<T>();
  for (int64_t i = threadIdx.x; i < n; i += kThreads) best = x[i] > best ? x[i] : best;
  return block_max<kThreads>(best);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) softmax_kernel(const SoftmaxArgs a) {
  const int64_t n = a.width;
  for (int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
    const T* x = static_cast<const T*>(a.x) + r * n;
    T* y = static_cast<T*>(a.y) + r * n;
    const T top = row_max(x, n);
    const double sum = row_sum(n, [&](int64_t i) { return static_cast<double>(exponential(x[i] - top)); });
    if (a.logarithm) {
      const T shift = static_cast<T>(log(sum) + static_cast<double>(top));
      for (int64_t i = threadIdx.x; i < n; i += kThreads) y[i] = x[i] - shift;
    } else {
      const T scale = static_cast<T>(1.0 / sum);
      for (int64_t i = threadIdx.x; i < n; i += kThreads) y[i] = exponential(x[i] - top) * scale;
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) softmax_backward_kernel(const SoftmaxBackwardArgs a) {
  const int64_t n = a.width;
  for (int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
    const T* dy = static_cast<const T*>(a.dy) + r * n;
    const T* y = static_cast<const T*>(a.y) + r * n;
    T* dx = static_cast<T*>(a.dx) + r * n;
    if (a.logarithm) {
      const T sum = static_cast<T>(row_sum(n, [&](int64_t i) { return static_cast<double>(dy[i]); }));
      for (int64_t i = threadIdx.x; i < n; i += kThreads) dx[i] = dy[i] - exponential(y[i]) * sum;
    } else {
      const T dot = static_cast<T>(row_sum(n, [&](int64_t i) { return static_cast<double>(dy[i] * y[i]); }));
      for (int64_t i = threadIdx.x; i < n; i += kThreads) dx[i] = y[i] * (dy[i] - dot);
    }
  }
}

__device__ inline bool is_class(const CrossEntropyArgs& a, int32_t target) {
  return target >= 0 && target < a.width;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) cross_entropy_kernel(const CrossEntropyArgs a) {
  const int64_t n = a.width;
  const T* weights = static_cast<const T*>(a.weights);
  for (int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
    const T* x = static_cast<const T*>(a.x) + r * n;
    const int32_t target = a.targets[r];
    const T top = row_max(x, n);
    const double sum = row_sum(n, [&](int64_t i) { return static_cast<double>(exponential(x[i] - top)); });
    const double normaliser = log(sum) + static_cast<double>(top);
    double loss = 0;
    if (target != a.ignore && is_class(a, target)) {
      loss = (1 - a.smoothing) * (normaliser - static_cast<double>(x[target]));
      if (weights != nullptr) loss *= static_cast<double>(weights[target]);
      if (a.smoothing > 0) {
        const double total = row_sum(n, [&](int64_t i) {
          const double part = normaliser - static_cast<double>(x[i]);
          return weights != nullptr ? static_cast<double>(weights[i]) * part : part;
        });
        loss += a.smoothing * total / static_cast<double>(n);
      }
    }
    if (threadIdx.x == 0) {
      static_cast<T*>(a.normaliser)[r] = static_cast<T>(normaliser);
      static_cast<T*>(a.loss)[r] = static_cast<T>(loss);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) cross_entropy_backward_kernel(const CrossEntropyBackwardArgs args) {
  const CrossEntropyArgs& a = args.forward;
  const int64_t n = a.width;
  const T* weights = static_cast<const T*>(a.weights);
  const T spread = static_cast<T>(a.smoothing / static_cast<double>(n));
  const T all_weights =
      weights != nullptr
          ? static_cast<T>(row_sum(n, [&](int64_t i) { return static_cast<double>(weights[i]); }))
          : static_cast<T>(n);
  for (int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
    const T* x = static_cast<const T*>(a.x) + r * n;
    T* dx = static_cast<T*>(args.dx) + r * n;
    const int32_t target = a.targets[r];
    const bool counts = target != a.ignore && is_class(a, target);
    const T scale = static_cast<const T*>(args.scale)[r * args.scale_stride];
    const T own = counts ? static_cast<T>(1 - a.smoothing) * (weights != nullptr ? weights[target] : T(1)) : T(0);
    const T total = own + spread * all_weights;
    const T normaliser = static_cast<const T*>(a.normaliser)[r];
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      const T uniform = weights != nullptr ? spread * weights[i] : spread;
      T slope = scale * (total * exponential(x[i] - normaliser) - uniform);
      if (i == target) slope -= scale * own;
      dx[i] = counts ? slope : T(0);
    }
  }
}

__global__ void __launch_bounds__(kThreads) check_targets(const CrossEntropyArgs a, int* bad) {
  for (int64_t r = global_thread(); r < a.rows; r += all_threads()) {
    if (a.targets[r] != a.ignore && !is_class(a, a.targets[r])) atomicOr(bad, 1);
  }
}

unsigned rows_grid(const Context& context, int64_t rows) { return blocks_for(context, rows, 1); }

Status softmax(Context& context, const SoftmaxArgs& a) {
  if (a.width == 0 || a.rows == 0) return {};
  const auto kernel = a.dtype == DType::f64 ? softmax_kernel<double> : softmax_kernel<float>;
  return launch(context, kernel, rows_grid(context, a.rows), kThreads, 0, a);
}

Status softmax_backward(Context& context, const SoftmaxBackwardArgs& a) {
  if (a.width == 0 || a.rows == 0) return {};
  const auto kernel = a.dtype == DType::f64 ? softmax_backward_kernel<double> : softmax_backward_kernel<float>;
  return launch(context, kernel, rows_grid(context, a.rows), kThreads, 0, a);
}

// The answer is waited for, once a training step: a wrong label must be an error, not a wrong loss.
Status cross_entropy(Context& context, const CrossEntropyArgs& a) {
  if (a.width == 0) return {Code::shape, "cross-entropy needs at least one class"};
  if (a.rows == 0) return {};
  int* flag = state(context).flag;
  PALIMPSEST_TRY(to_status(cudaMemsetAsync(flag, 0, sizeof(int), state(context).stream), "memset"));
  PALIMPSEST_TRY(launch(context, check_targets, blocks_for(context, a.rows, kThreads), kThreads, 0, a, flag));
  int bad = 0;
  PALIMPSEST_TRY(context.read(bad, static_cast<const int*>(flag)));
  if (bad != 0) return {Code::argument, "a target is no class of the logits"};
  const auto kernel = a.dtype == DType::f64 ? cross_entropy_kernel<double> : cross_entropy_kernel<float>;
  return launch(context, kernel, rows_grid(context, a.rows), kThreads, 0, a);
}

// Targets were checked by the forward pass; one that is no class gives zeros.
Status cross_entropy_backward(Context& context, const CrossEntropyBackwardArgs& a) {
  if (a.forward.width == 0 || a.forward.rows == 0) return {};
  const auto kernel = a.forward.dtype == DType::f64 ? cross_entropy_backward_kernel<double>
                                                    : cross_entropy_backward_kernel<float>;
  return launch(context, kernel, rows_grid(context, a.forward.rows), kThreads, 0, a);
}

}  // namespace

void fill_nn(KernelTable& table) {
  table.nn = {.softmax = softmax,
              .softmax_backward = softmax_backward,
              .cross_entropy = cross_entropy,
              .cross_entropy_backward = cross_entropy_backward};
}

}  // namespace palimpsest::cuda
