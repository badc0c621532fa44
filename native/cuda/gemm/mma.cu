// Products by warps' tensor instructions: bf16 for GPUs before and after Hopper, and float32 on all as
// three products in tf32 (x = high + low in 21 bits; high·high + high·low + low·high), whose error is
// that of float32 sums. Floor: 2·m·n·k FLOPs at the tensor cores' rate, three times that for float32.
//
// A block of eight warps computes 128 × 128 of D, a warp 64 × 32. Tiles of 128 × kDepth of A and of Bᵀ go
// through registers, where they are converted, into one of two buffers in shared memory while the other
// is multiplied. Operands may have any strides; a unit stride in either direction is read in vectors of
// 16 bytes where addresses allow it, and else coalesced.

#include "cuda/gemm/gemm.cuh"
#include "cuda/gemm/mma.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kSide = 128;
constexpr int kThreads = 256;
constexpr int kWarpRows = 64;
constexpr int kWarpCols = 32;

// One operand: `extent` rows of A or columns of B by depth.
struct Operand {
  const void* data;
  DType dtype;
  int64_t extent, depth, extent_stride, depth_stride, batch_stride;
  // Vectors of 16 bytes along depth (1), along the extent (2), or none (0).
  int vector;
  bool along_depth;  // which way single elements are read
};

Operand operand_of(const void* data, DType dtype, int64_t extent, int64_t depth, int64_t extent_stride,
                   int64_t depth_stride, int64_t batch_stride) {
  Operand o{data, dtype, extent, depth, extent_stride, depth_stride, batch_stride, 0, depth_stride == 1};
  const auto in_vector = static_cast<int64_t>(16 / size_of(dtype));
  const bool even = reinterpret_cast<uintptr_t>(data) % 16 == 0 && batch_stride % in_vector == 0;
  if (even && depth_stride == 1 && extent_stride % in_vector == 0 && depth % in_vector == 0) o.vector = 1;
  else if (even && extent_stride == 1 && depth_stride % in_vector == 0 && extent % in_vector == 0) o.vector = 2;
  return o;
}

// ---- how a tile is held in shared memory -------------------------------------------------------------

// bf16: rows of 32 depths and 8 of padding, 80 bytes: the 8 rows × 16 bytes that a quarter of a warp's
// fragment reads touch lie in different banks.
struct AsBf16 {
  using Element = BFloat16;
  static constexpr int kDepth = 32;
  static constexpr int kStride = 40;
  __device__ static Element from(float x) { return narrow(x); }
};
// float32: rows of 16 depths and 4 of padding: 8 rows × 4 depths lie in 32 different banks.
struct AsTf32 {
  using Element = float;
  static constexpr int kDepth = 16;
  static constexpr int kStride = 20;
  __device__ static Element from(float x) { return x; }
};

template <typename Form>
struct Loader {
  using Element = typename Form::Element;
  static constexpr int kEach = kSide * Form::kDepth / kThreads;  // elements a thread
  static_assert(kEach % 8 == 0);
  Element kept[kEach];

  // Reads the tile at (first, depth) into registers; zeros outside.
  __device__ void read(const Operand& o, int64_t base, int64_t first, int64_t depth) {
    const int thread = static_cast<int>(threadIdx.x);
    if (o.vector != 0) {
      if (o.dtype == DType::bf16) vectors<8>(o, base, first, depth, thread);
      else vectors<4>(o, base, first, depth, thread);
      return;
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int index = thread + i * kThreads;
      const int row = o.along_depth ? index / Form::kDepth : index % kSide;
      const int k = o.along_depth ? index % Form::kDepth : index / kSide;
      const bool inside = first + row < o.extent && depth + k < o.depth;
      kept[i] = Form::from(
          inside ? load_float<float>(o.data, o.dtype,
                                     base + (first + row) * o.extent_stride + (depth + k) * o.depth_stride)
                 : 0.0f);
    }
  }

  // kVector elements in 16 bytes; i-th vector of a thread.
  template <int kVector>
  __device__ static void place(const Operand& o, int vector, int& row, int& k) {
    if (o.vector == 1) {
      row = vector / (Form::kDepth / kVector);
      k = vector % (Form::kDepth / kVector) * kVector;
    } else {
      k = vector / (kSide / kVector);
      row = vector % (kSide / kVector) * kVector;
    }
  }

  template <int kVector>
  __device__ void vectors(const Operand& o, int64_t base, int64_t first, int64_t depth, int thread) {
#pragma unroll
    for (int i = 0; i < kEach / kVector; ++i) {
      int row;
      int k;
      place<kVector>(o, thread + i * kThreads, row, k);
      uint4 bits = make_uint4(0, 0, 0, 0);
      if (first + row < o.extent && depth + k < o.depth) {
        const int64_t at = base + (first + row) * o.extent_stride + (depth + k) * o.depth_stride;
        bits = *reinterpret_cast<const uint4*>(static_cast<const char*>(o.data) + at * (16 / kVector));
      }
      const uint32_t words[] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        float x;
        if (kVector == 8) {
          x = widen(BFloat16{static_cast<uint16_t>(words[j / 2] >> (j % 2 * 16))});
        } else {
          union {
            uint32_t bits;
            float value;
          } u;
          u.bits = words[j % 4];
          x = u.value;
        }
        kept[i * kVector + j] = Form::from(x);
      }
    }
  }

  __device__ void write(const Operand& o, Element* tile) const {
    const int thread = static_cast<int>(threadIdx.x);
    if (o.vector != 0) {
      if (o.dtype == DType::bf16) write_vectors<8>(o, tile, thread);
      else write_vectors<4>(o, tile, thread);
      return;
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int index = thread + i * kThreads;
      const int row = o.along_depth ? index / Form::kDepth : index % kSide;
      const int k = o.along_depth ? index % Form::kDepth : index / kSide;
      tile[row * Form::kStride + k] = kept[i];
    }
  }

  template <int kVector>
  __device__ void write_vectors(const Operand& o, Element* tile, int thread) const {
#pragma unroll
    for (int i = 0; i < kEach / kVector; ++i) {
      int row;
      int k;
      place<kVector>(o, thread + i * kThreads, row, k);
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        const int at = o.vector == 1 ? row * Form::kStride + k + j : (row + j) * Form::kStride + k;
        tile[at] = kept[i * kVector + j];
      }
    }
  }
};

// ---- a warp's part of one stage ----------------------------------------------------------------------

constexpr int kTilesM = kWarpRows / 16;
constexpr int kTilesN = kWarpCols / 8;

__device__ inline void multiply(float (&sums)[kTilesM][kTilesN][4], const BFloat16* a, const BFloat16* b, int lane) {
  const auto word = [](const BFloat16* p) { return *reinterpret_cast<const uint32_t*>(p); };
#pragma unroll
  for (int k = 0; k < AsBf16::kDepth; k += 16) {
    const int depth = k + lane % 4 * 2;
    uint32_t of_b[kTilesN][2];
#pragma unroll
    for (int n = 0; n < kTilesN; ++n) {
      const BFloat16* from = b + (n * 8 + lane / 4) * AsBf16::kStride + depth;
      of_b[n][0] = word(from);
      of_b[n][1] = word(from + 8);
    }
#pragma unroll
    for (int m = 0; m < kTilesM; ++m) {
      const BFloat16* from = a + (m * 16 + lane / 4) * AsBf16::kStride + depth;
      const uint32_t of_a[4] = {word(from), word(from + 8 * AsBf16::kStride), word(from + 8),
                                word(from + 8 * AsBf16::kStride + 8)};
#pragma unroll
      for (int n = 0; n < kTilesN; ++n) mma_bf16(sums[m][n], of_a, of_b[n]);
    }
  }
}

__device__ inline void multiply(float (&sums)[kTilesM][kTilesN][4], const float* a, const float* b, int lane) {
#pragma unroll
  for (int k = 0; k < AsTf32::kDepth; k += 8) {
    const int depth = k + lane % 4;
    float b_high[kTilesN][2];
    float b_low[kTilesN][2];
#pragma unroll
    for (int n = 0; n < kTilesN; ++n) {
      const float* from = b + (n * 8 + lane / 4) * AsTf32::kStride + depth;
      split_tf32(from[0], b_high[n][0], b_low[n][0]);
      split_tf32(from[4], b_high[n][1], b_low[n][1]);
    }
#pragma unroll
    for (int m = 0; m < kTilesM; ++m) {
      const float* from = a + (m * 16 + lane / 4) * AsTf32::kStride + depth;
      float high[4];
      float low[4];
      split_tf32(from[0], high[0], low[0]);
      split_tf32(from[8 * AsTf32::kStride], high[1], low[1]);
      split_tf32(from[4], high[2], low[2]);
      split_tf32(from[8 * AsTf32::kStride + 4], high[3], low[3]);
#pragma unroll
      for (int n = 0; n < kTilesN; ++n) {
        mma_tf32(sums[m][n], low, b_high[n]);
        mma_tf32(sums[m][n], high, b_low[n]);
        mma_tf32(sums[m][n], high, b_high[n]);
      }
    }
  }
}

template <typename Form>
constexpr size_t shared_bytes() {
  constexpr size_t tiles = 4 * kSide * Form::kStride * sizeof(typename Form::Element);
  constexpr size_t pieces = 8 * kWarpRows * kPieceStride * sizeof(float);
  return tiles > pieces ? tiles : pieces;
}

template <typename Form>
__global__ void __launch_bounds__(kThreads)
    mma_kernel(const Operand a, const Operand b, const Epilogue epilogue, const Tiles tiles, const Split split) {
  using Element = typename Form::Element;
  constexpr int kTile = kSide * Form::kStride;
  Element* memory = dynamic_shared<Element>();  // A and B of one buffer, then of the other
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp_row = warp / 4 * kWarpRows;
  const int warp_col = warp % 4 * kWarpCols;
  const int64_t steps = (a.depth + Form::kDepth - 1) / Form::kDepth;

  for (int64_t index = blockIdx.x; index < tiles.count() * split.parts; index += gridDim.x) {
    const Piece work = piece_at(tiles, split, steps, index);
    const Tile& tile = work.tile;
    const int64_t base_a = tile.batch * a.batch_stride;
    const int64_t base_b = tile.batch * b.batch_stride;
    float sums[kTilesM][kTilesN][4] = {};
    Loader<Form> of_a;
    Loader<Form> of_b;
    of_a.read(a, base_a, tile.row * kSide, work.begin * Form::kDepth);
    of_b.read(b, base_b, tile.col * kSide, work.begin * Form::kDepth);
    of_a.write(a, memory);
    of_b.write(b, memory + kTile);
    __syncthreads();
    for (int64_t step = work.begin; step < work.end; ++step) {
      const int64_t turn = step - work.begin;
      const Element* now = memory + turn % 2 * 2 * kTile;
      const bool more = step + 1 < work.end;
      if (more) {
        of_a.read(a, base_a, tile.row * kSide, (step + 1) * Form::kDepth);
        of_b.read(b, base_b, tile.col * kSide, (step + 1) * Form::kDepth);
      }
      multiply(sums, now + warp_row * Form::kStride, now + kTile + warp_col * Form::kStride, lane);
      if (more) {
        Element* next = memory + (turn + 1) % 2 * 2 * kTile;
        of_a.write(a, next);
        of_b.write(b, next + kTile);
      }
      __syncthreads();
    }
    // The tiles are done with: each warp writes its 64 × 32 through a piece of their memory.
    float* piece = reinterpret_cast<float*>(memory) + warp * kWarpRows * kPieceStride;
#pragma unroll
    for (int m = 0; m < kTilesM; ++m) {
#pragma unroll
      for (int n = 0; n < kTilesN; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          piece[(m * 16 + lane / 4 + i / 2 * 8) * kPieceStride + n * 8 + lane % 4 * 2 + i % 2] = sums[m][n][i];
        }
      }
    }
    __syncwarp();
    finish_piece<kWarpRows>(epilogue, work, piece, tile.row * kSide + warp_row, tile.col * kSide + warp_col, lane, 32,
                            [] { __syncwarp(); });
    __syncthreads();
  }
}

template <typename Form>
Status run(Context& context, const GemmArgs& args) {
  const Operand a = operand_of(args.a.data, args.a.dtype, args.a.rows, args.a.cols, args.a.row_stride,
                               args.a.col_stride, args.a.batch_stride);
  const Operand b = operand_of(args.b.data, args.b.dtype, args.b.cols, args.b.rows, args.b.col_stride,
                               args.b.row_stride, args.b.batch_stride);
  const Tiles tiles{ceil_div(args.d.rows, kSide), ceil_div(args.d.cols, kSide), args.batch, args.symmetric};
  const int64_t most = int64_t{2} * state(context).multiprocessors;
  return in_parts<float>(context, args, tiles, kSide, ceil_div(a.depth, Form::kDepth), [&](const Epilogue& e, const Split& split) {
    const int64_t count = tiles.count() * split.parts;
    return launch(context, mma_kernel<Form>, static_cast<unsigned>(count < most ? count : most), kThreads,
                  shared_bytes<Form>(), a, b, e, tiles, split);
  });
}

}  // namespace

Status gemm_mma(Context& context, const GemmArgs& args) { return run<AsBf16>(context, args); }
Status gemm_tf32x3(Context& context, const GemmArgs& args) { return run<AsTf32>(context, args); }

}  // namespace palimpsest::cuda
