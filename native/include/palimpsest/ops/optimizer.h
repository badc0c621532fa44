// One step of an optimizer: all its groups, or nothing.
#pragma once

#include <functional>
#include <limits>
#include <vector>

#include "palimpsest/kernels/optim.h"
#include "palimpsest/status.h"

namespace palimpsest {

class Recorder;

struct OptimizerGroup {
  std::vector<GradientTensor> gradients;
  // Largest norm of the group's gradients; they are scaled down to it.
  double max_norm = std::numeric_limits<double>::infinity();
  // Does the group's step with gradients times the factor; `gradients` are the group's, those with a mask
  // perhaps with `compact` filled. It must not fail on finite gradients.
  std::function<Status(Context&, const GradScale&, const GradientTensor* gradients)> step;
  // Scratch memory that the step takes, beside what elementwise rules do; null: none.
  std::function<size_t(const Context&)> scratch_bytes;
};

// Looks at every gradient once before anything changes: NaN, Inf, or a square too large for float32
// (it would stay in AdamW's second moment for good) give Code::numerical and leave all groups as they
// were. Then gradients are scaled so that the norm over all groups is at most max_norm, then each
// group's to its own (times max / (norm + 1e-6), as PyTorch's clip_grad_norm_), and groups step in
// order. `norm`: the norm over all groups before scaling.
//
// A device is asked for all scratch memory first, so that running out of it changes nothing either.
//
// With a recorder, on a device that can decide by itself (OptimKernels::decide), no kernel waits for the
// host: the look at the gradients and the steps are one piece of recorded work, whose kernels leave
// everything as it is where a gradient is not finite. The same bits either way.
Status optimizer_step(Context& context, const std::vector<OptimizerGroup>& groups, double max_norm,
                      double& norm, Recorder* recorder = nullptr);

}  // namespace palimpsest
