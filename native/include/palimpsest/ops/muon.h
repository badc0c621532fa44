// Whole Muon and NorMuon steps over a list of matrices.
#pragma once

#include <cstdint>
#include <vector>

#include "palimpsest/ops/newton_schulz.h"

namespace palimpsest {

// One parameter: `batch` stacked matrices of rows × cols, contiguous, float32.
struct MuonParameter {
  float* p;
  const float* g;
  float* momentum;
  float* second_moment;  // NorMuon: batch · rows values; null: Muon
  int64_t batch, rows, cols;
  double scale;          // lr times the shape's factor
};

struct MuonArgs {
  std::vector<MuonParameter> parameters;
  double decay;      // lr · weight decay
  double momentum;   // β
  double fresh;      // weight of the gradient in the momentum: 1 − β, or 1 for Keller's first form
  bool nesterov;
  double beta2;      // NorMuon
  double row_eps;    // NorMuon's ε
  double grad_scale; // clipping
  bool cautious;
  std::vector<Quintic> steps;
  Compute compute;
  double eps;
  double norm_factor;
};

// Momentum, orthogonalization, NorMuon's row normalisation, decayed update. All gradients are looked
// at first: NaN or Inf in one of them gives Code::numerical and changes nothing. An abort may leave a
// part of the parameters updated, so callers that can be aborted pass copies.
Status muon_step(Context& context, const MuonArgs& args);

}  // namespace palimpsest
