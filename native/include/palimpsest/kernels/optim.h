// Fused optimizer steps over lists of flat arrays: each reads and writes every buffer once, and work
// is cut over the whole list, so that many small tensors cost no more than one large one.
//
// State (momenta, second moments) is f32, or bf16 rounded stochastically: an average that moves by
// less than half of bf16's last place in a step (β₂ = 0.999) would otherwise stand still.
//
// A tensor with a mask (kernels/masks.h) is stepped where its bits are on and stays as it is elsewhere;
// its state is compact: one value an entry that is on. Only what is on is computed, and of parameters
// and gradients only the lines that hold such an entry move. Where `compact` is given it holds the
// gradient's entries that are on, side by side, and g is not read.
#pragma once

#include <cstdint>

#include "palimpsest/dtype.h"
#include "palimpsest/status.h"

namespace palimpsest {

class Context;

// The factor of gradients (clipping). Where a device decides by itself, it is where `at` points, in the
// device's memory, and NaN there means that nothing may be changed. Only kernels of tables with `decide` look.
struct GradScale {
  double value = 1;
  const double* at = nullptr;
};

// PyTorch's SGD: g ← ±g·grad_scale + weight_decay·p; buffer ← momentum·buffer + (1 − dampening)·g (g itself
// at the first step); g ← nesterov ? g + momentum·buffer : buffer; p ← p − lr·g.
struct SgdTensor {
  int64_t n;
  float* p;
  const float* g;
  void* buffer;  // null where momentum is 0
  int64_t step;  // from 1
  const uint64_t* mask = nullptr;
  const float* compact = nullptr;
};
struct SgdArgs {
  DType state;
  double lr, momentum, dampening, weight_decay;
  GradScale grad_scale;
  bool nesterov, maximize;
};

// AdamW (Loshchilov & Hutter) in PyTorch's form: p ← p(1 − lr·λ); m, v moving averages;
// p ← p − lr/(1 − β1^t) · m / (√(v / (1 − β2^t)) + ε). With `decoupled` off: Adam, g ← g + λp.
struct AdamWTensor {
  int64_t n;
  float* p;
  const float* g;
  void* m;
  void* v;
  void* v_max;   // amsgrad's, or null
  int64_t step;  // t, from 1
  const uint64_t* mask = nullptr;
  const float* compact = nullptr;
};
struct AdamWArgs {
  DType state;
  double lr, beta1, beta2, eps, weight_decay;
  GradScale grad_scale;
  bool decoupled, maximize;
};

// Lion (Chen et al. 2023): p ← p(1 − lr·λ) − lr·sign(β1·m + (1 − β1)g); m ← β2·m + (1 − β2)g.
struct LionTensor {
  int64_t n;
  float* p;
  const float* g;
  void* m;
  int64_t step;
  const uint64_t* mask = nullptr;
  const float* compact = nullptr;
};
struct LionArgs {
  DType state;
  double lr, beta1, beta2, weight_decay;
  GradScale grad_scale;
};

// m ← β·m + α·g; u ← nesterov ? α·g + β·m : m. With α = 1 − β this is lerp, torch's Muon. What u is
// computed from is m before it is rounded.
struct MomentumTensor {
  int64_t n;
  const float* g;
  void* m;
  float* u;  // may be null: then only m moves
  int64_t step;
};
struct MomentumArgs {
  DType state;
  double beta, alpha;
  GradScale grad_scale;
  bool nesterov;
};

// p ← p(1 − lr·λ) − scale·o for `rows` rows of `cols`, o's rows (columns) multiplied by row_scale
// (col_scale) where that is given. With `cautious` the decay acts where p and the update agree in
// sign (p·o > 0).
struct DecayedUpdateArgs {
  int64_t rows, cols;
  float* p;
  const float* o;
  const float* row_scale;  // rows values or null
  const float* col_scale;  // cols values or null
  double scale, decay;     // decay = lr·λ
  bool cautious;
  const double* go = nullptr;  // GradScale::at
};

// NorMuon (arXiv 2510.05491): from the squares q_i = Σ o² of each neuron of `inputs` weights,
// v_i ← β₂·v_i + (1 − β₂)·q_i/inputs, and factors f_i = c / (√v_i + ε) with c such that √Σ q_i·f_i² is
// `norm`, or √Σ q_i where norm is 0 (all 0 where nothing is left).
struct NeuronFactorArgs {
  int64_t neurons, inputs;
  const float* squares;
  float* second_moment;
  float* factors;  // may be `squares`
  double beta2, eps, norm;
  const double* go = nullptr;  // GradScale::at
};

struct GradientTensor {
  int64_t n;
  const float* g;
  const uint64_t* mask = nullptr;
  int64_t on = 0;            // how many entries are on, where there is a mask
  float* compact = nullptr;  // where sum_of_squares is to leave these entries, or null
};

// The running diagonal of Fisher information: f ← keep·f + fresh·Σ g², over `samples` gradients of n
// entries, one after the other.
struct FisherArgs {
  int64_t n, samples;
  const float* g;
  float* f;
  double keep, fresh;
};

// Whether a step happens, and with what scale, as optimizer_step (ops/optimizer.h) works it out, on the device:
// nothing waits. scales[i]: of group i, whose gradients end before ends[i]; NaN in all where the step is to be
// left out. answers: the norm over all before scaling; the first gradient that is not finite or too large, or
// −1; 1 where that one is finite, else 0. list, ends and max_norms are the host's.
struct DecideArgs {
  const GradientTensor* list;
  int64_t count;
  const int64_t* ends;
  const double* max_norms;
  int64_t groups;
  double max_norm;
  double* scales;
  double* answers;
};

struct OptimKernels {
  void (*sgd)(Context&, const SgdArgs&, const SgdTensor* list, int64_t count);
  void (*adamw)(Context&, const AdamWArgs&, const AdamWTensor* list, int64_t count);
  void (*lion)(Context&, const LionArgs&, const LionTensor* list, int64_t count);
  void (*momentum)(Context&, const MomentumArgs&, const MomentumTensor* list, int64_t count);
  void (*decayed_update)(Context&, const DecayedUpdateArgs&);
  // The same over a list, where that costs less than one after the other; else null.
  void (*decayed_updates)(Context&, const DecayedUpdateArgs* list, int64_t count) = nullptr;
  Status (*neuron_factors)(Context&, const NeuronFactorArgs&);
  // Likewise over a list, or null.
  Status (*neuron_factors_each)(Context&, const NeuronFactorArgs* list, int64_t count) = nullptr;
  // squares[i] = Σg², summed in f64: NaN or Inf exactly where the gradient holds one. The lists and
  // `squares` are the host's.
  void (*sum_of_squares)(Context&, const GradientTensor* list, int64_t count, double* squares);
  void (*fisher)(Context&, const FisherArgs&);
  // Whether `compact` may be given.
  bool keeps_compact = false;
  // Null where kernels run as they are called.
  Status (*decide)(Context&, const DecideArgs&) = nullptr;
};

}  // namespace palimpsest
