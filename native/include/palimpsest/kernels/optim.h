// Fused optimizer steps over flat arrays: each reads and writes every buffer once.
#pragma once

#include <cstdint>

#include "palimpsest/status.h"

namespace palimpsest {

class Context;

// PyTorch's SGD: g ← ±g·grad_scale + weight_decay·p; buffer ← momentum·buffer + (1 − dampening)·g (g itself
// at the first step); g ← nesterov ? g + momentum·buffer : buffer; p ← p − lr·g.
struct SgdArgs {
  int64_t n;
  float* p;
  const float* g;
  float* buffer;  // null where momentum is 0
  double lr, momentum, dampening, weight_decay, grad_scale;
  bool nesterov, maximize, first;
};

// AdamW (Loshchilov & Hutter) in PyTorch's form: p ← p(1 − lr·λ); m, v moving averages;
// p ← p − lr/(1 − β1^t) · m / (√(v / (1 − β2^t)) + ε). With `decoupled` off: Adam, g ← g + λp.
struct AdamWArgs {
  int64_t n;
  float* p;
  const float* g;
  float* m;
  float* v;
  float* v_max;  // amsgrad's, or null
  double lr, beta1, beta2, eps, weight_decay, grad_scale;
  int64_t step;  // t, from 1
  bool decoupled, maximize;
};

// Lion (Chen et al. 2023): p ← p(1 − lr·λ) − lr·sign(β1·m + (1 − β1)g); m ← β2·m + (1 − β2)g.
struct LionArgs {
  int64_t n;
  float* p;
  const float* g;
  float* m;
  double lr, beta1, beta2, weight_decay, grad_scale;
};

// m ← β·m + α·g; u ← nesterov ? α·g + β·m : m. With α = 1 − β this is lerp, torch's Muon.
struct MomentumArgs {
  int64_t n;
  const float* g;
  float* m;
  float* u;  // may be null: then only m moves
  double beta, alpha, grad_scale;
  bool nesterov;
};

// p ← p(1 − lr·λ) − scale·o for `rows` rows of `cols`, o's rows multiplied by row_scale where that is
// given. With `cautious` the decay acts where p and the update agree in sign (p·o > 0).
struct DecayedUpdateArgs {
  int64_t rows, cols;
  float* p;
  const float* o;
  const float* row_scale;  // rows values or null
  double scale, decay;     // decay = lr·λ
  bool cautious;
};

struct OptimKernels {
  void (*sgd)(Context&, const SgdArgs&);
  void (*adamw)(Context&, const AdamWArgs&);
  void (*lion)(Context&, const LionArgs&);
  void (*momentum)(Context&, const MomentumArgs&);
  void (*decayed_update)(Context&, const DecayedUpdateArgs&);
};

}  // namespace palimpsest
