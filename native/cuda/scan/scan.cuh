// What the files of the scan family share.
#pragma once

#include "cuda/primitives.cuh"

namespace palimpsest::cuda {

// out[i] = Σ_k parts[k·stride + i] in ascending k.
template <typename T>
__global__ void __launch_bounds__(256)
    sum_parts_kernel(const T* parts, int64_t count, int64_t stride, int64_t n, T* out) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    T sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += parts[k * stride + i];
    out[i] = sum;
  }
}
template <typename T>
Status sum_parts(Context& context, const T* parts, int64_t count, int64_t stride, int64_t n, T* out) {
  if (n == 0) return {};
  return launch(context, sum_parts_kernel<T>, blocks_for(context, n, 256), 256, 0, parts, count, stride, n, out);
}

Status causal_conv(Context&, const CausalConvArgs&);
Status causal_conv_backward(Context&, const CausalConvBackwardArgs&);

}  // namespace palimpsest::cuda
