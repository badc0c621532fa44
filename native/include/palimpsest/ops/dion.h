// Whole Dion steps over a list of matrices.
#pragma once

#include <cstdint>
#include <vector>

#include "palimpsest/dtype.h"
#include "palimpsest/kernels/optim.h"
#include "palimpsest/status.h"

namespace palimpsest {

class Context;

// One parameter: `batch` stacked matrices of rows × cols, contiguous, float32.
struct DionParameter {
  float* p;
  const float* g;
  void* momentum;  // of DionArgs::state
  float* q;        // batch × min(rows, cols) × rank: the right factor of the last step
  int64_t batch, rows, cols, rank;
  double scale;    // lr times the shape's factor
  int64_t step;    // from 1
};

struct DionArgs {
  std::vector<DionParameter> parameters;
  DType state = DType::f32;
  double decay;       // lr · weight decay
  double momentum;    // μ
  double eps;         // added to the norm of a column of the right factor
  GradScale grad_scale;  // clipping
};

// Per matrix, X = M or Mᵀ with rows ≥ columns: M ← M + g; P = orthonormal basis of XQ; R = XᵀP;
// X ← X − (1 − μ)PRᵀ; Q ← R with columns of norm 1; p ← p(1 − decay) − scale·PQᵀ. A direction that is
// linearly dependent on those before it (also: all of a zero momentum) is left out of the step and
// keeps its column of Q. Gradients are finite: optimizer_step (ops/optimizer.h) has looked.
Status dion_step(Context& context, const DionArgs& args);

}  // namespace palimpsest
