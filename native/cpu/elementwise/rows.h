// What an instruction set brings to the elementwise family: operations on contiguous rows of one
// type. The driver (driver.cpp) walks shapes and strides, converts, and spreads rows over threads.
#pragma once

#include <cstdint>

#include "palimpsest/kernels.h"
#include "palimpsest/kernels/elementwise.h"

namespace palimpsest::cpu {

// The types that arithmetic is done in.
enum class Arithmetic : uint8_t { f32, f64, i32 };
inline constexpr int kArithmetics = 3;

// out[i] = op(in[0][i], …) for i < n; out may be one of the inputs.
using RowFunction = void (*)(void* out, const void* const* in, int64_t n);
// Reads n elements of a dtype as the arithmetic's type, or the reverse.
using ConvertFunction = void (*)(void* out, const void* in, int64_t n);

struct ElementwiseRows {
  RowFunction unary[kArithmetics][kUnaries];
  RowFunction binary[kArithmetics][kBinaries];
  RowFunction where[kArithmetics];
  ConvertFunction widen[kArithmetics][kDTypes];
  ConvertFunction narrow[kArithmetics][kDTypes];
};

// The kernel table's entries for a set of rows.
template <const ElementwiseRows& (*kRows)()>
ElementwiseKernels elementwise_kernels();

Status elementwise_unary(Context&, const UnaryArgs&, const ElementwiseRows&);
Status elementwise_binary(Context&, const BinaryArgs&, const ElementwiseRows&);
Status elementwise_where(Context&, const WhereArgs&, const ElementwiseRows&);

template <const ElementwiseRows& (*kRows)()>
ElementwiseKernels elementwise_kernels() {
  return {
      .unary = [](Context& c, const UnaryArgs& a) { return elementwise_unary(c, a, kRows()); },
      .binary = [](Context& c, const BinaryArgs& a) { return elementwise_binary(c, a, kRows()); },
      .where = [](Context& c, const WhereArgs& a) { return elementwise_where(c, a, kRows()); },
  };
}

}  // namespace palimpsest::cpu
