// Random numbers indexed by position: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", 2011). Word p of a seed is word p mod 4 of the block at counter p / 4, so that any part
// of a stream can be drawn by itself, on any thread, in any order.
#pragma once

#include <cstdint>

#include "palimpsest/dtype.h"
#include "palimpsest/status.h"

namespace palimpsest {

class Context;

// out[i] is made of the word at position + i.
struct RandomArgs {
  uint64_t seed, position;
  DType dtype;
  int64_t n;
  void* out;
  double a, b;
};

// out[i] ← dropped ? 0 : scale·x[i], dropped where the upper 24 bits of the word at position + i are
// below `threshold` (p·2^24). The gradient is the same function of dy: nothing has to be stored.
struct DropoutArgs {
  uint64_t seed, position;
  DType dtype;
  int64_t n;
  const void* x;
  void* y;
  uint32_t threshold;
  double scale;
};

struct RandomKernels {
  // f32, f64, bf16: a + b·u, u in [0, 1) with 24 bits.
  Status (*uniform)(Context&, const RandomArgs&);
  // f32, f64, bf16: a + b·z, z standard normal by Box–Muller: words 2j and 2j + 1 of the stream give
  // the numbers at 2j (cosine) and 2j + 1 (sine). f64 is the same function computed in float64.
  Status (*normal)(Context&, const RandomArgs&);
  // i32, f32, f64: a + ⌊b·w / 2^32⌋, b an integer in [1, 2^32]; the bias is below b / 2^32.
  Status (*integers)(Context&, const RandomArgs&);
  // i32: 0 … n − 1 in random order (Fisher–Yates from the end: step i takes word n − 1 − i).
  Status (*permutation)(Context&, const RandomArgs&);
  Status (*dropout)(Context&, const DropoutArgs&);
};

}  // namespace palimpsest
