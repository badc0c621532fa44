// bf16 products on Hopper. Floor: 2·m·n·k FLOPs at the tensor cores' rate.
//
// A block is three warpgroups. The first fetches: one of its threads fills a ring of kStages tiles of A
// and B with bulk tensor copies. The other two multiply, 64 rows each, straight from shared memory, and
// keep one group of products in flight while they give the stage before back. Blocks are persistent, one
// a multiprocessor: while the multipliers write a tile out, the fetcher is ahead in the next. Edges need
// no code: copies fill what lies outside with zeros, and the epilogue leaves it out.
//
// Either operand may run along the depth or across it (transposes are views): the copy's box and the
// product's descriptor differ, nothing is moved. What the copy engine cannot address (float32, odd
// strides or addresses) is brought to bf16 in scratch memory first.

#include "cuda/gemm/gemm.cuh"
#include "cuda/gemm/hopper.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kRows = 128;   // of a tile of D: two warpgroups of 64
constexpr int kDepth = 64;   // of a stage: 128 bytes of bf16
constexpr int kThreads = 384;
constexpr int kConsumerWarps = 8;  // each says for itself that its products have read a stage
constexpr int kBytesA = kRows * kDepth * 2;

template <int kColumns>
constexpr int stages() {
  return kColumns == 256 ? 4 : 6;
}
template <int kColumns>
constexpr int stage_bytes() {
  return kBytesA + kColumns * kDepth * 2;
}
// What a warpgroup writes out at a time.
constexpr int kPieceBytes = 64 * kPieceStride * 4;
// Tiles, their barriers, two pieces, and room to start at a multiple of 1024.
template <int kColumns>
constexpr size_t shared_bytes() {
  return static_cast<size_t>(stages<kColumns>() * (stage_bytes<kColumns>() + 16) + 2 * kPieceBytes + 1024);
}
static_assert(shared_bytes<256>() <= 227 * 1024 && shared_bytes<128>() <= 227 * 1024);

// A tile of an operand: `extent` rows of A or columns of B from `first`, kDepth of depth from `depth`.
template <bool kAcross, int kExtent>
__device__ inline void fetch(char* to, const CUtensorMap* map, uint64_t* full, int64_t first, int64_t depth,
                             int64_t batch) {
#if defined(PALIMPSEST_CUDA_EMULATED) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  const auto z = static_cast<int32_t>(batch);
  if (kAcross) {
    for (int i = 0; i < kExtent / 64; ++i) {
      copy_tile(to + i * kAcrossBytes, map, full, static_cast<int32_t>(first) + i * 64,
                static_cast<int32_t>(depth), z);
    }
  } else {
    copy_tile(to, map, full, static_cast<int32_t>(depth), static_cast<int32_t>(first), z);
  }
#endif
}

template <int kColumns, bool kAcrossA, bool kAcrossB>
__global__ void __launch_bounds__(kThreads, 1)
    hopper_kernel(const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b,
                  const __grid_constant__ Epilogue epilogue, const Tiles tiles, const Split split, int64_t depth,
                  int batched_a, int batched_b) {
#if defined(PALIMPSEST_CUDA_EMULATED) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  constexpr int kStages = stages<kColumns>();
  constexpr int kStageBytes = stage_bytes<kColumns>();
  char* memory = dynamic_shared<char>();
  memory += (1024 - shared_address(memory) % 1024) % 1024;
  auto* full = reinterpret_cast<uint64_t*>(memory + kStages * kStageBytes);
  uint64_t* empty = full + kStages;
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      barrier_start(full + s, 1);
      barrier_start(empty + s, kConsumerWarps);
    }
    barriers_started();
    prefetch_map(&map_a);
    prefetch_map(&map_b);
  }
  __syncthreads();

  const int group = static_cast<int>(threadIdx.x) / 128;
  const int64_t steps = (depth + kDepth - 1) / kDepth;
  const int64_t count = tiles.count() * split.parts;
  int stage = 0;
  uint32_t phase = 0;
  const auto advance = [&] {
    if (++stage == kStages) {
      stage = 0;
      phase ^= 1;
    }
  };

  if (group == 0) {
    fewer_registers<40>();
    if (threadIdx.x == 0) {
      for (int64_t index = blockIdx.x; index < count; index += gridDim.x) {
        const Piece work = piece_at(tiles, split, steps, index);
        const Tile& tile = work.tile;
        for (int64_t step = work.begin; step < work.end; ++step) {
          barrier_wait(empty + stage, phase ^ 1);
          char* a = memory + stage * kStageBytes;
          barrier_expect(full + stage, static_cast<uint32_t>(kStageBytes));
          fetch<kAcrossA, kRows>(a, &map_a, full + stage, tile.row * kRows, step * kDepth,
                                 tile.batch * batched_a);
          fetch<kAcrossB, kColumns>(a + kBytesA, &map_b, full + stage, tile.col * kColumns, step * kDepth,
                                    tile.batch * batched_b);
          advance();
        }
      }
    }
  } else {
    more_registers<232>();
    const int half = group - 1;
    const int thread = static_cast<int>(threadIdx.x) % 128;
    float* piece = reinterpret_cast<float*>(empty + kStages) + half * 64 * kPieceStride;
    float sums[kColumns / 2];
    for (int64_t index = blockIdx.x; index < count; index += gridDim.x) {
      const Piece work = piece_at(tiles, split, steps, index);
      const Tile& tile = work.tile;
      for (int64_t step = work.begin; step < work.end; ++step) {
        barrier_wait(full + stage, phase);
        const uint32_t a = shared_address(memory + stage * kStageBytes);
        const uint64_t descriptor_a = matrix_descriptor(a + static_cast<uint32_t>(half) * 8192, kAcrossA);
        const uint64_t descriptor_b = matrix_descriptor(a + kBytesA, kAcrossB);
        products_fence();
        for (int i = 0; i < kDepth / 16; ++i) {
          multiply_tiles<kColumns, kAcrossA, kAcrossB>(
              sums, descriptor_a + static_cast<uint64_t>(i) * depth_step(kAcrossA),
              descriptor_b + static_cast<uint64_t>(i) * depth_step(kAcrossB), step > work.begin || i > 0);
        }
        products_commit();
        if (step > work.begin) {
          // All but the newest group is done: the stage before may be filled again.
          products_wait<1>();
          if (thread % 32 == 0) barrier_arrive(empty + (stage == 0 ? kStages - 1 : stage - 1));
        }
        advance();
      }
      products_wait<0>();
      if (thread % 32 == 0) barrier_arrive(empty + (stage == 0 ? kStages - 1 : stage - 1));
      // Out in pieces of 64 × 32: registers are named by constants, so that this loop is unrolled.
#pragma unroll
      for (int col = 0; col < kColumns; col += kPieceCols) {
#pragma unroll
        for (int i = 0; i < kPieceCols / 2; ++i) {
          const int r = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
          const int c = i / 4 * 8 + thread % 4 * 2 + i % 2;
          piece[r * kPieceStride + c] = sums[col / 2 + i];
        }
        group_barrier(group);
        finish_piece<64>(epilogue, work, piece, tile.row * kRows + half * 64, tile.col * kColumns + col, thread, 128,
                         [&] { group_barrier(group); });
        group_barrier(group);
      }
    }
  }
#endif
}

// An operand as the copy engine sees it: `along` is the depth for A's columns and B's rows.
struct Operand {
  const void* data;
  int64_t extent, depth;  // rows of A or columns of B
  int64_t extent_stride, depth_stride, batch_stride;
  int64_t batch;
  bool across() const { return extent_stride == 1 && depth_stride != 1; }
};

bool addressable(const Operand& o, DType dtype) {
  const int64_t outer = o.across() ? o.depth_stride : o.extent_stride;
  return dtype == DType::bf16 && (o.extent_stride == 1 || o.depth_stride == 1) && outer > 0 && outer % 8 == 0 &&
         o.batch_stride % 8 == 0 && o.batch_stride >= 0 && reinterpret_cast<uintptr_t>(o.data) % 16 == 0;
}

// Copies an operand to bf16 in scratch memory, its inner dimension padded to 8 elements.
Status bring(Context& context, const Matrix& matrix, int64_t batch, Operand& o) {
  const int64_t copies = matrix.batch_stride == 0 ? 1 : batch;
  const bool across = o.extent_stride == 1;
  const int64_t inner = across ? o.extent : o.depth;
  const int64_t outer = across ? o.depth : o.extent;
  const int64_t stride = ceil_div(inner, 8) * 8;
  auto* to = scratch<BFloat16>(context, copies * outer * stride);
  if (to == nullptr) return no_memory();
  View in;
  in.data = matrix.data;
  in.dtype = matrix.dtype;
  in.rank = 3;
  in.shape[0] = copies;
  in.shape[1] = outer;
  in.shape[2] = inner;
  in.strides[0] = matrix.batch_stride;
  in.strides[1] = across ? o.depth_stride : o.extent_stride;
  in.strides[2] = across ? o.extent_stride : o.depth_stride;
  View out = in;
  out.data = to;
  out.dtype = DType::bf16;
  out.strides[0] = outer * stride;
  out.strides[1] = stride;
  out.strides[2] = 1;
  PALIMPSEST_TRY(context.kernels.elementwise.unary(context, {Unary::copy, out, in}));
  o.data = to;
  o.extent_stride = across ? 1 : stride;
  o.depth_stride = across ? stride : 1;
  o.batch_stride = copies == 1 ? 0 : outer * stride;
  return {};
}

using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                            const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                            CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// Boxes are 64 elements (128 bytes) wide and as tall as the tile, or as a stage is deep.
Status encode(const Context& context, const Operand& o, int64_t tile, CUtensorMap& map) {
  const bool across = o.across();
  const auto inner = static_cast<cuuint64_t>(across ? o.extent : o.depth);
  const auto outer = static_cast<cuuint64_t>(across ? o.depth : o.extent);
  const auto stride = static_cast<cuuint64_t>(across ? o.depth_stride : o.extent_stride) * 2;
  const bool batched = o.batch > 1 && o.batch_stride > 0;
  const cuuint64_t extents[] = {inner, outer, batched ? static_cast<cuuint64_t>(o.batch) : 1};
  const cuuint64_t strides[] = {stride, batched ? static_cast<cuuint64_t>(o.batch_stride) * 2 : stride * outer};
  const cuuint32_t box[] = {64, static_cast<cuuint32_t>(across ? kDepth : tile), 1};
  const cuuint32_t steps[] = {1, 1, 1};
  const auto function = reinterpret_cast<Encode>(state(context).encode_tiled);
  const CUresult result = function(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(o.data), extents,
                                   strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                   CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                   CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result == CUDA_SUCCESS) return {};
  return {Code::internal, "a tensor map was refused by the driver: " + std::to_string(static_cast<int>(result))};
}

template <int kColumns, bool kAcrossA, bool kAcrossB>
Status run(Context& context, const GemmArgs& args, const Operand& a, const Operand& b) {
  CUtensorMap map_a = {};
  CUtensorMap map_b = {};
  PALIMPSEST_TRY(encode(context, a, kRows, map_a));
  PALIMPSEST_TRY(encode(context, b, kColumns, map_b));
  const Tiles tiles{ceil_div(args.d.rows, kRows), ceil_div(args.d.cols, kColumns), args.batch, args.symmetric};
  const int64_t most = state(context).multiprocessors;
  return in_parts<float>(context, args, tiles, kRows, ceil_div(args.a.cols, kDepth), [&](const Epilogue& e, const Split& split) {
    const int64_t count = tiles.count() * split.parts;
    return launch(context, hopper_kernel<kColumns, kAcrossA, kAcrossB>, static_cast<unsigned>(count < most ? count : most),
                  kThreads, shared_bytes<kColumns>(), map_a, map_b, e, tiles, split, args.a.cols,
                  a.batch_stride > 0 ? 1 : 0, b.batch_stride > 0 ? 1 : 0);
  });
}

template <int kColumns>
Status run(Context& context, const GemmArgs& args, const Operand& a, const Operand& b) {
  if (a.across()) {
    return b.across() ? run<kColumns, true, true>(context, args, a, b)
                      : run<kColumns, true, false>(context, args, a, b);
  }
  return b.across() ? run<kColumns, false, true>(context, args, a, b)
                    : run<kColumns, false, false>(context, args, a, b);
}

}  // namespace

bool hopper_fits(const Context& context) {
  return state(context).capability == 90 && state(context).encode_tiled != nullptr;
}

Status gemm_hopper(Context& context, const GemmArgs& args) {
  const Workspace::Scope scope(context.workspace);
  Operand a{args.a.data, args.a.rows, args.a.cols, args.a.row_stride, args.a.col_stride, args.a.batch_stride, args.batch};
  Operand b{args.b.data, args.b.cols, args.b.rows, args.b.col_stride, args.b.row_stride, args.b.batch_stride, args.batch};
  if (!addressable(a, args.a.dtype)) PALIMPSEST_TRY(bring(context, args.a, args.batch, a));
  if (!addressable(b, args.b.dtype)) PALIMPSEST_TRY(bring(context, args.b, args.batch, b));
  // Symmetric tiles are square; narrow results waste less in narrow tiles, and so do few large ones.
  const int64_t wide = ceil_div(args.d.rows, kRows) * ceil_div(args.d.cols, 256) * args.batch;
  const bool narrow = args.symmetric || args.d.cols <= 128 || wide < state(context).multiprocessors;
  return narrow ? run<128>(context, args, a, b) : run<256>(context, args, a, b);
}

}  // namespace palimpsest::cuda
