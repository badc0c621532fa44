// Vectors against matrices and small triangles. Floor: the matrix read once. A warp takes a row where sums
// run along rows; columns are taken 32 at a time where they run across; of a triangular solve each thread
// keeps one right side in registers.

#include "cuda/dense/dense.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T>
__device__ inline T row_dot(const T* row, const T* x, int64_t n, int lane) {
  T sum = 0;
  for (int64_t i = lane; i < n; i += 32) sum += row[i] * x[i];
  return warp_sum(sum);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    reflect_kernel(T* a, int64_t stride, int64_t rows, int64_t cols, const T* v, T tau) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int64_t r = global_thread() / 32; r < rows; r += all_threads() / 32) {
    T* const row = a + r * stride;
    const T factor = tau * row_dot(row, v, cols, lane);
    for (int64_t i = lane; i < cols; i += 32) row[i] -= factor * v[i];
  }
}

template <typename T>
void reflect(Context& context, T* a, int64_t stride, int64_t rows, int64_t cols, const T* v, T tau) {
  keep(context, launch(context, reflect_kernel<T>, blocks_for(context, rows, kThreads / 32), kThreads, 0, a, stride, rows,
                       cols, v, tau));
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    matvec_kernel(const T* a, int64_t stride, int64_t rows, int64_t cols, const T* x, T alpha, T beta, T* y) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int64_t r = global_thread() / 32; r < rows; r += all_threads() / 32) {
    const T sum = row_dot(a + r * stride, x, cols, lane);
    if (lane == 0) y[r] = alpha * sum + (beta == T(0) ? T(0) : beta * y[r]);
  }
}

template <typename T>
void matvec(Context& context, const T* a, int64_t stride, int64_t rows, int64_t cols, const T* x, T alpha, T beta,
            T* y) {
  keep(context, launch(context, matvec_kernel<T>, blocks_for(context, rows, kThreads / 32), kThreads, 0, a, stride, rows,
                       cols, x, alpha, beta, y));
}

// A block takes 32 columns, each of its warps every eighth row.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    matvec_transposed_kernel(const T* a, int64_t stride, int64_t rows, int64_t cols, const T* x, T alpha, T beta, T* y) {
  constexpr int kWarps = kThreads / 32;
  __shared__ T sums[kWarps][32];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  for (int64_t first = int64_t{blockIdx.x} * 32; first < cols; first += int64_t{gridDim.x} * 32) {
    const int64_t c = first + lane;
    T sum = 0;
    if (c < cols) {
      for (int64_t r = warp; r < rows; r += kWarps) sum += a[r * stride + c] * x[r];
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && c < cols) {
      for (int w = 1; w < kWarps; ++w) sum += sums[w][lane];
      y[c] = alpha * sum + (beta == T(0) ? T(0) : beta * y[c]);
    }
    __syncthreads();
  }
}

template <typename T>
void matvec_transposed(Context& context, const T* a, int64_t stride, int64_t rows, int64_t cols, const T* x, T alpha,
                       T beta, T* y) {
  keep(context, launch(context, matvec_transposed_kernel<T>, blocks_for(context, cols, 32), kThreads, 0, a, stride, rows,
                       cols, x, alpha, beta, y));
}

// An upper triangle is solved as a lower one whose rows and columns are numbered from the end. A thread takes
// one right side and no more: a loop would have the whole triangle kept in registers.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    solve_kernel(const Matrix l, bool lower, bool unit, const Matrix x) {
  constexpr int kSide = static_cast<int>(kTriangle);
  __shared__ T triangle[kSide][kSide + 1];
  const int n = static_cast<int>(l.rows);
  for (int at = static_cast<int>(threadIdx.x); at < kSide * kSide; at += kThreads) {
    const int i = at / kSide;
    const int j = at % kSide;
    T value = i == j ? T(1) : T(0);
    if (i < n && j <= i && (i != j || !unit)) {
      const int64_t row = lower ? i : n - 1 - i;
      const int64_t col = lower ? j : n - 1 - j;
      value = static_cast<const T*>(l.data)[row * l.row_stride + col * l.col_stride];
    }
    triangle[i][j] = value;
  }
  __syncthreads();
  const int64_t c = global_thread();
  if (c >= x.cols) return;
  T* const column = static_cast<T*>(x.data) + c * x.col_stride;
  T own[kSide];
#pragma unroll
  for (int i = 0; i < kSide; ++i) own[i] = i < n ? column[(lower ? i : n - 1 - i) * x.row_stride] : T(0);
#pragma unroll
  for (int i = 0; i < kSide; ++i) {
    T sum = own[i];
#pragma unroll
    for (int j = 0; j < i; ++j) sum -= triangle[i][j] * own[j];
    own[i] = sum / triangle[i][i];
    if (i < n) column[(lower ? i : n - 1 - i) * x.row_stride] = own[i];
  }
}

template <typename T>
void solve_block(Context& context, const Matrix& l, bool lower, bool unit, const Matrix& x) {
  keep(context, launch(context, solve_kernel<T>, static_cast<unsigned>(ceil_div(x.cols, kThreads)), kThreads, 0, l, lower, unit, x));
}

// Columns are independent of each other; a thread carries out all exchanges of its own.
template <typename T>
__global__ void __launch_bounds__(kThreads, 4)
    exchange_kernel(T* a, int64_t stride, int64_t cols, int64_t first, int64_t count, const int32_t* pivots) {
  for (int64_t c = global_thread(); c < cols; c += all_threads()) {
#pragma unroll 1
    for (int64_t j = 0; j < count; ++j) {
      const int64_t other = pivots[j];
      if (other == first + j) continue;
      T& x = a[(first + j) * stride + c];
      T& y = a[other * stride + c];
      const T kept = x;
      x = y;
      y = kept;
    }
  }
}

template <typename T>
void exchange_rows(Context& context, T* a, int64_t stride, int64_t cols, int64_t first, int64_t count,
                   const int32_t* pivots) {
  keep(context, launch(context, exchange_kernel<T>, blocks_for(context, cols, kThreads), kThreads, 0, a, stride, cols,
                       first, count, pivots));
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    triangle_kernel(T* a, int64_t stride, int64_t rows, int64_t cols, Triangle which) {
  for (int64_t at = global_thread(); at < rows * cols; at += all_threads()) {
    const int64_t i = at / cols;
    const int64_t j = at - i * cols;
    if (which == Triangle::upper ? j < i : j > i) {
      a[i * stride + j] = which == Triangle::mirror_lower ? a[j * stride + i] : T(0);
    }
  }
}

template <typename T>
void keep_triangle(Context& context, T* a, int64_t stride, int64_t rows, int64_t cols, Triangle which) {
  keep(context, launch(context, triangle_kernel<T>, blocks_for(context, rows * cols, kThreads), kThreads, 0, a, stride,
                       rows, cols, which));
}

template <typename T>
constexpr DenseKernels<T> kDense = {.reflect = reflect<T>,
                                    .matvec = matvec<T>,
                                    .matvec_transposed = matvec_transposed<T>,
                                    .lu_panel = lu_panel<T>,
                                    .exchange_rows = exchange_rows<T>,
                                    .cholesky_block = cholesky_block<T>,
                                    .solve_block = solve_block<T>,
                                    .keep_triangle = keep_triangle<T>,
                                    .reflector_panel = reflector_panel<T>,
                                    .jacobi = jacobi<T>,
                                    .gram_factor = gram_factor<T>};

}  // namespace

void fill_dense(KernelTable& table) {
  table.dense32 = kDense<float>;
  table.dense64 = kDense<double>;
}

}  // namespace palimpsest::cuda
