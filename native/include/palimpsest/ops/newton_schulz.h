// Newton–Schulz orthogonalization: an approximate polar factor from matrix products alone.
#pragma once

#include <cstdint>

#include "palimpsest/ops/matmul.h"
#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

// One step X ← aX + (bA + cA²)X with A = XXᵀ: singular values go through aσ + bσ³ + cσ⁵.
struct Quintic {
  double a, b, c;
};

enum class NewtonSchulzMethod : uint8_t {
  automatic,
  direct,  // iterates X
  gram,    // iterates the small side's Gram matrix and multiplies X once at the end
};

// How singular values are brought below 1 before the first step.
enum class Normalization : uint8_t {
  frobenius,  // X / ‖X‖_F
  // X / ‖(XXᵀ)²‖_F^¼, a bound of the largest singular value that is far nearer to it (Gelfand's formula).
  // Costs a product of the short side.
  gelfand,
  // D·X with D = diag(1 / √Σⱼ|XXᵀ|ᵢⱼ) on the short side: almost orthogonal already where rows are nearly
  // so, but the polar factor is that of D·X.
  aol,
};

struct NewtonSchulzArgs {
  Matrix x;    // f32, f64 (computed in f32) or bf16; batch_stride apart
  Matrix out;  // f32 or bf16, the same shape; may be x itself
  int64_t batch = 1;
  const Quintic* steps = nullptr;
  int step_count = 0;
  Compute compute = Compute::bf16;
  NewtonSchulzMethod method = NewtonSchulzMethod::automatic;
  Normalization normalization = Normalization::frobenius;  // this one too where there are no steps
  // Added to the Frobenius norm of x after x has been scaled to a largest entry of 1.
  double eps = 1e-7;
  // The norm, whichever, is multiplied by this: 1 + safety, for schedules that need σ < 1 for sure.
  double norm_factor = 1;
  // NaN or Inf in x: Code::numerical unless allowed (then the result is NaN).
  bool allow_nonfinite = false;
};

// Iterates on the shorter side, whichever it is, without transposing. A zero matrix gives zero.
// `out` is written at the very end: an error or abort leaves it as it was.
Status orthogonalize(Context& context, const NewtonSchulzArgs& args);

// At most so many bytes of scratch memory: for callers that must not run out of it half way.
size_t newton_schulz_bytes(const NewtonSchulzArgs& args);

}  // namespace palimpsest
