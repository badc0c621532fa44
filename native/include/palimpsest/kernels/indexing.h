// Picking entries by index, putting them back, and finding those that are not zero.
#pragma once

#include <cstdint>

#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

// out[…, i, …] = in[…, index[…, i, …], …] along `axis`. out and index (int32) have one shape; in's
// differs along the axis alone. An index with stride 0 along the other axes picks whole slices.
struct GatherArgs {
  View out, in, index;
  int axis;
};

// What happens to an entry that is there. The numbers are shared with lib/tensor/indexing.ts.
enum class Scatter : uint8_t { assign, add, multiply, maximum, minimum };

// out[…, index[…, i, …], …] ∘= src[…, i, …] along `axis`, in the order of i: the last wins for
// `assign`. src and index have one shape; out's differs along the axis alone, its dtype is src's.
// bfloat16 is rounded after every entry. NaN wins maximum and minimum.
struct ScatterArgs {
  View out, index, src;
  int axis;
  Scatter mode;
};

// Code::argument where an index lies outside the axis; nothing is written then.
struct IndexingKernels {
  Status (*gather)(Context&, const GatherArgs&);
  Status (*scatter)(Context&, const ScatterArgs&);
  // The row-major positions of the entries of `in` (contiguous) that are not zero, in order, into
  // `positions` (int32, as many as there are, or null: they are only counted).
  Status (*nonzero)(Context&, const View& in, int32_t* positions, int64_t& count);
};

}  // namespace palimpsest
