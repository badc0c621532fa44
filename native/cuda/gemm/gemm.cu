// The door of the matrix products, and the plain kernel for float64.

#include "cuda/gemm/gemm.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kSide = 64;
constexpr int kDepth = 16;
constexpr int kThreads = 256;

// A 64 × 64 tile a block, 4 × 4 sums a thread. Any strides.
__global__ void __launch_bounds__(kThreads)
    f64_kernel(const Matrix a, const Matrix b, const Epilogue epilogue, const Tiles tiles, const Split split) {
  __shared__ double of_a[kDepth][kSide + 1];
  __shared__ double of_b[kDepth][kSide + 1];
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / 16;
  const int col = thread % 16;
  const auto* from_a = static_cast<const double*>(a.data);
  const auto* from_b = static_cast<const double*>(b.data);
  const int64_t steps = (a.cols + kDepth - 1) / kDepth;
  for (int64_t index = blockIdx.x; index < tiles.count() * split.parts; index += gridDim.x) {
    const Piece work = piece_at(tiles, split, steps, index);
    const Tile& tile = work.tile;
    double sums[4][4] = {};
    for (int64_t depth = work.begin * kDepth; depth < work.end * kDepth; depth += kDepth) {
      for (int i = thread; i < kSide * kDepth; i += kThreads) {
        const int ka = a.col_stride == 1 ? i % kDepth : i / kSide;
        const int ra = a.col_stride == 1 ? i / kDepth : i % kSide;
        const int64_t r = tile.row * kSide + ra;
        of_a[ka][ra] = r < a.rows && depth + ka < a.cols
                           ? from_a[tile.batch * a.batch_stride + r * a.row_stride + (depth + ka) * a.col_stride]
                           : 0.0;
        const int kb = b.row_stride == 1 ? i % kDepth : i / kSide;
        const int cb = b.row_stride == 1 ? i / kDepth : i % kSide;
        const int64_t c = tile.col * kSide + cb;
        of_b[kb][cb] = c < b.cols && depth + kb < a.cols
                           ? from_b[tile.batch * b.batch_stride + (depth + kb) * b.row_stride + c * b.col_stride]
                           : 0.0;
      }
      __syncthreads();
      for (int k = 0; k < kDepth; ++k) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) sums[i][j] += of_a[k][row + 16 * i] * of_b[k][col + 16 * j];
        }
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int64_t r = tile.row * kSide + row + 16 * i;
        const int64_t c = tile.col * kSide + col + 16 * j;
        if (r >= epilogue.rows || c >= epilogue.cols) continue;
        const double x = finished(epilogue, work.out, r, c, sums[i][j]);
        put(epilogue, work.out, r, c, x);
        if (epilogue.symmetric && tile.row != tile.col) put(epilogue, work.out, c, r, x);
      }
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) no_depth_kernel(const Epilogue e, int64_t batch) {
  const int64_t total = batch * e.rows * e.cols;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const int64_t row = i / e.cols % e.rows;
    const int64_t col = i % e.cols;
    const int64_t matrix = i / (e.rows * e.cols);
    put(e, matrix, row, col, finished(e, matrix, row, col, T(0)));
  }
}

enum class Kind { f32, f64, bf16, mixed };

template <Kind kKind>
Status gemm(Context& context, const GemmArgs& args) {
  const int64_t size = args.d.rows * args.d.cols * args.batch;
  if (size == 0) return {};
  if (args.a.cols == 0) {
    const auto kernel = kKind == Kind::f64 ? no_depth_kernel<double> : no_depth_kernel<float>;
    return launch(context, kernel, blocks_for(context, size, kThreads), kThreads, 0, epilogue_of(args), args.batch);
  }
  if constexpr (kKind == Kind::f64) {
    const Tiles tiles{ceil_div(args.d.rows, kSide), ceil_div(args.d.cols, kSide), args.batch, args.symmetric};
    return in_parts<double>(context, args, tiles, kSide, ceil_div(args.a.cols, kDepth), [&](const Epilogue& e, const Split& split) {
      return launch(context, f64_kernel, blocks_for(context, tiles.count() * split.parts, 1), kThreads, 0, args.a,
                    args.b, e, tiles, split);
    });
  } else if constexpr (kKind == Kind::f32) {
    return gemm_tf32x3(context, args);
  } else if constexpr (kKind == Kind::mixed) {
    return gemm_mixed(context, args);
  } else {
    return gemm_bf16(context, args);
  }
}

}  // namespace

Status gemm_bf16(Context& context, const GemmArgs& args) {
  return hopper_fits(context) ? gemm_hopper(context, args) : gemm_mma(context, args);
}

void fill_gemm(KernelTable& table) {
  table.gemm = {.f32 = gemm<Kind::f32>,
                .f64 = gemm<Kind::f64>,
                .bf16 = gemm<Kind::bf16>,
                .mixed = gemm<Kind::mixed>};
}

}  // namespace palimpsest::cuda
