// Walking several views of one shape together: dimensions that are contiguous in all of them are
// merged, so that most work becomes one long row.
#pragma once

#include <cstdint>

#include "palimpsest/view.h"

namespace palimpsest::cpu {

inline constexpr int kMaxOperands = 4;

struct Walk {
  int rank = 0;             // dimensions left, at least 1
  int operands = 0;
  int64_t shape[kMaxRank];  // outermost first
  int64_t strides[kMaxOperands][kMaxRank];  // in elements
  int64_t size = 1;

  int64_t inner() const { return shape[rank - 1]; }
  int64_t outer() const { return inner() == 0 ? 0 : size / inner(); }

  // Element offsets of row `index` (counting all dimensions but the innermost, in order).
  void row(int64_t index, int64_t* offsets) const {
    for (int k = 0; k < operands; ++k) offsets[k] = 0;
    for (int i = rank - 2; i >= 0; --i) {
      const int64_t at = index % shape[i];
      index /= shape[i];
      for (int k = 0; k < operands; ++k) offsets[k] += at * strides[k][i];
    }
  }
};

// All views have the shape of views[0]. Dimensions are ordered by the stride of views[0], largest
// first, so that what is written is written in order of its memory.
Walk make_walk(const View* const* views, int operands);

}  // namespace palimpsest::cpu
