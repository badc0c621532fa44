// Spiking neurons over time, f32 or f64.
#pragma once

#include <cstdint>

#include "palimpsest/dtype.h"
#include "palimpsest/status.h"

namespace palimpsest {

class Context;

// The slope that stands in for a spike's, of z = u − threshold with a steepness α (Neftci et al. 2019):
enum class Surrogate : uint8_t {
  atan,          // α/2 / (1 + (π/2·α·z)²)
  sigmoid,       // α·σ(αz)·(1 − σ(αz))
  fast_sigmoid,  // 1 / (1 + α|z|)²
  rectangle,     // 1/α where |z| < α/2, else 0
};

// Leaky integrate-and-fire over x [time, n]: u_t = decay·v_{t−1} + x_t; s_t = [u_t ≥ threshold];
// v_t = u_t − threshold·s_t, or u_t·(1 − s_t) with a hard reset.
struct LifArgs {
  DType dtype;
  int64_t time, n;
  double decay, threshold;
  bool hard_reset;
  const void* x;
  void* potentials;  // u [time, n], kept for the backward pass
  void* spikes;      // [time, n]
  void* state;       // v, n values: read as v_0, written as the last
};

// dx from the spikes' gradient, back through time; with `detached` no gradient flows through resets.
struct LifBackwardArgs {
  LifArgs forward;  // x, spikes, state are not read
  Surrogate surrogate;
  double alpha;
  bool detached;
  const void* dspikes;
  void* dx;
};

struct SpikingKernels {
  Status (*lif)(Context&, const LifArgs&);
  Status (*lif_backward)(Context&, const LifBackwardArgs&);
};

}  // namespace palimpsest
