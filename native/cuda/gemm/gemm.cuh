// What the matrix kernels share: the order of tiles, the epilogue, and the forms of operands.
#pragma once

#include "cuda/elementwise/operations.cuh"
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
};

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
// by `threads` threads: along rows, and where D is symmetric a second time along columns, so that both
// halves are written in the order of their memory. (Of tiles on the diagonal both halves are computed.)
// Sums go through shared memory because a loop that is not unrolled keeps this code small: unrolled over
// a hundred registers it takes the assembler minutes.
constexpr int kPieceCols = 32;
constexpr int kPieceStride = kPieceCols + 1;

template <int kPieceRows, typename T>
__device__ inline void finish_piece(const Epilogue& e, const Tile& tile, const T* piece, int64_t row, int64_t col,
                                    int thread, int threads) {
#pragma unroll 1
  for (int i = thread; i < kPieceRows * kPieceCols; i += threads) {
    const int64_t r = row + i / kPieceCols;
    const int64_t c = col + i % kPieceCols;
    if (r < e.rows && c < e.cols) {
      put(e, tile.batch, r, c, finished(e, tile.batch, r, c, piece[i / kPieceCols * kPieceStride + i % kPieceCols]));
    }
  }
  if (!e.symmetric || tile.row == tile.col) return;
#pragma unroll 1
  for (int i = thread; i < kPieceRows * kPieceCols; i += threads) {
    const int64_t r = row + i % kPieceRows;
    const int64_t c = col + i / kPieceRows;
    if (r < e.rows && c < e.cols) {
      put(e, tile.batch, c, r, finished(e, tile.batch, r, c, piece[i % kPieceRows * kPieceStride + i / kPieceRows]));
    }
  }
}

// The kernels.
bool hopper_fits(const Context& context);
Status gemm_hopper(Context& context, const GemmArgs& args);  // bf16 by wgmma
Status gemm_mma(Context& context, const GemmArgs& args);     // bf16 by mma
Status gemm_tf32x3(Context& context, const GemmArgs& args);  // f32 by three products in tf32

}  // namespace palimpsest::cuda
