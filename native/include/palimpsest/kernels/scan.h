// State-space sequence layers: the selective scan of Mamba and its causal convolution. Sequences are
// [batch, time, channels], contiguous, f32 or f64.
#pragma once

#include <cstdint>

#include "palimpsest/dtype.h"
#include "palimpsest/status.h"

namespace palimpsest {

class Context;

// The selective scan (Gu & Dao 2023, section 3.2): for each batch and channel d, with N states,
//   h_t = exp(δ_t·A_d)·h_{t−1} + δ_t·u_t·B_t,   y_t = C_t·h_t + D_d·u_t,   h_0 = 0.
struct SelectiveScanArgs {
  DType dtype;
  int64_t batch, time, channels, states;
  const void* u;      // [batch, time, channels]
  const void* delta;  // like u
  const void* a;      // [channels, states]
  const void* b;      // [batch, time, states]
  const void* c;      // like b
  const void* d;      // channels values, or null
  void* y;            // like u
  void* checkpoints;  // [batch, scan_chunks(time), channels, states]: h before every kScanChunk-th step
};
inline constexpr int64_t kScanChunk = 32;
// Static: kernels of several instruction sets use it (cpu/simd/README.md).
static inline int64_t scan_chunks(int64_t time) { return (time + kScanChunk - 1) / kScanChunk; }

// The gradients of all inputs; states between checkpoints are computed again. dd is null where d is.
struct SelectiveScanBackwardArgs {
  SelectiveScanArgs forward;
  const void* dy;
  void* du;
  void* ddelta;
  void* da;
  void* db;
  void* dc;
  void* dd;
};

// y[b, t, c] = bias[c] + Σ_k weight[c, k]·x[b, t − taps + 1 + k, c], zero before the beginning.
struct CausalConvArgs {
  DType dtype;
  int64_t batch, time, channels, taps;
  const void* x;
  const void* weight;  // [channels, taps]
  const void* bias;    // channels values, or null
  void* y;
};

// Outputs may be null.
struct CausalConvBackwardArgs {
  CausalConvArgs forward;
  const void* dy;
  void* dx;
  void* dweight;
  void* dbias;
};

struct ScanKernels {
  Status (*selective)(Context&, const SelectiveScanArgs&);
  Status (*selective_backward)(Context&, const SelectiveScanBackwardArgs&);
  Status (*causal_conv)(Context&, const CausalConvArgs&);
  Status (*causal_conv_backward)(Context&, const CausalConvBackwardArgs&);
};

}  // namespace palimpsest
