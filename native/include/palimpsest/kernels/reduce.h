// Reductions over axes.
#pragma once

#include <cstdint>

#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

// The numbers are shared with lib/tensor/reduce.ts. NaN wins max, min, argmax and argmin.
enum class Reduction : uint8_t {
  sum, mean, prod, max, min, sum_of_squares, sum_of_magnitudes, argmax, argmin, any, all,
};
inline constexpr int kReductions = static_cast<int>(Reduction::all) + 1;

// `out` has in's rank, with extent 1 along every reduced axis (`axes`: bit i for axis i). The dtype
// of out is in's, but int32 for argmax and argmin (the index along the one reduced axis; the lowest
// among equals) and bool for any and all.
struct ReduceArgs {
  Reduction op;
  View out, in;
  uint32_t axes = 0;
};

// The numbers are shared with lib/tensor/reduce.ts. NaN wins max and min.
enum class Cumulative : uint8_t { sum, prod, max, min };

// out[j] = in[0] ∘ … ∘ in[j] along `axis`, or in[j] ∘ … ∘ in[n − 1] where `reverse`. Shapes and
// dtypes are equal; floats are accumulated in float64, integers wrap around.
struct CumulativeArgs {
  Cumulative op;
  View out, in;
  int axis = 0;
  bool reverse = false;
};

struct ReduceKernels {
  Status (*reduce)(Context&, const ReduceArgs&);
  Status (*cumulative)(Context&, const CumulativeArgs&);
  // Whether all elements are finite (floats; integers always are).
  Status (*all_finite)(Context&, const View& in, bool& finite);
};

}  // namespace palimpsest
