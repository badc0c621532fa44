// Leaky integrate-and-fire. A task takes a run of neurons through all of time, so that their state
// stays in cache. Floor: forward reads x, writes potentials and spikes; backward reads the potentials
// and the gradient, writes dx.

#include "cpu/simd/rows.inl"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kNeurons = 1024;  // of a task

template <typename T>
void lif(Context& context, const LifArgs& a) {
  const T decay = static_cast<T>(a.decay), threshold = static_cast<T>(a.threshold);
  context.parallel_chunks(a.n, kNeurons, [&](int64_t begin, int64_t end) {
    T* v = static_cast<T*>(a.state);
    for (int64_t t = 0; t < a.time; ++t) {
      const T* x = static_cast<const T*>(a.x) + t * a.n;
      T* potentials = static_cast<T*>(a.potentials) + t * a.n;
      T* spikes = static_cast<T*>(a.spikes) + t * a.n;
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) {
        const T u = decay * v[i] + x[i];
        const T s = u >= threshold ? T(1) : T(0);
        potentials[i] = u;
        spikes[i] = s;
        v[i] = a.hard_reset ? u * (1 - s) : u - threshold * s;
      }
    }
  });
}

template <typename T>
struct Slope {
  static T atan(T z, T alpha) {
    const T w = T(1.5707963267948966) * alpha * z;
    return alpha * T(0.5) / (1 + w * w);
  }
  static T sigmoid(T z, T alpha) {
    const T s = 1 / (1 + exponential(-alpha * z));
    return alpha * s * (1 - s);
  }
  static T fast_sigmoid(T z, T alpha) {
    const T w = 1 + alpha * (z < 0 ? -z : z);
    return 1 / (w * w);
  }
  static T rectangle(T z, T alpha) { return (z < 0 ? -z : z) < alpha * T(0.5) ? 1 / alpha : T(0); }
};

template <typename T, T (*kSlope)(T, T)>
void lif_backward_with(Context& context, const LifBackwardArgs& args) {
  const LifArgs& a = args.forward;
  const T decay = static_cast<T>(a.decay), threshold = static_cast<T>(a.threshold);
  const T alpha = static_cast<T>(args.alpha), through = args.detached ? T(0) : T(1);
  context.parallel_chunks(a.n, kNeurons, [&](int64_t begin, int64_t end) {
    T later[kNeurons] = {};  // the gradient of v_t
    for (int64_t t = a.time - 1; t >= 0; --t) {
      const T* u = static_cast<const T*>(a.potentials) + t * a.n;
      const T* ds = static_cast<const T*>(args.dspikes) + t * a.n;
      T* dx = static_cast<T*>(args.dx) + t * a.n;
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) {
        const T g = later[i - begin];
        const T kept = a.hard_reset && u[i] >= threshold ? T(0) : T(1);
        const T reset = a.hard_reset ? u[i] : threshold;
        const T slope = kSlope(u[i] - threshold, alpha);
        const T du = g * kept + (ds[i] - through * reset * g) * slope;
        dx[i] = du;
        later[i - begin] = decay * du;
      }
    }
  });
}

template <typename T>
void lif_backward(Context& context, const LifBackwardArgs& args) {
  switch (args.surrogate) {
    case Surrogate::atan: return lif_backward_with<T, Slope<T>::atan>(context, args);
    case Surrogate::sigmoid: return lif_backward_with<T, Slope<T>::sigmoid>(context, args);
    case Surrogate::fast_sigmoid: return lif_backward_with<T, Slope<T>::fast_sigmoid>(context, args);
    case Surrogate::rectangle: return lif_backward_with<T, Slope<T>::rectangle>(context, args);
  }
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_spiking_, PALIMPSEST_LEVEL)(KernelTable& table) {
  using namespace PALIMPSEST_LEVEL;
  table.spiking = {
      .lif = [](Context& c, const LifArgs& a) -> Status {
        a.dtype == DType::f64 ? lif<double>(c, a) : lif<float>(c, a);
        return {};
      },
      .lif_backward = [](Context& c, const LifBackwardArgs& a) -> Status {
        a.forward.dtype == DType::f64 ? lif_backward<double>(c, a) : lif_backward<float>(c, a);
        return {};
      },
  };
}

}  // namespace palimpsest::cpu
