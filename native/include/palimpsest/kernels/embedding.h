// Rows of a table picked by number, and the sums that are their gradient.
#pragma once

#include <cstdint>

#include "palimpsest/dtype.h"
#include "palimpsest/status.h"

namespace palimpsest {

class Context;

// out[i] ← table[indices[i]], rows of `width` contiguous elements of any dtype.
struct GatherRowsArgs {
  DType dtype;
  int64_t rows, width;  // of the table
  int64_t count;
  const void* table;
  const int32_t* indices;
  void* out;
};

// out ← 0, then out[indices[i]] += g[i] in ascending i; f32 or f64. An index that is `skip` adds
// nothing (−1: none is).
struct ScatterRowsArgs {
  DType dtype;
  int64_t rows, width;  // of out
  int64_t count;
  const void* g;
  const int32_t* indices;
  int64_t skip;
  void* out;
};

// Code::argument where an index names no row; nothing is written then.
struct EmbeddingKernels {
  Status (*gather)(Context&, const GatherRowsArgs&);
  Status (*scatter)(Context&, const ScatterRowsArgs&);
};

}  // namespace palimpsest
