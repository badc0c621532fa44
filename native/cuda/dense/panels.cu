// Panels and blocks of factorizations, each by one block of threads: what is left of them beside matrix
// products is a chain of short steps, and lies in the first- and second-level caches.

#include "cuda/dense/dense.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kSide = static_cast<int>(kTriangle);
static_assert(kSide == 32, "a lane a column");

// The largest of the block's values, and of equal ones the least place.
__device__ inline void block_largest(double& value, int64_t& place) {
  __shared__ double values[kWarps];
  __shared__ int64_t places[kWarps];
  const auto take = [&](double other, int64_t at) {
    if (other > value || (other == value && at < place)) {
      value = other;
      place = at;
    }
  };
  for (int step = 16; step > 0; step /= 2) {
    const double other = __shfl_xor_sync(kAllLanes, value, step);
    const auto at = static_cast<int64_t>(__shfl_xor_sync(kAllLanes, static_cast<long long>(place), step));
    take(other, at);
  }
  if (threadIdx.x % 32 == 0) {
    values[threadIdx.x / 32] = value;
    places[threadIdx.x / 32] = place;
  }
  __syncthreads();
  for (int w = 0; w < kWarps; ++w) take(values[w], places[w]);
  __syncthreads();
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    lu_kernel(T* a, int64_t stride, int64_t rows, int cols, int64_t place, int32_t* pivots, int32_t* failed) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  for (int j = 0; j < cols && j < rows; ++j) {
    double largest = -1;
    int64_t best = j;
    for (int64_t i = j + threadIdx.x; i < rows; i += kThreads) {
      const double size = fabs(static_cast<double>(a[i * stride + j]));
      if (size > largest) {
        largest = size;
        best = i;
      }
    }
    block_largest(largest, best);
    // Below this 1/pivot is no number.
    const bool usable = largest >= 0x1p-1022;
    T* const top = a + j * stride;
    if (warp == 0 && lane < cols && best != j) {
      const T kept = top[lane];
      top[lane] = a[best * stride + lane];
      a[best * stride + lane] = kept;
    }
    if (threadIdx.x == 0) {
      pivots[j] = static_cast<int32_t>(place + best);
      if (!usable && *failed < 0) *failed = static_cast<int32_t>(place + j);
    }
    __syncthreads();
    if (usable) {
      // One division a column: in the loop it would be a call, with registers put aside for it.
      const double inverse = 1 / static_cast<double>(top[j]);
      const T u = lane > j && lane < cols ? top[lane] : T(0);
      for (int64_t i = j + 1 + warp; i < rows; i += kWarps) {
        T* const row = a + i * stride;
        const T factor = static_cast<T>(static_cast<double>(row[j]) * inverse);
        __syncwarp();
        if (lane == j) row[lane] = factor;
        if (lane > j && lane < cols) row[lane] -= factor * u;
      }
    }
    __syncthreads();
  }
}

// A thread an entry.
template <typename T>
__global__ void __launch_bounds__(kSide* kSide)
    cholesky_kernel(T* a, int64_t stride, int n, int64_t place, int32_t* failed) {
  __shared__ T p[kSide][kSide + 1];
  const int i = static_cast<int>(threadIdx.x) / kSide;
  const int c = static_cast<int>(threadIdx.x) % kSide;
  const bool mine = i < n && c <= i;
  p[i][c] = mine ? a[i * stride + c] : T(0);
  __syncthreads();
  for (int j = 0; j < n; ++j) {
    const T pivot = p[j][j];
    if (!(pivot > T(0))) {
      if (threadIdx.x == 0 && *failed < 0) *failed = static_cast<int32_t>(place + j);
      return;
    }
    const T root = sqrt(pivot);
    __syncthreads();
    if (mine && c == j) p[i][c] = i == j ? root : p[i][c] / root;
    __syncthreads();
    if (mine && c > j) p[i][c] -= p[i][j] * p[c][j];
    __syncthreads();
  }
  if (mine) a[i * stride + c] = p[i][c];
}

template <typename T>
__device__ inline double lanes_dot(const T* x, const T* y, int64_t from, int64_t n, int lane) {
  double sum = 0;
  for (int64_t i = from + lane; i < n; i += 32) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return warp_sum(sum);
}

// Reflector j is made by the whole block; then a warp takes a row i: a product with v_j for T where i < j, and
// the reflection where i > j.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    reflectors_kernel(T* a, int64_t stride, int w, int64_t length, T* r, int64_t r_stride, T* t, int64_t t_stride) {
  __shared__ double along[kSide];
  __shared__ double triangle[kSide][kSide + 1];
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  const int warp = thread / 32;
  for (int j = 0; j < w; ++j) {
    T* const v = a + j * stride;
    double rest = 0;
    for (int64_t i = j + 1 + thread; i < length; i += kThreads) {
      const double size = fabs(static_cast<double>(v[i]));
      rest = size > rest ? size : rest;
    }
    rest = block_max<kThreads>(rest);
    const double head = static_cast<double>(v[j]);
    const double largest = fabs(head) > rest ? fabs(head) : rest;
    double tau = 0;
    double beta = head;
    if (rest > 0) {
      double squares = 0;
      for (int64_t i = j + thread; i < length; i += kThreads) {
        const double x = static_cast<double>(v[i]) / largest;
        squares += x * x;
      }
      const double norm = sqrt(block_sum<kThreads>(squares)) * largest;
      beta = head >= 0 ? -norm : norm;
      tau = (beta - head) / beta;
      for (int64_t i = j + 1 + thread; i < length; i += kThreads) {
        v[i] = static_cast<T>(static_cast<double>(v[i]) / (head - beta));
      }
    }
    __syncthreads();
    if (thread == 0) {
      v[j] = T(1);
      r[j * r_stride + j] = static_cast<T>(beta);
    }
    if (thread > j && thread < w) r[thread * r_stride + j] = T(0);
    __syncthreads();
    for (int at = warp; at < w; at += kWarps) {
      if (at == j) continue;
      T* const row = a + at * stride;
      const double product = lanes_dot(row, v, j, length, lane);
      if (at < j) {
        if (lane == 0) along[at] = product;
      } else {
        const double factor = tau * product;
        T kept = T(0);
        for (int64_t i = j + lane; i < length; i += 32) {
          const T x = static_cast<T>(static_cast<double>(row[i]) - factor * static_cast<double>(v[i]));
          if (i == j) kept = x;
          row[i] = i == j ? T(0) : x;
        }
        if (lane == 0) r[j * r_stride + at] = kept;
      }
    }
    __syncthreads();
    if (thread < w) {
      double x = thread == j ? tau : 0.0;
      if (thread < j) {
        double sum = 0;
        for (int k = thread; k < j; ++k) sum += triangle[thread][k] * along[k];
        x = -tau * sum;
      }
      triangle[thread][j] = x;
      t[thread * t_stride + j] = static_cast<T>(x);
    }
    __syncthreads();
  }
}

// ---- the factor of a Gram matrix -------------------------------------------------------------------

constexpr int kFactorThreads = 512;
constexpr size_t kFactorBytes = (static_cast<size_t>(kPanelWidth) * (kPanelWidth + 1) + kPanelWidth) * sizeof(double);

// The triangles lie packed in shared memory, row i from i·(i + 1)/2 on: L, and the transpose of U⁻¹ = L⁻¹
// before scaling. A warp computes a row of that transpose: its entries depend on each other, rows do not.
template <typename T>
__global__ void __launch_bounds__(kFactorThreads)
    gram_factor_kernel(const double* g, int n, double least, double* upper, T* inverse, int32_t* failed) {
  auto* const lower = dynamic_shared<double>();
  double* const turned = lower + n * (n + 1) / 2;
  double* const scale = turned + n * (n + 1) / 2;
  const int thread = static_cast<int>(threadIdx.x);
  const auto at = [](int i, int j) { return i * (i + 1) / 2 + j; };
  for (int i = thread; i < n; i += kFactorThreads) scale[i] = sqrt(g[i * n + i]);
  __syncthreads();
  for (int k = thread; k < n * n; k += kFactorThreads) {
    const int i = k / n;
    const int j = k % n;
    if (j <= i) lower[at(i, j)] = g[k] / (scale[i] * scale[j]);
  }
  __syncthreads();
  bool good = true;
  for (int j = 0; j < n && good; ++j) {
    const double pivot = lower[at(j, j)];
    // Neither NaN nor Inf passes: a scaled diagonal is at most 1 but for rounding.
    good = pivot > least && pivot < 2;
    if (!good) break;
    const double root = sqrt(pivot);
    __syncthreads();
    for (int i = j + thread; i < n; i += kFactorThreads) lower[at(i, j)] = i == j ? root : lower[at(i, j)] / root;
    __syncthreads();
    const int rest = n - j - 1;
    for (int k = thread; k < rest * rest; k += kFactorThreads) {
      const int i = j + 1 + k / rest;
      const int c = j + 1 + k % rest;
      if (c <= i) lower[at(i, c)] -= lower[at(i, j)] * lower[at(c, j)];
    }
    __syncthreads();
  }
  if (!good) {
    if (thread == 0) *failed = 1;
    for (int k = thread; k < n * n; k += kFactorThreads) {
      upper[k] = k / n == k % n ? 1 : 0;
      inverse[k] = static_cast<T>(k / n == k % n ? 1 : 0);
    }
    return;
  }
  // X = L⁻¹ by columns: x_j = 1/l_jj, x_i = −(Σ_{j ≤ k < i} l_ik x_k)/l_ii; a warp sums.
  const int lane = thread % 32;
  for (int j = thread / 32; j < n; j += kFactorThreads / 32) {
    for (int i = j; i < n; ++i) {
      double sum = 0;
      for (int k = j + lane; k < i; k += 32) sum += lower[at(i, k)] * turned[at(k, j)];
      sum = warp_sum(sum);
      if (lane == 0) turned[at(i, j)] = ((i == j ? 1.0 : 0.0) - sum) / lower[at(i, i)];
      __syncwarp();
    }
  }
  __syncthreads();
  // U = Lᵀ·diag(scale), U⁻¹ = diag(1/scale)·L⁻ᵀ.
  for (int k = thread; k < n * n; k += kFactorThreads) {
    const int i = k / n;
    const int j = k % n;
    upper[k] = j >= i ? lower[at(j, i)] * scale[j] : 0;
    inverse[k] = static_cast<T>(j >= i ? turned[at(j, i)] / scale[i] : 0);
  }
}

}  // namespace

template <typename T>
void lu_panel(Context& context, T* a, int64_t stride, int64_t rows, int64_t cols, int64_t place, int32_t* pivots,
              int32_t* failed) {
  keep(context, launch(context, lu_kernel<T>, 1, kThreads, 0, a, stride, rows, static_cast<int>(cols), place, pivots,
                       failed));
}

template <typename T>
void cholesky_block(Context& context, T* a, int64_t stride, int64_t n, int64_t place, int32_t* failed) {
  keep(context, launch(context, cholesky_kernel<T>, 1, kSide * kSide, 0, a, stride, static_cast<int>(n), place, failed));
}

template <typename T>
void reflector_panel(Context& context, T* a, int64_t stride, int64_t w, int64_t length, T* r, int64_t r_stride, T* t,
                     int64_t t_stride) {
  keep(context, launch(context, reflectors_kernel<T>, 1, kThreads, 0, a, stride, static_cast<int>(w), length, r, r_stride,
                       t, t_stride));
}

template <typename T>
void gram_factor(Context& context, const double* g, int64_t width, double least, double* upper, T* inverse,
                 int32_t* failed) {
  keep(context, launch(context, gram_factor_kernel<T>, 1, kFactorThreads, kFactorBytes, g, static_cast<int>(width), least,
                       upper, inverse, failed));
}

#define PALIMPSEST_INSTANTIATE(T)                                                                                \
  template void lu_panel(Context&, T*, int64_t, int64_t, int64_t, int64_t, int32_t*, int32_t*);                   \
  template void cholesky_block(Context&, T*, int64_t, int64_t, int64_t, int32_t*);                                \
  template void reflector_panel(Context&, T*, int64_t, int64_t, int64_t, T*, int64_t, T*, int64_t);               \
  template void gram_factor(Context&, const double*, int64_t, double, double*, T*, int32_t*);
PALIMPSEST_INSTANTIATE(float)
PALIMPSEST_INSTANTIATE(double)

}  // namespace palimpsest::cuda
