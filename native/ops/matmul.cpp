#include "palimpsest/ops/matmul.h"

#include <string>

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest {
namespace {

std::string shape_of(const Matrix& m) {
  return std::to_string(m.rows) + "×" + std::to_string(m.cols);
}

}  // namespace

Status matmul(Context& context, const GemmArgs& args, Compute compute) {
  const Matrix& a = args.a;
  const Matrix& b = args.b;
  const Matrix& d = args.d;
  if (a.cols != b.rows || a.rows != d.rows || b.cols != d.cols) {
    return {Code::shape, "a product of " + shape_of(a) + " and " + shape_of(b) + " into " +
                             shape_of(d) + ": the inner or outer sizes differ"};
  }
  if (args.c.data != nullptr && (args.c.rows != d.rows || args.c.cols != d.cols)) {
    return {Code::shape, "'c' is " + shape_of(args.c) + ", expected " + shape_of(d)};
  }
  const auto refuse = [](const char* what) { return Status(Code::dtype, what); };
  const auto narrow = [](DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; };
  if (a.dtype == DType::f64) {
    if (b.dtype != DType::f64 || d.dtype != DType::f64) {
      return refuse("a float64 product takes and gives float64");
    }
    return context.kernels.gemm.f64(context, args);
  }
  if (!narrow(a.dtype) || !narrow(b.dtype) || !narrow(d.dtype)) {
    return refuse("a matrix product takes float32, float64 or bfloat16");
  }
  if (a.dtype == DType::f32 && b.dtype == DType::f32 && d.dtype == DType::f32 &&
      compute == Compute::f32) {
    return context.kernels.gemm.f32(context, args);
  }
  return context.kernels.gemm.bf16(context, args);
}

}  // namespace palimpsest
