// Matrix products with their arguments checked: the door to the gemm kernels.
#pragma once

#include "palimpsest/kernels/gemm.h"

namespace palimpsest {

enum class Compute : uint8_t { f32, bf16 };

// Runs args on the kernel that the operands' dtypes and `compute` ask for, after checking that shapes
// agree. f64 operands are multiplied in f64; f32 ones in f32, or rounded to bf16; bf16 ones as bf16.
Status matmul(Context& context, const GemmArgs& args, Compute compute = Compute::f32);

}  // namespace palimpsest
