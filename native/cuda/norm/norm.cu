// Layer norm and RMS norm, a block a row; batch norm, a block a channel. Floor: x read twice (the
// second time from the cache) and y written. Gradients of weights are summed by columns over fixed
// blocks of rows, then over blocks. Sums in float64.

#include "cuda/norm/norm.cuh"
#include "cuda/primitives.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostRowBlocks = 64;

template <typename F>
__device__ inline double row_sum(int64_t n, const F& f) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += f(i);
  return block_sum<kThreads>(sum);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) rows_kernel(const RowNormArgs a) {
  const int64_t n = a.width;
  const T* weight = static_cast<const T*>(a.weight);
  const T* bias = static_cast<const T*>(a.bias);
  for (int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
    const T* x = static_cast<const T*>(a.x) + r * n;
    T* y = static_cast<T*>(a.y) + r * n;
    T mean = T(0);
    if (a.centered) {
      mean = static_cast<T>(row_sum(n, [&](int64_t i) { return static_cast<double>(x[i]); }) /
                            static_cast<double>(n));
    }
    const double squares = row_sum(n, [&](int64_t i) {
      const T d = x[i] - mean;
      return static_cast<double>(d * d);
    });
    const T rstd = static_cast<T>(1 / sqrt(squares / static_cast<double>(n) + a.eps));
    if (threadIdx.x == 0) {
      if (a.centered) static_cast<T*>(a.mean)[r] = mean;
      static_cast<T*>(a.rstd)[r] = rstd;
    }
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      T v = (x[i] - mean) * rstd;
      if (weight != nullptr) v *= weight[i];
      if (bias != nullptr) v += bias[i];
      y[i] = v;
    }
  }
}

// dx = rstd·(h − mean(h) − x̂·mean(h·x̂)) with h = weight·dy.
template <typename T>
__global__ void __launch_bounds__(kThreads) rows_backward_kernel(const RowNormBackwardArgs args) {
  const RowNormArgs& a = args.forward;
  const int64_t n = a.width;
  const T* weight = static_cast<const T*>(a.weight);
  for (int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
    const T* x = static_cast<const T*>(a.x) + r * n;
    const T* dy = static_cast<const T*>(args.dy) + r * n;
    T* dx = static_cast<T*>(args.dx) + r * n;
    const T mean = a.centered ? static_cast<const T*>(a.mean)[r] : T(0);
    const T rstd = static_cast<const T*>(a.rstd)[r];
    const auto h = [&](int64_t i) { return weight != nullptr ? dy[i] * weight[i] : dy[i]; };
    T shift = T(0);
    if (a.centered) {
      shift = static_cast<T>(row_sum(n, [&](int64_t i) { return static_cast<double>(h(i)); }) /
                             static_cast<double>(n));
    }
    const double dot = row_sum(n, [&](int64_t i) { return static_cast<double>(h(i) * (x[i] - mean)); });
    const T slope = static_cast<T>(dot / static_cast<double>(n)) * rstd * rstd;
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      dx[i] = rstd * (h(i) - shift - (x[i] - mean) * slope);
    }
  }
}

// partial[block][2][width]: the sums of dy·x̂ and of dy over a block of rows, a thread a column.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    weight_sums_kernel(const RowNormBackwardArgs args, int64_t grain, double* partial) {
  const RowNormArgs& a = args.forward;
  const int64_t begin = blockIdx.y * grain;
  const int64_t end = begin + grain < a.rows ? begin + grain : a.rows;
  for (int64_t i = global_thread(); i < a.width; i += all_threads()) {
    double dweight = 0;
    double dbias = 0;
    for (int64_t r = begin; r < end; ++r) {
      const double dy = static_cast<const T*>(args.dy)[r * a.width + i];
      const double x = static_cast<const T*>(a.x)[r * a.width + i];
      const double mean = a.centered ? static_cast<double>(static_cast<const T*>(a.mean)[r]) : 0.0;
      dweight += dy * ((x - mean) * static_cast<double>(static_cast<const T*>(a.rstd)[r]));
      dbias += dy;
    }
    partial[blockIdx.y * 2 * a.width + i] = dweight;
    partial[(blockIdx.y * 2 + 1) * a.width + i] = dbias;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    add_blocks_kernel(const double* partial, int64_t blocks, int64_t width, T* dweight, T* dbias) {
  for (int64_t i = global_thread(); i < width; i += all_threads()) {
    double weight = 0;
    double bias = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      weight += partial[b * 2 * width + i];
      bias += partial[(b * 2 + 1) * width + i];
    }
    if (dweight != nullptr) dweight[i] = static_cast<T>(weight);
    if (dbias != nullptr) dbias[i] = static_cast<T>(bias);
  }
}

// Σ f(index) over the elements of a channel.
template <typename F>
__device__ inline double channel_sum(const BatchNormArgs& a, int64_t c, const F& f) {
  double sum = 0;
  const int64_t count = a.n * a.inner;
  for (int64_t k = threadIdx.x; k < count; k += kThreads) {
    sum += f((k / a.inner * a.channels + c) * a.inner + k % a.inner);
  }
  return block_sum<kThreads>(sum);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) batch_kernel(const BatchNormArgs a) {
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  const int64_t count = a.n * a.inner;
  for (int64_t c = blockIdx.x; c < a.channels; c += gridDim.x) {
    T mean;
    T variance;
    if (a.batch) {
      mean = static_cast<T>(channel_sum(a, c, [&](int64_t i) { return static_cast<double>(x[i]); }) /
                            static_cast<double>(count));
      variance = static_cast<T>(channel_sum(a, c,
                                            [&](int64_t i) {
                                              const T d = x[i] - mean;
                                              return static_cast<double>(d * d);
                                            }) /
                                static_cast<double>(count));
      if (threadIdx.x == 0) {
        static_cast<T*>(a.mean)[c] = mean;
        static_cast<T*>(a.variance)[c] = variance;
      }
    } else {
      mean = static_cast<const T*>(a.mean)[c];
      variance = static_cast<const T*>(a.variance)[c];
    }
    const double rstd = 1 / sqrt(static_cast<double>(variance) + a.eps);
    const double weight = a.weight != nullptr ? static_cast<double>(static_cast<const T*>(a.weight)[c]) : 1.0;
    const T scale = static_cast<T>(rstd * weight);
    const T shift = a.bias != nullptr ? static_cast<const T*>(a.bias)[c] : T(0);
    for (int64_t k = threadIdx.x; k < count; k += kThreads) {
      const int64_t i = (k / a.inner * a.channels + c) * a.inner + k % a.inner;
      y[i] = (x[i] - mean) * scale + shift;
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 2) batch_backward_kernel(const BatchNormBackwardArgs args) {
  const BatchNormArgs& a = args.forward;
  const T* x = static_cast<const T*>(a.x);
  const T* dy = static_cast<const T*>(args.dy);
  const int64_t count = a.n * a.inner;
  for (int64_t c = blockIdx.x; c < a.channels; c += gridDim.x) {
    const T mean = static_cast<const T*>(a.mean)[c];
    const double rstd = 1 / sqrt(static_cast<double>(static_cast<const T*>(a.variance)[c]) + a.eps);
    const double weight = a.weight != nullptr ? static_cast<double>(static_cast<const T*>(a.weight)[c]) : 1.0;
    const double total = channel_sum(a, c, [&](int64_t i) { return static_cast<double>(dy[i]); });
    const double dot = channel_sum(a, c, [&](int64_t i) { return static_cast<double>(dy[i] * (x[i] - mean)); });
    if (threadIdx.x == 0) {
      if (args.dbias != nullptr) static_cast<T*>(args.dbias)[c] = static_cast<T>(total);
      if (args.dweight != nullptr) static_cast<T*>(args.dweight)[c] = static_cast<T>(dot * rstd);
    }
    if (args.dx == nullptr) continue;
    const T scale = static_cast<T>(weight * rstd);
    const T shift = a.batch ? static_cast<T>(total / static_cast<double>(count)) : T(0);
    const T slope = a.batch ? static_cast<T>(dot * rstd * rstd / static_cast<double>(count)) : T(0);
    for (int64_t k = threadIdx.x; k < count; k += kThreads) {
      const int64_t i = (k / a.inner * a.channels + c) * a.inner + k % a.inner;
      static_cast<T*>(args.dx)[i] = scale * (dy[i] - shift - (x[i] - mean) * slope);
    }
  }
}

template <typename T>
Status rows(Context& context, const RowNormArgs& a) {
  if (a.rows * a.width == 0) return {};
  return launch(context, rows_kernel<T>, blocks_for(context, a.rows, 1), kThreads, 0, a);
}

template <typename T>
Status rows_backward(Context& context, const RowNormBackwardArgs& args) {
  const RowNormArgs& a = args.forward;
  if (a.width == 0) return {};
  if (args.dx != nullptr && a.rows > 0) {
    PALIMPSEST_TRY(launch(context, rows_backward_kernel<T>, blocks_for(context, a.rows, 1), kThreads, 0, args));
  }
  if (args.dweight == nullptr && args.dbias == nullptr) return {};
  const int64_t grain = ceil_div(a.rows, kMostRowBlocks) > 16 ? ceil_div(a.rows, kMostRowBlocks) : 16;
  const int64_t blocks = ceil_div(a.rows, grain);
  const Workspace::Scope scope(context.workspace);
  double* partial = scratch<double>(context, blocks * 2 * a.width);
  if (partial == nullptr) return no_memory();
  const auto columns = static_cast<unsigned>(ceil_div(a.width, kThreads));
  PALIMPSEST_TRY(launch(context, weight_sums_kernel<T>, dim3(columns, static_cast<unsigned>(blocks)), kThreads,
                        0, args, grain, partial));
  return launch(context, add_blocks_kernel<T>, columns, kThreads, 0, static_cast<const double*>(partial),
                blocks, a.width, static_cast<T*>(args.dweight), static_cast<T*>(args.dbias));
}

template <typename T>
Status batch(Context& context, const BatchNormArgs& a) {
  return launch(context, batch_kernel<T>, blocks_for(context, a.channels, 1), kThreads, 0, a);
}
template <typename T>
Status batch_backward(Context& context, const BatchNormBackwardArgs& a) {
  return launch(context, batch_backward_kernel<T>, blocks_for(context, a.forward.channels, 1), kThreads, 0, a);
}

}  // namespace

void fill_norm(KernelTable& table) {
  table.norm = {
      .rows = [](Context& c, const RowNormArgs& a) { return a.dtype == DType::f64 ? rows<double>(c, a) : rows<float>(c, a); },
      .rows_backward =
          [](Context& c, const RowNormBackwardArgs& a) {
            return a.forward.dtype == DType::f64 ? rows_backward<double>(c, a) : rows_backward<float>(c, a);
          },
      .batch = [](Context& c, const BatchNormArgs& a) { return a.dtype == DType::f64 ? batch<double>(c, a) : batch<float>(c, a); },
      .batch_backward =
          [](Context& c, const BatchNormBackwardArgs& a) {
            return a.forward.dtype == DType::f64 ? batch_backward<double>(c, a) : batch_backward<float>(c, a);
          },
      .unit = unit,
  };
}

}  // namespace palimpsest::cuda
