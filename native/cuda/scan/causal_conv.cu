// A causal convolution of each channel by itself; channels lie side by side and are the threads'
// neighbours. Floor: x read once (its last rows stay in cache), y written once.

#include "cuda/scan/scan.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChannels = 32;   // of a block of the weights' gradient
constexpr int kRows = 32;       // that it takes at once
constexpr int64_t kPart = 4096; // rows a block

template <typename T>
__global__ void __launch_bounds__(kThreads) conv_kernel(const CausalConvArgs a) {
  const int64_t total = a.batch * a.time * a.channels;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const int64_t c = i % a.channels;
    const int64_t t = i / a.channels % a.time;
    T sum = a.bias != nullptr ? static_cast<const T*>(a.bias)[c] : T(0);
    for (int64_t k = 0; k < a.taps; ++k) {
      const int64_t back = a.taps - 1 - k;
      if (back > t) continue;
      sum += static_cast<const T*>(a.weight)[c * a.taps + k] * static_cast<const T*>(a.x)[i - back * a.channels];
    }
    static_cast<T*>(a.y)[i] = sum;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) conv_dx_kernel(const CausalConvBackwardArgs args) {
  const CausalConvArgs& a = args.forward;
  const int64_t total = a.batch * a.time * a.channels;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const int64_t c = i % a.channels;
    const int64_t t = i / a.channels % a.time;
    T sum = 0;
    for (int64_t k = 0; k < a.taps; ++k) {
      const int64_t ahead = a.taps - 1 - k;
      if (t + ahead >= a.time) continue;
      sum += static_cast<const T*>(a.weight)[c * a.taps + k] * static_cast<const T*>(args.dy)[i + ahead * a.channels];
    }
    static_cast<T*>(args.dx)[i] = sum;
  }
}

// blockIdx.x: channels; y: tap, or the bias after the last; z: part of the rows.
template <typename T>
__global__ void __launch_bounds__(kChannels* kRows) conv_dweight_kernel(const CausalConvBackwardArgs args, T* parts) {
  __shared__ T sums[kRows][kChannels + 1];
  const CausalConvArgs& a = args.forward;
  const int lane = static_cast<int>(threadIdx.x % kChannels);
  const int row_in_block = static_cast<int>(threadIdx.x / kChannels);
  const int64_t c = int64_t{blockIdx.x} * kChannels + lane;
  const bool bias = blockIdx.y == a.taps;
  const int64_t back = bias ? 0 : a.taps - 1 - int64_t{blockIdx.y};
  const int64_t rows = a.batch * a.time;
  const int64_t end = (blockIdx.z + 1) * kPart < rows ? (blockIdx.z + 1) * kPart : rows;
  T sum = 0;
  if (c < a.channels) {
    for (int64_t row = blockIdx.z * kPart + row_in_block; row < end; row += kRows) {
      if (row % a.time < back) continue;
      const T dy = static_cast<const T*>(args.dy)[row * a.channels + c];
      sum += bias ? dy : dy * static_cast<const T*>(a.x)[(row - back) * a.channels + c];
    }
  }
  sums[row_in_block][lane] = sum;
  __syncthreads();
  if (row_in_block != 0 || c >= a.channels) return;
  T total = 0;
  for (int r = 0; r < kRows; ++r) total += sums[r][lane];
  T* const part = parts + blockIdx.z * a.channels * (a.taps + 1);
  part[bias ? a.channels * a.taps + c : c * a.taps + blockIdx.y] = total;
}

template <typename T>
Status conv(Context& context, const CausalConvArgs& a) {
  const int64_t total = a.batch * a.time * a.channels;
  if (total == 0) return {};
  return launch(context, conv_kernel<T>, blocks_for(context, total, kThreads), kThreads, 0, a);
}

template <typename T>
Status conv_backward(Context& context, const CausalConvBackwardArgs& args) {
  const CausalConvArgs& a = args.forward;
  const int64_t rows = a.batch * a.time;
  if (args.dx != nullptr && rows * a.channels > 0) {
    PALIMPSEST_TRY(launch(context, conv_dx_kernel<T>, blocks_for(context, rows * a.channels, kThreads), kThreads, 0,
                          args));
  }
  if (a.channels == 0 || (args.dweight == nullptr && args.dbias == nullptr)) return {};
  const Workspace::Scope scope(context.workspace);
  const int64_t count = ceil_div(rows, kPart);
  const int64_t stride = a.channels * (a.taps + 1);
  T* const parts = scratch<T>(context, count * stride);
  if (parts == nullptr) return no_memory();
  const dim3 grid(static_cast<unsigned>(ceil_div(a.channels, kChannels)), static_cast<unsigned>(a.taps + 1),
                  static_cast<unsigned>(count));
  PALIMPSEST_TRY(launch(context, conv_dweight_kernel<T>, grid, kChannels * kRows, 0, args, parts));
  if (args.dweight != nullptr) {
    PALIMPSEST_TRY(sum_parts<T>(context, parts, count, stride, a.channels * a.taps, static_cast<T*>(args.dweight)));
  }
  if (args.dbias == nullptr) return {};
  return sum_parts<T>(context, parts + a.channels * a.taps, count, stride, a.channels, static_cast<T*>(args.dbias));
}

}  // namespace

Status causal_conv(Context& context, const CausalConvArgs& a) {
  return a.dtype == DType::f64 ? conv<double>(context, a) : conv<float>(context, a);
}
Status causal_conv_backward(Context& context, const CausalConvBackwardArgs& a) {
  return a.forward.dtype == DType::f64 ? conv_backward<double>(context, a) : conv_backward<float>(context, a);
}

}  // namespace palimpsest::cuda
