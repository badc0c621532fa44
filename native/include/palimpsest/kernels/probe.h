// Probes: what this machine can do at most, as the yardstick of benchmarks.
#pragma once

#include <cstdint>

#include "palimpsest/status.h"

namespace palimpsest {

class Context;

// Arithmetic probes run `repetitions` rounds of independent multiply-adds on registers alone; memory
// probes pass `repetitions` times over n floats. `sink` receives one value a task, so that nothing
// is optimised away.
struct ProbeArgs {
  const float* from = nullptr;
  float* to = nullptr;
  int64_t n = 0;
  int64_t repetitions = 1;
  double* sink = nullptr;
};

// How the work is cut: arithmetic into this many tasks …
inline constexpr int64_t kProbeTasks = 16;
// … and memory into pieces of this many floats.
inline constexpr int64_t kProbePiece = int64_t{1} << 18;

using ProbeKernel = Status (*)(Context&, const ProbeArgs&);

// An arithmetic kernel with the floating-point operations of one task and repetition.
struct ArithmeticProbe {
  ProbeKernel run = nullptr;  // null where there is no such instruction
  int64_t operations = 0;
};

struct ProbeKernels {
  ArithmeticProbe fma_f32;
  ArithmeticProbe fma_f64;
  ArithmeticProbe dot_bf16;  // the bf16 dot-product instruction
  ProbeKernel copy;          // to = from
  ProbeKernel read;          // sum of from
  ProbeKernel write;         // to = 1
};

}  // namespace palimpsest
