// Leaky integrate-and-fire, a thread a neuron through all of time. Floor: forward reads x, writes
// potentials and spikes; backward reads the potentials and the gradient, writes dx.

#include "cuda/primitives.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 128;

template <typename T>
__global__ void __launch_bounds__(kThreads) lif_kernel(const LifArgs a) {
  const T decay = static_cast<T>(a.decay);
  const T threshold = static_cast<T>(a.threshold);
  for (int64_t i = global_thread(); i < a.n; i += all_threads()) {
    T v = static_cast<T*>(a.state)[i];
    for (int64_t t = 0; t < a.time; ++t) {
      const int64_t at = t * a.n + i;
      const T u = decay * v + static_cast<const T*>(a.x)[at];
      const T s = u >= threshold ? T(1) : T(0);
      static_cast<T*>(a.potentials)[at] = u;
      static_cast<T*>(a.spikes)[at] = s;
      v = a.hard_reset ? u * (T(1) - s) : u - threshold * s;
    }
    static_cast<T*>(a.state)[i] = v;
  }
}

template <typename T>
__device__ inline T surrogate_slope(Surrogate kind, T z, T alpha) {
  const T size = z < 0 ? -z : z;
  switch (kind) {
    case Surrogate::atan: {
      const T w = T(1.5707963267948966) * alpha * z;
      return alpha * T(0.5) / (T(1) + w * w);
    }
    case Surrogate::sigmoid: {
      const T s = T(1) / (T(1) + exp(-alpha * z));
      return alpha * s * (T(1) - s);
    }
    case Surrogate::fast_sigmoid: {
      const T w = T(1) + alpha * size;
      return T(1) / (w * w);
    }
    case Surrogate::rectangle: return size < alpha * T(0.5) ? T(1) / alpha : T(0);
  }
  return T(0);
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 4) lif_backward_kernel(const LifBackwardArgs args) {
  const LifArgs& a = args.forward;
  const T decay = static_cast<T>(a.decay);
  const T threshold = static_cast<T>(a.threshold);
  const T alpha = static_cast<T>(args.alpha);
  const T through = args.detached ? T(0) : T(1);
  for (int64_t i = global_thread(); i < a.n; i += all_threads()) {
    T later = 0;  // the gradient of v_t
    for (int64_t t = a.time - 1; t >= 0; --t) {
      const int64_t at = t * a.n + i;
      const T u = static_cast<const T*>(a.potentials)[at];
      const T kept = a.hard_reset && u >= threshold ? T(0) : T(1);
      const T reset = a.hard_reset ? u : threshold;
      const T slope = surrogate_slope(args.surrogate, u - threshold, alpha);
      const T du = later * kept + (static_cast<const T*>(args.dspikes)[at] - through * reset * later) * slope;
      static_cast<T*>(args.dx)[at] = du;
      later = decay * du;
    }
  }
}

Status lif(Context& context, const LifArgs& a) {
  if (a.n == 0) return {};
  const auto kernel = a.dtype == DType::f64 ? lif_kernel<double> : lif_kernel<float>;
  return launch(context, kernel, blocks_for(context, a.n, kThreads), kThreads, 0, a);
}

Status lif_backward(Context& context, const LifBackwardArgs& a) {
  if (a.forward.n == 0) return {};
  const auto kernel = a.forward.dtype == DType::f64 ? lif_backward_kernel<double> : lif_backward_kernel<float>;
  return launch(context, kernel, blocks_for(context, a.forward.n, kThreads), kThreads, 0, a);
}

}  // namespace

void fill_spiking(KernelTable& table) { table.spiking = {.lif = lif, .lif_backward = lif_backward}; }

}  // namespace palimpsest::cuda
