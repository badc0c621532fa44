// Choosing entries by size: exactly k as one-bit masks, and the ordering of rows.
#pragma once

#include <cstdint>

#include "palimpsest/dtype.h"
#include "palimpsest/status.h"

namespace palimpsest {

class Context;

// One tensor of a list: n contiguous scores, and ⌈n/64⌉ words of mask (bit i mod 64 of word i/64 is
// entry i; bits beyond n become 0).
struct SelectPiece {
  const void* x;
  int64_t n;
  uint64_t* mask;
};

// Exactly k of the entries of all pieces together: the largest, or smallest, by value or magnitude.
// Of equal scores the first in order is taken; −0 equals +0; NaN is Code::numerical and leaves the
// masks undefined. 0 ≤ k ≤ Σn (whoever calls has checked).
struct SelectArgs {
  DType dtype;  // f32, f64, bf16, i32
  bool magnitude, largest;
  int64_t k;
  const SelectPiece* pieces;
  int64_t count;
  // The last score that was chosen, as it was compared (its magnitude, where that counts); NaN for
  // k = 0. May be null.
  double* threshold;
};

// The first k of each row in order; k = cols sorts. Equal scores keep their order, NaN counts as the
// largest of all, as in PyTorch.
struct SortRowsArgs {
  DType dtype;  // f32, f64, bf16, i32
  int64_t rows, cols, k;
  bool descending;
  const void* x;     // rows × cols
  void* values;      // rows × k, may be null
  int32_t* indices;  // rows × k
};

// Adds to counts[b] how many of n magnitudes |x| have the upper 15 of their 31 bits equal to b
// (`upper` < 0, kMagnitudeUpper counts), or, of those whose upper bits are `upper`, the lower 16
// (kMagnitudeLower counts). NaN counts above everything.
inline constexpr int64_t kMagnitudeUpper = int64_t{1} << 15;
inline constexpr int64_t kMagnitudeLower = int64_t{1} << 16;
struct MagnitudeCountsArgs {
  int64_t n;
  const float* x;
  int64_t upper;
  double* counts;
};

struct SelectionKernels {
  Status (*select)(Context&, const SelectArgs&);
  Status (*sort_rows)(Context&, const SortRowsArgs&);
  // Null where the device has no such kernel.
  Status (*magnitude_counts)(Context&, const MagnitudeCountsArgs&) = nullptr;
};

}  // namespace palimpsest
