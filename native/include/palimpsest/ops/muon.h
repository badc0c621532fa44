// Whole Muon and NorMuon steps over a list of matrices.
#pragma once

#include <cstdint>
#include <vector>

#include "palimpsest/kernels/optim.h"
#include "palimpsest/ops/newton_schulz.h"

namespace palimpsest {

// One parameter: `batch` stacked matrices of rows × cols, contiguous, float32.
struct MuonParameter {
  float* p;
  const float* g;
  void* momentum;        // of MuonArgs::state
  float* second_moment;  // NorMuon: one value a neuron of each matrix; null: Muon
  int64_t batch, rows, cols;
  double scale;  // lr times the shape's factor
  double norm;   // NorMuon: the update's Frobenius norm before `scale`; 0: that of O
  int64_t step;  // from 1
};

// The row blocks [sizes…] of a fused parameter (queries, keys and values in one matrix) as parameters
// of their own. `sizes` sum to its rows. Blocks' scale and norm are the caller's to set.
std::vector<MuonParameter> split_rows(const MuonParameter& fused, const std::vector<int64_t>& sizes,
                                      DType state);

struct MuonArgs {
  std::vector<MuonParameter> parameters;
  DType state = DType::f32;
  bool columns = false;  // neurons are columns (in × out), not rows
  double decay;      // lr · weight decay
  double momentum;   // β
  double fresh;      // weight of the gradient in the momentum: 1 − β, or 1 for Keller's first form
  bool nesterov;
  double beta2;      // NorMuon
  double row_eps;    // NorMuon's ε
  GradScale grad_scale;  // clipping
  bool cautious;
  std::vector<Quintic> steps;
  Compute compute;
  double eps;
  double norm_factor;
  Normalization normalization = Normalization::frobenius;
};

// Momentum, orthogonalization, NorMuon's normalisation of neurons, decayed update. Gradients are
// finite: optimizer_step (ops/optimizer.h) has looked. An abort may leave a part of the parameters
// updated, so callers that can be aborted pass copies.
Status muon_step(Context& context, const MuonArgs& args);

// At most so many bytes of scratch memory does a step take.
size_t muon_bytes(const Context& context, const MuonArgs& args);

}  // namespace palimpsest
