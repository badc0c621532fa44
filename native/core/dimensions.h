// The axes of a reduction, in order; what lies on in memory is one.
#pragma once

#include <cstdint>

#include "palimpsest/view.h"

namespace palimpsest {

// Merged dimensions with the strides of the input and (for kept ones) the output.
struct Dimensions {
  int rank = 0;
  int64_t shape[kMaxRank];
  int64_t in[kMaxRank];
  int64_t out[kMaxRank];
  int64_t size = 1;

  void append(int64_t extent, int64_t in_stride, int64_t out_stride) {
    size *= extent;
    if (extent == 1) return;
    if (rank > 0 && in[rank - 1] == in_stride * extent && out[rank - 1] == out_stride * extent) {
      shape[rank - 1] *= extent;
      in[rank - 1] = in_stride;
      out[rank - 1] = out_stride;
      return;
    }
    shape[rank] = extent;
    in[rank] = in_stride;
    out[rank++] = out_stride;
  }

  // Offsets of entry `index` in row-major order, of the first `dims` dimensions.
  void locate(int64_t index, int dims, int64_t& in_at, int64_t& out_at) const {
    in_at = out_at = 0;
    for (int i = dims - 1; i >= 0; --i) {
      const int64_t at = index % shape[i];
      index /= shape[i];
      in_at += at * in[i];
      out_at += at * out[i];
    }
  }
};

}  // namespace palimpsest
