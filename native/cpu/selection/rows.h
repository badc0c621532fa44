// What an instruction set brings to selection: comparing 64 scores at a time with two bounds. The
// driver (driver.cpp) decides which bounds.
#pragma once

#include <cstdint>

#include "palimpsest/kernels.h"

namespace palimpsest::cpu {

// How a score x is compared: as v = ±x or ±|x|, so that the largest v are always wanted.
struct ScoreForm {
  bool magnitude, negate;
};

struct Swept {
  int64_t upper;  // entries with v ≥ high
  int64_t above;  // entries with v > low
  bool nan;
};

// Bits of v ≥ high go to `mask` (whole words); v and index of entries with low < v < high to `values`
// and `indices` while there is room.
template <typename V>
struct SelectionRow {
  Swept (*sweep)(const void* x, int64_t n, ScoreForm form, V low, V high, uint64_t* mask, V* values,
                 uint32_t* indices, int64_t room);
  // Bits of v > bound; `upper` counts v ≥ bound.
  Swept (*mark)(const void* x, int64_t n, ScoreForm form, V bound, uint64_t* mask);
  // v of n entries.
  void (*values)(const void* x, int64_t n, ScoreForm form, V* out);
};

struct SelectionRows {
  SelectionRow<float> f32, bf16;
  SelectionRow<double> f64, i32;
};

Status select_entries(Context&, const SelectArgs&, const SelectionRows&);
Status sort_rows(Context&, const SortRowsArgs&);
Status magnitude_counts(Context&, const MagnitudeCountsArgs&);

template <const SelectionRows& (*kRows)()>
SelectionKernels selection_kernels() {
  return {
      .select = [](Context& c, const SelectArgs& a) { return select_entries(c, a, kRows()); },
      .sort_rows = sort_rows,
      .magnitude_counts = magnitude_counts,
  };
}

}  // namespace palimpsest::cpu
