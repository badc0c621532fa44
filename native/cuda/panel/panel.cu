// Products of a large matrix and a narrow panel. Floor: the large matrix read once, or
// 2·rows·cols·width FLOPs, whichever takes longer; in float32 they meet near a width of 28 on an H100.
//
// A block computes 128 rows of the result over a part of the long dimension: 16 × 16 threads with eight
// rows and width/16 columns each, whose sums stay in registers while tiles of both factors pass through
// shared memory. Where rows are few the long dimension is cut into parts, summed in a fixed order; the
// cut depends on the sizes alone. The transposed product differs only in how a tile is read: the rows
// of the result are then columns of A, which lie side by side.

#include "cuda/primitives.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kSide = 16;             // threads along each side of a tile
constexpr int kThreads = kSide * kSide;
constexpr int kRows = 128;            // of the result a block
constexpr int kEach = kRows / kSide;  // a thread
constexpr int kDepth = 16;            // of the long dimension a tile
constexpr int kColumns = static_cast<int>(kPanelWidth) / kSide;
static_assert(kPanelUnit == kSide);

template <typename T>
struct Product {
  const T* a;
  int64_t stride;
  int64_t rows, depth;  // of the result; of the sum
  const T* panel;       // depth × width
  T* out;               // rows × width, one a part
  int64_t part;         // depth of a part
};

template <typename T, int kWide, bool kTransposed>
__global__ void __launch_bounds__(kThreads) product_kernel(const Product<T> p) {
  constexpr int kWidth = kWide * kSide;
  // A line of padding: threads of a warp write a column of the tile.
  __shared__ T left[kDepth][kRows + 4];
  __shared__ T right[kDepth][kWidth];
  const int tx = static_cast<int>(threadIdx.x) % kSide;
  const int ty = static_cast<int>(threadIdx.x) / kSide;
  const int64_t row0 = int64_t{blockIdx.x} * kRows;
  const int64_t begin = blockIdx.y * p.part;
  const int64_t end = begin + p.part < p.depth ? begin + p.part : p.depth;
  T sums[kEach][kWide] = {};
  for (int64_t k0 = begin; k0 < end; k0 += kDepth) {
#pragma unroll
    for (int i = 0; i < kRows * kDepth / kThreads; ++i) {
      const int at = i * kThreads + static_cast<int>(threadIdx.x);
      // Neighbours in memory are neighbours in the warp.
      const int r = kTransposed ? at % kRows : at / kDepth;
      const int k = kTransposed ? at / kRows : at % kDepth;
      const bool there = row0 + r < p.rows && k0 + k < end;
      const int64_t from = kTransposed ? (k0 + k) * p.stride + row0 + r : (row0 + r) * p.stride + k0 + k;
      left[k][r] = there ? p.a[from] : T(0);
    }
    for (int at = static_cast<int>(threadIdx.x); at < kDepth * kWidth; at += kThreads) {
      right[at / kWidth][at % kWidth] = k0 + at / kWidth < end ? p.panel[k0 * kWidth + at] : T(0);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      T x[kEach];
      T y[kWide];
#pragma unroll
      for (int i = 0; i < kEach; ++i) x[i] = left[k][ty * kEach + i];
#pragma unroll
      for (int j = 0; j < kWide; ++j) y[j] = right[k][j * kSide + tx];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kWide; ++j) sums[i][j] += x[i] * y[j];
      }
    }
    __syncthreads();
  }
  T* const out = p.out + blockIdx.y * p.rows * kWidth;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int64_t row = row0 + ty * kEach + i;
    if (row >= p.rows) continue;
#pragma unroll
    for (int j = 0; j < kWide; ++j) out[row * kWidth + j * kSide + tx] = sums[i][j];
  }
}

// out[i] = Σ_k parts[k·n + i] in ascending k.
template <typename T, typename Out>
__global__ void __launch_bounds__(kThreads) add_parts(const T* parts, int64_t count, int64_t n, Out* out) {
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    T sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += parts[k * n + i];
    out[i] = sum;
  }
}

template <typename T, bool kTransposed>
Status product_of(Context& context, Product<T> p, int64_t width) {
  const int64_t n = p.rows * width;
  if (n == 0) return {};
  if (p.depth == 0) return clear(context, p.out, static_cast<size_t>(n) * sizeof(T));
  const int64_t blocks = ceil_div(p.rows, kRows);
  // Some five hundred blocks, none with less than 256 of the long dimension to sum.
  const int64_t wanted = 512 / blocks > 1 ? 512 / blocks : 1;
  const int64_t most = ceil_div(p.depth, 256);
  p.part = ceil_div(ceil_div(p.depth, wanted < most ? wanted : most), kDepth) * kDepth;
  const int64_t parts = ceil_div(p.depth, p.part);
  const Workspace::Scope scope(context.workspace);
  T* const result = p.out;
  if (parts > 1) p.out = scratch<T>(context, parts * n);
  if (p.out == nullptr) return no_memory();
  const auto start = [&](auto kernel) {
    return launch(context, kernel, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(parts)), kThreads, 0, p);
  };
  switch (width / kPanelUnit) {
    case 1: PALIMPSEST_TRY(start(product_kernel<T, 1, kTransposed>)); break;
    case 2: PALIMPSEST_TRY(start(product_kernel<T, 2, kTransposed>)); break;
    case 3: PALIMPSEST_TRY(start(product_kernel<T, 3, kTransposed>)); break;
    case 4: PALIMPSEST_TRY(start(product_kernel<T, 4, kTransposed>)); break;
    case 5: PALIMPSEST_TRY(start(product_kernel<T, 5, kTransposed>)); break;
    default: PALIMPSEST_TRY(start(product_kernel<T, 6, kTransposed>));
  }
  if (parts == 1) return {};
  return launch(context, add_parts<T, T>, blocks_for(context, n, kThreads), kThreads, 0, static_cast<const T*>(p.out),
                parts, n, result);
}

template <typename T>
void multiply(Context& context, const T* a, int64_t stride, int64_t rows, int64_t cols, const T* p, int64_t width,
              T* y) {
  keep(context, product_of<T, false>(context, {a, stride, rows, cols, p, y, 0}, width));
}

template <typename T>
void multiply_transposed(Context& context, const T* a, int64_t stride, int64_t rows, int64_t cols, const T* q,
                         int64_t width, T* z) {
  keep(context, product_of<T, true>(context, {a, stride, cols, rows, q, z, 0}, width));
}

// yᵀ·y over a part of the rows, in float64; all of it, though only a triangle is wanted: half of these
// FLOPs are fewer than the bytes of y.
constexpr int kGramRows = 32;

template <typename T>
__global__ void __launch_bounds__(kThreads)
    gram_kernel(const T* y, int64_t rows, int width, int64_t part, double* out) {
  __shared__ double tile[kGramRows][kPanelWidth];
  const int tx = static_cast<int>(threadIdx.x) % kSide;
  const int ty = static_cast<int>(threadIdx.x) / kSide;
  const int wide = width / kSide;
  const int64_t begin = blockIdx.x * part;
  const int64_t end = begin + part < rows ? begin + part : rows;
  double sums[kColumns][kColumns] = {};
  for (int64_t r0 = begin; r0 < end; r0 += kGramRows) {
    const int count = static_cast<int>(end - r0 < kGramRows ? end - r0 : kGramRows);
    for (int at = static_cast<int>(threadIdx.x); at < count * width; at += kThreads) {
      tile[at / width][at % width] = static_cast<double>(y[r0 * width + at]);
    }
    __syncthreads();
    for (int r = 0; r < count; ++r) {
      double column[kColumns];
#pragma unroll
      for (int j = 0; j < kColumns; ++j) column[j] = j < wide ? tile[r][j * kSide + tx] : 0.0;
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        if (i >= wide) continue;
        const double x = tile[r][i * kSide + ty];
#pragma unroll
        for (int j = 0; j < kColumns; ++j) sums[i][j] += x * column[j];
      }
    }
    __syncthreads();
  }
  double* const own = out + int64_t{blockIdx.x} * width * width;
#pragma unroll
  for (int i = 0; i < kColumns; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      if (i < wide && j < wide) own[(i * kSide + ty) * width + j * kSide + tx] = sums[i][j];
    }
  }
}

template <typename T>
Status gram_of(Context& context, const T* y, int64_t rows, int64_t width, double* g) {
  const int64_t n = width * width;
  if (rows == 0) return clear(context, g, static_cast<size_t>(n) * sizeof(double));
  const int64_t part = ceil_div(ceil_div(rows, 256), kGramRows) * kGramRows;
  const int64_t parts = ceil_div(rows, part);
  const Workspace::Scope scope(context.workspace);
  double* const sums = scratch<double>(context, parts * n);
  if (sums == nullptr) return no_memory();
  PALIMPSEST_TRY(launch(context, gram_kernel<T>, static_cast<unsigned>(parts), kThreads, 0, y, rows,
                        static_cast<int>(width), part, sums));
  return launch(context, add_parts<double, double>, blocks_for(context, n, kThreads), kThreads, 0,
                static_cast<const double*>(sums), parts, n, g);
}

template <typename T>
void gram(Context& context, const T* y, int64_t rows, int64_t width, double* g) {
  keep(context, gram_of(context, y, rows, width, g));
}

// 16 rows a block through shared memory, so that they may be written where they were read.
template <typename T>
__global__ void __launch_bounds__(kThreads) transform_kernel(T* y, int64_t rows, int width, const T* w) {
  constexpr int kTile = 16;
  __shared__ T tile[kTile][kPanelWidth];
  const int64_t row0 = int64_t{blockIdx.x} * kTile;
  const int count = static_cast<int>(rows - row0 < kTile ? rows - row0 : kTile);
  T* const own = y + row0 * width;
  for (int at = static_cast<int>(threadIdx.x); at < count * width; at += kThreads) tile[at / width][at % width] = own[at];
  __syncthreads();
  for (int at = static_cast<int>(threadIdx.x); at < count * width; at += kThreads) {
    T sum = 0;
    for (int k = 0; k < width; ++k) sum += tile[at / width][k] * w[k * width + at % width];
    own[at] = sum;
  }
}

template <typename T>
void transform(Context& context, T* y, int64_t rows, int64_t width, const T* w) {
  if (rows * width == 0) return;
  keep(context, launch(context, transform_kernel<T>, static_cast<unsigned>(ceil_div(rows, 16)), kThreads, 0, y, rows,
                       static_cast<int>(width), w));
}

template <typename T>
constexpr PanelKernels<T> kPanel = {.multiply = multiply<T>,
                                    .multiply_transposed = multiply_transposed<T>,
                                    .gram = gram<T>,
                                    .transform = transform<T>};

}  // namespace

void fill_panel(KernelTable& table) {
  table.panel32 = kPanel<float>;
  table.panel64 = kPanel<double>;
}

}  // namespace palimpsest::cuda
