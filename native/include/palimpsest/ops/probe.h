// Measures nothing itself: does a known amount of work as fast as the machine can, for a caller with
// a clock.
#pragma once

#include <cstdint>

#include "palimpsest/kernels/probe.h"
#include "palimpsest/view.h"

namespace palimpsest {

enum class Probe : uint8_t { fma_f32, fma_f64, dot_bf16, copy, read, write };

// Sets `work` to the floating-point operations done, or to the bytes moved; to 0, with nothing done,
// where the device has no such instruction. Memory probes read `from` and write `to`, contiguous f32
// of one size, much larger than the caches; arithmetic probes leave both alone.
Status probe(Context& context, Probe what, const View& from, const View& to, int64_t repetitions,
             double& work);

}  // namespace palimpsest
