// What the matrix kernels share: the order of tiles, the epilogue, and the forms of operands.
#pragma once

#include "cuda/elementwise/operations.cuh"
#include "cuda/lists.cuh"
#include "cuda/primitives.cuh"

namespace palimpsest::cuda {

// ---- tiles -----------------------------------------------------------------------------------------

// The tiles of a batch of products, numbered so that blocks that run at the same time share operands in
// the second-level cache: within a matrix, bands of kBand rows of tiles, column by column. Where D is
// symmetric only tiles on and below the diagonal are listed (rows of tiles, then columns).
struct Tiles {
  static constexpr int64_t kBand = 8;
  int64_t rows, cols, batch;  // in tiles
  bool symmetric;

  __host__ __device__ int64_t each() const { return symmetric ? rows * (rows + 1) / 2 : rows * cols; }
  __host__ __device__ int64_t count() const { return each() * batch; }
};

struct Tile {
  int64_t row, col, batch;
};

__host__ __device__ inline Tile tile_at(const Tiles& tiles, int64_t index) {
  const int64_t each = tiles.each();
  Tile t;
  t.batch = index / each;
  int64_t rest = index - t.batch * each;
  if (tiles.symmetric) {
    // row·(row + 1)/2 ≤ rest; the root may be off by one.
    auto row = static_cast<int64_t>((sqrt(8.0 * static_cast<double>(rest) + 1.0) - 1.0) / 2.0);
    while (row * (row + 1) / 2 > rest) --row;
    while ((row + 1) * (row + 2) / 2 <= rest) ++row;
    t.row = row;
    t.col = rest - row * (row + 1) / 2;
    return t;
  }
  const int64_t band_tiles = Tiles::kBand * tiles.cols;
  const int64_t band = rest / band_tiles;
  rest -= band * band_tiles;
  const int64_t left = tiles.rows - band * Tiles::kBand;
  const int64_t height = left < Tiles::kBand ? left : Tiles::kBand;
  t.col = rest / height;
  t.row = band * Tiles::kBand + rest - t.col * height;
  return t;
}

// Where there are fewer tiles than multiprocessors and the depth is long, it is cut into parts, each a
// block's work of its own; their sums are added in ascending order. The cut depends on the sizes alone.
struct Split {
  int64_t parts, steps;  // of the depth: steps a part
};

inline Split split_of(const Tiles& tiles, int64_t steps) {
  constexpr int64_t kBlocks = 128;  // a Hopper GPU has 132 multiprocessors
  constexpr int64_t kLeast = 8;     // steps that pay for a part's way out
  const int64_t room = kBlocks / tiles.count();
  const int64_t most = steps / kLeast;
  const int64_t wanted = room < most ? room : most;
  if (wanted < 2) return {1, steps};
  const int64_t each = ceil_div(steps, wanted);
  return {ceil_div(steps, each), each};
}

// One block's work: a tile and the steps [begin, end) of its depth.
struct Piece {
  Tile tile;
  int64_t begin, end;
  int64_t out;  // the matrix that its sums go to: of D, or of the parts' sums
};

__host__ __device__ inline Piece piece_at(const Tiles& tiles, const Split& split, int64_t steps, int64_t index) {
  const int64_t count = tiles.count();
  const int64_t part = split.parts == 1 ? 0 : index / count;
  Piece p;
  p.tile = tile_at(tiles, index - part * count);
  p.begin = part * split.steps;
  p.end = p.begin + split.steps < steps ? p.begin + split.steps : steps;
  p.out = part * tiles.batch + p.tile.batch;
  return p;
}

// ---- epilogue --------------------------------------------------------------------------------------

// D = activation(alpha·sum + beta·C + bias), element by element; mirrored where D is symmetric.
struct Epilogue {
  void* d;
  const void* c;  // null: none
  const void* bias;
  DType d_dtype, c_dtype;
  int64_t rows, cols;
  int64_t d_row, d_col, d_batch, c_row, c_col, c_batch;
  double alpha, beta;
  Activation activation;
  bool symmetric;
  bool quads;  // D and C are written and read four neighbours of a row at a time
};

inline bool in_quads(const void* data, DType dtype, int64_t row, int64_t col, int64_t batch) {
  return col == 1 && row % 4 == 0 && batch % 4 == 0 && reinterpret_cast<uintptr_t>(data) % (4 * size_of(dtype)) == 0;
}

inline Epilogue epilogue_of(const GemmArgs& args) {
  Epilogue e{};
  e.d = args.d.data;
  e.c = args.beta != 0 ? args.c.data : nullptr;
  e.bias = args.bias;
  e.d_dtype = args.d.dtype;
  e.c_dtype = args.c.dtype;
  e.rows = args.d.rows;
  e.cols = args.d.cols;
  e.d_row = args.d.row_stride;
  e.d_col = args.d.col_stride;
  e.d_batch = args.d.batch_stride;
  e.c_row = args.c.row_stride;
  e.c_col = args.c.col_stride;
  e.c_batch = args.c.batch_stride;
  e.alpha = args.alpha;
  e.beta = args.beta;
  e.activation = args.activation;
  e.symmetric = args.symmetric;
  e.quads = e.cols % 4 == 0 && in_quads(e.d, e.d_dtype, e.d_row, e.d_col, e.d_batch) &&
            (e.c == nullptr || in_quads(e.c, e.c_dtype, e.c_row, e.c_col, e.c_batch));
  return e;
}

template <typename T>
__device__ inline T activated(Activation activation, T x) {
  switch (activation) {
    case Activation::relu: return float_unary(Unary::relu, x);
    case Activation::gelu: return gelu_of(x);
    case Activation::silu: return x * sigmoid_of(x);
    case Activation::tanh: return float_unary(Unary::tanh, x);
    case Activation::sigmoid: return sigmoid_of(x);
    default: return x;
  }
}

// Results are floats: fewer cases than store_as has.
template <typename T>
__device__ inline T load_float(const void* data, DType dtype, int64_t at) {
  if constexpr (sizeof(T) == 8) return static_cast<const double*>(data)[at];
  else return dtype == DType::bf16 ? widen(static_cast<const BFloat16*>(data)[at]) : static_cast<const float*>(data)[at];
}

// The value of one element from its sum; T is the type of the sums.
template <typename T>
__device__ inline T finished(const Epilogue& e, int64_t batch, int64_t row, int64_t col, T sum) {
  T x = static_cast<T>(e.alpha) * sum;
  if (e.c != nullptr) {
    const int64_t at = batch * e.c_batch + row * e.c_row + col * e.c_col;
    x += static_cast<T>(e.beta) * load_float<T>(e.c, e.c_dtype, at);
  }
  if (e.bias != nullptr) x += static_cast<const T*>(e.bias)[col];
  return e.activation == Activation::none ? x : activated(e.activation, x);
}

template <typename T>
__device__ inline void put(const Epilogue& e, int64_t batch, int64_t row, int64_t col, T x) {
  const int64_t at = batch * e.d_batch + row * e.d_row + col * e.d_col;
  if constexpr (sizeof(T) == 8) {
    static_cast<double*>(e.d)[at] = x;
  } else if (e.d_dtype == DType::bf16) {
    static_cast<BFloat16*>(e.d)[at] = narrow(x);
  } else {
    static_cast<float*>(e.d)[at] = x;
  }
}

// A piece of a tile in shared memory, kPieceRows × kPieceCols sums with rows kPieceStride apart, written
// by `threads` threads that sync() brings together: along rows, and where D is symmetric a second time
// along columns, so that both halves are written in the order of their memory. (Of tiles on the diagonal
// both halves are computed.) Sums go through shared memory because a loop that is not unrolled keeps this
// code small: unrolled over a hundred registers it takes the assembler minutes.
constexpr int kPieceCols = 32;
constexpr int kPieceStride = kPieceCols + 1;

__device__ inline Four load_quad(const void* data, DType dtype, int64_t at) {
  return dtype == DType::bf16 ? load4(static_cast<const BFloat16*>(data) + at) : load4(static_cast<const float*>(data) + at);
}
__device__ inline void put_quad(const Epilogue& e, int64_t batch, int64_t row, int64_t col, const Four& x) {
  const int64_t at = batch * e.d_batch + row * e.d_row + col;
  if (e.d_dtype == DType::bf16) {
    const BFloat16 narrowed[] = {narrow(x.v[0]), narrow(x.v[1]), narrow(x.v[2]), narrow(x.v[3])};
    store4(static_cast<BFloat16*>(e.d) + at, narrowed);
  } else {
    store4(static_cast<float*>(e.d) + at, x);
  }
}
__device__ inline Four finished_quad(const Epilogue& e, int64_t batch, int64_t row, int64_t col, const float* sums) {
  Four x;
  Four c{};
  if (e.c != nullptr) c = load_quad(e.c, e.c_dtype, batch * e.c_batch + row * e.c_row + col);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    x.v[j] = static_cast<float>(e.alpha) * sums[j];
    if (e.c != nullptr) x.v[j] += static_cast<float>(e.beta) * c.v[j];
    if (e.bias != nullptr) x.v[j] += static_cast<const float*>(e.bias)[col + j];
    if (e.activation != Activation::none) x.v[j] = activated(e.activation, x.v[j]);
  }
  return x;
}

template <int kPieceRows, typename Sync>
__device__ inline void finish_piece(const Epilogue& e, const Piece& p, float* piece, int64_t row, int64_t col,
                                    int thread, int threads, const Sync& sync) {
  constexpr int kQuads = kPieceCols / 4;
  const bool mirrored = e.symmetric && p.tile.row != p.tile.col;
#pragma unroll 1
  for (int i = thread; e.quads && i < kPieceRows * kQuads; i += threads) {
    const int64_t r = row + i / kQuads;
    const int64_t c = col + i % kQuads * 4;
    if (r >= e.rows || c >= e.cols) continue;
    float* const own = piece + i / kQuads * kPieceStride + i % kQuads * 4;
    const Four x = finished_quad(e, p.out, r, c, own);
    put_quad(e, p.out, r, c, x);
    for (int j = 0; mirrored && j < 4; ++j) own[j] = x.v[j];
  }
#pragma unroll 1
  for (int i = thread; !e.quads && i < kPieceRows * kPieceCols; i += threads) {
    const int64_t r = row + i / kPieceCols;
    const int64_t c = col + i % kPieceCols;
    if (r >= e.rows || c >= e.cols) continue;
    float& own = piece[i / kPieceCols * kPieceStride + i % kPieceCols];
    const float x = finished(e, p.out, r, c, own);
    put(e, p.out, r, c, x);
    own = x;
  }
  if (!mirrored) return;
  sync();
#pragma unroll 1
  for (int i = thread; e.quads && i < kPieceRows / 4 * kPieceCols; i += threads) {
    const int first = i % (kPieceRows / 4) * 4;
    const int64_t r = row + first;
    const int64_t c = col + i / (kPieceRows / 4);
    if (r >= e.rows || c >= e.cols) continue;
    Four x;
    for (int j = 0; j < 4; ++j) x.v[j] = piece[(first + j) * kPieceStride + i / (kPieceRows / 4)];
    put_quad(e, p.out, c, r, x);
  }
#pragma unroll 1
  for (int i = thread; !e.quads && i < kPieceRows * kPieceCols; i += threads) {
    const int64_t r = row + i % kPieceRows;
    const int64_t c = col + i / kPieceRows;
    if (r < e.rows && c < e.cols) put(e, p.out, c, r, piece[i % kPieceRows * kPieceStride + i / kPieceRows]);
  }
}

// ---- parts -----------------------------------------------------------------------------------------

// D from the sums of its parts, [part][batch][rows][cols], added in ascending order. Where D is symmetric
// only tiles of `side` on and below the diagonal have been summed.
template <typename T>
__global__ void __launch_bounds__(256)
    add_parts_kernel(const T* sums, int64_t parts, const Epilogue e, int64_t batch, int64_t side) {
  const int64_t matrix = e.rows * e.cols;
  const int64_t total = batch * matrix;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const int64_t b = i / matrix;
    const int64_t row = (i - b * matrix) / e.cols;
    const int64_t col = i - b * matrix - row * e.cols;
    const bool mirrored = e.symmetric && row / side < col / side;
    const int64_t r = mirrored ? col : row;
    const int64_t c = mirrored ? row : col;
    const T* from = sums + b * matrix + r * e.cols + c;
    T sum = from[0];
    for (int64_t p = 1; p < parts; ++p) sum += from[p * total];
    put(e, b, row, col, finished(e, b, r, c, sum));
  }
}

// start(epilogue, split) starts the kernel that computes `tiles`, square ones of `side` where D is
// symmetric; in parts where that fills the device better. T is the type of the sums.
template <typename T, typename Start>
Status in_parts(Context& context, const GemmArgs& args, const Tiles& tiles, int64_t side, int64_t steps,
                const Start& start) {
  const Epilogue e = epilogue_of(args);
  const Split split = split_of(tiles, steps);
  if (split.parts == 1) return start(e, split);
  const int64_t size = args.batch * e.rows * e.cols;
  const Workspace::Scope scope(context.workspace);
  T* const sums = scratch<T>(context, split.parts * size);
  if (sums == nullptr) return no_memory();
  Epilogue raw{};
  raw.d = sums;
  raw.d_dtype = raw.c_dtype = dtype_of<T>;
  raw.rows = e.rows;
  raw.cols = raw.d_row = e.cols;
  raw.d_col = 1;
  raw.d_batch = e.rows * e.cols;
  raw.alpha = 1;
  raw.quads = sizeof(T) == 4 && e.cols % 4 == 0;
  PALIMPSEST_TRY(start(raw, split));
  return launch(context, add_parts_kernel<T>, blocks_for(context, size, 256), 256, 0, static_cast<const T*>(sums),
                split.parts, e, args.batch, side);
}

// The kernels.
bool hopper_fits(const Context& context);
Status gemm_hopper(Context& context, const GemmArgs& args);  // bf16 by wgmma
Status gemm_mma(Context& context, const GemmArgs& args);     // bf16 by mma
Status gemm_tf32x3(Context& context, const GemmArgs& args);  // f32 by three products in tf32
Status gemm_bf16(Context& context, const GemmArgs& args);    // the better of the first two
Status gemm_mixed(Context& context, const GemmArgs& args);   // bf16, float32 operands as sums of two

}  // namespace palimpsest::cuda
