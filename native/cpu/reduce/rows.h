// What an instruction set brings to reductions: one contiguous row, or a row added into accumulators.
#pragma once

#include <cstdint>

#include "palimpsest/kernels.h"
#include "palimpsest/kernels/reduce.h"

namespace palimpsest::cpu {

// A row's partial result. Sums are kept in float64 beyond a block of float32 additions.
template <typename T>
struct ReduceRows {
  double (*sum)(const T* x, int64_t n);
  double (*sum_of_squares)(const T* x, int64_t n);
  double (*sum_of_magnitudes)(const T* x, int64_t n);
  T (*max)(const T* x, int64_t n);  // n ≥ 1
  T (*min)(const T* x, int64_t n);
  bool (*all_finite)(const T* x, int64_t n);
  // accumulators[i] ∘= x[i]
  void (*add)(T* accumulators, const T* x, int64_t n);
  void (*add_squares)(T* accumulators, const T* x, int64_t n);
  void (*add_magnitudes)(T* accumulators, const T* x, int64_t n);
  void (*take_max)(T* accumulators, const T* x, int64_t n);
  void (*take_min)(T* accumulators, const T* x, int64_t n);
};

struct ReduceRowSet {
  ReduceRows<float> f32;
  ReduceRows<double> f64;
};

Status reduce(Context&, const ReduceArgs&, const ReduceRowSet&);
Status cumulative(Context&, const CumulativeArgs&);
Status all_finite(Context&, const View& in, bool& finite, const ReduceRowSet&);

template <const ReduceRowSet& (*kRows)()>
ReduceKernels reduce_kernels() {
  return {
      .reduce = [](Context& c, const ReduceArgs& a) { return reduce(c, a, kRows()); },
      .cumulative = cumulative,
      .all_finite = [](Context& c, const View& in,
                       bool& finite) { return all_finite(c, in, finite, kRows()); },
  };
}

}  // namespace palimpsest::cpu
