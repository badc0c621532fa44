// Products whose float32 operands count with 16 bits of fraction: x = high + low in bf16, and
// high·high + high·low + low·high is one bf16 product of three times the depth, [A, A, A′]·[B; B′; B] with
// A′ and B′ the low parts: the sums stay in the tensor cores' registers. (low·low is below 2⁻¹⁸.)
// Floor: 6·m·n·k FLOPs at bf16's rate, half of what three products in tf32 take; an operand is read once
// and its parts are written once.

#include "cuda/gemm/gemm.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;

// The parts of an operand one after the other along the depth; part p is the low one where bit p of `low` is set.
struct Parts {
  const void* from;
  DType dtype;
  BFloat16* to;
  int64_t batch, outer, inner;
  int64_t from_batch, from_outer, from_inner;
  int64_t to_batch, to_outer, to_part;
  int count;
  unsigned low;
};

__global__ void __launch_bounds__(kThreads) parts_kernel(const Parts p) {
  const int64_t matrix = p.outer * p.inner;
  const int64_t total = p.batch * matrix;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const int64_t b = i / matrix;
    const int64_t row = (i - b * matrix) / p.inner;
    const int64_t col = i - b * matrix - row * p.inner;
    const float x = load_float<float>(p.from, p.dtype, b * p.from_batch + row * p.from_outer + col * p.from_inner);
    const BFloat16 high = narrow(x);
    const BFloat16 low = narrow(x - widen(high));
    BFloat16* to = p.to + b * p.to_batch + row * p.to_outer + col;
    for (int part = 0; part < p.count; ++part) to[part * p.to_part] = (p.low >> part & 1) != 0 ? low : high;
  }
}

// An operand of extent × depth (`m` is A, or B transposed) becomes bf16 of extent × count·depth.
Status split(Context& context, Matrix& m, int64_t batch, int count, unsigned low) {
  const int64_t copies = m.batch_stride == 0 ? 1 : batch;
  const bool across = m.row_stride == 1 && m.col_stride != 1;  // memory runs along the extent
  Parts p{};
  p.from = m.data;
  p.dtype = m.dtype;
  p.batch = copies;
  p.from_batch = m.batch_stride;
  p.outer = across ? m.cols : m.rows;
  p.inner = across ? m.rows : m.cols;
  p.from_outer = across ? m.col_stride : m.row_stride;
  p.from_inner = across ? m.row_stride : m.col_stride;
  // Rows of a multiple of 16 bytes, as the copy engine wants them.
  p.to_outer = ceil_div(across ? m.rows : count * m.cols, 8) * 8;
  p.to_part = across ? m.cols * p.to_outer : m.cols;
  p.to_batch = (across ? count * m.cols : m.rows) * p.to_outer;
  p.count = count;
  p.low = low;
  p.to = scratch<BFloat16>(context, copies * p.to_batch);
  if (p.to == nullptr) return no_memory();
  PALIMPSEST_TRY(launch(context, parts_kernel, blocks_for(context, copies * m.rows * m.cols, kThreads), kThreads, 0, p));
  m = {p.to, DType::bf16, m.rows, count * m.cols, across ? 1 : p.to_outer, across ? p.to_outer : 1,
       copies == 1 ? 0 : p.to_batch};
  return {};
}

}  // namespace

Status gemm_mixed(Context& context, const GemmArgs& args) {
  const bool wide_a = args.a.dtype == DType::f32;
  const bool wide_b = args.b.dtype == DType::f32;
  if (!wide_a && !wide_b) return gemm_bf16(context, args);
  const Workspace::Scope scope(context.workspace);
  GemmArgs narrow = args;
  Matrix b = args.b.transposed();
  if (wide_a && wide_b) {
    PALIMPSEST_TRY(split(context, narrow.a, args.batch, 3, 0b100));
    PALIMPSEST_TRY(split(context, b, args.batch, 3, 0b010));
  } else {
    PALIMPSEST_TRY(split(context, narrow.a, args.batch, 2, wide_a ? 0b10 : 0));
    PALIMPSEST_TRY(split(context, b, args.batch, 2, wide_b ? 0b10 : 0));
  }
  narrow.b = b.transposed();
  return gemm_bf16(context, narrow);
}

}  // namespace palimpsest::cuda
