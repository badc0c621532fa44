// Level-2 work of factorizations. Floor: the matrix read once (matvec), from cache where it fits;
// blocks of at most kTriangle rows are copied to contiguous scratch first, because rows of a large
// matrix lie a power of two apart and would evict each other.
// Needs the vector types of cpu/simd/ for PALIMPSEST_LEVEL.

#include <cstring>

#include "cpu/dense/small.h"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

template <typename T>
struct VectorOf {
  using Type = VecF32;
};
template <>
struct VectorOf<double> {
  using Type = VecF64;
};
template <typename T>
using Vector = typename VectorOf<T>::Type;

// Σ x·y with four independent sums.
template <typename T>
T dot(const T* x, const T* y, int64_t n) {
  using V = Vector<T>;
  V s0 = V::zero(), s1 = V::zero(), s2 = V::zero(), s3 = V::zero();
  int64_t i = 0;
  for (; i + 4 * V::width <= n; i += 4 * V::width) {
    s0 = fma(V::load(x + i), V::load(y + i), s0);
    s1 = fma(V::load(x + i + V::width), V::load(y + i + V::width), s1);
    s2 = fma(V::load(x + i + 2 * V::width), V::load(y + i + 2 * V::width), s2);
    s3 = fma(V::load(x + i + 3 * V::width), V::load(y + i + 3 * V::width), s3);
  }
  for (; i < n; i += V::width) s0 = fma(V::load(x + i, n - i), V::load(y + i, n - i), s0);
  return sum((s0 + s1) + (s2 + s3));
}

// y += α·x.
template <typename T>
void axpy(T alpha, const T* x, T* y, int64_t n) {
  using V = Vector<T>;
  const V a = V::set(alpha);
  int64_t i = 0;
  for (; i + V::width <= n; i += V::width) fma(a, V::load(x + i), V::load(y + i)).store(y + i);
  if (i < n) fma(a, V::load(x + i, n - i), V::load(y + i, n - i)).store(y + i, n - i);
}

// No templates of the standard library in files compiled for one instruction set: the linker might
// take their code for everybody.
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t rows_a_task(int64_t cols, int64_t elements) {
  return larger(4, elements / larger(1, cols) / 4 * 4);
}

template <typename T>
void reflect(Context& context, T* a, int64_t stride, int64_t rows, int64_t cols, const T* v, T tau) {
  context.parallel_chunks(rows, rows_a_task(cols, 16384), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      T* row = a + r * stride;
      axpy(-tau * dot(row, v, cols), v, row, cols);
    }
  });
}

// Four rows against one x.
template <typename T>
void four_dots(const T* a, int64_t stride, int64_t cols, const T* x, T* out) {
  using V = Vector<T>;
  V s[8];
  for (V& each : s) each = V::zero();
  int64_t i = 0;
  for (; i + 2 * V::width <= cols; i += 2 * V::width) {
    const V x0 = V::load(x + i);
    const V x1 = V::load(x + i + V::width);
    for (int r = 0; r < 4; ++r) {
      s[2 * r] = fma(V::load(a + r * stride + i), x0, s[2 * r]);
      s[2 * r + 1] = fma(V::load(a + r * stride + i + V::width), x1, s[2 * r + 1]);
    }
  }
  for (; i < cols; i += V::width) {
    const V x0 = V::load(x + i, cols - i);
    for (int r = 0; r < 4; ++r) s[2 * r] = fma(V::load(a + r * stride + i, cols - i), x0, s[2 * r]);
  }
  for (int r = 0; r < 4; ++r) out[r] = sum(s[2 * r] + s[2 * r + 1]);
}

template <typename T>
void matvec(Context& context, const T* a, int64_t stride, int64_t rows, int64_t cols, const T* x,
            T alpha, T beta, T* y) {
  context.parallel_chunks(rows, rows_a_task(cols, 32768), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r += 4) {
      T sums[4];
      const int64_t count = smaller(4, end - r);
      if (count == 4) {
        four_dots(a + r * stride, stride, cols, x, sums);
      } else {
        for (int64_t i = 0; i < count; ++i) sums[i] = dot(a + (r + i) * stride, x, cols);
      }
      for (int64_t i = 0; i < count; ++i) {
        y[r + i] = alpha * sums[i] + (beta == 0 ? T(0) : beta * y[r + i]);
      }
    }
  });
}

constexpr int64_t kColumnChunk = 256;

template <typename T>
void matvec_transposed(Context& context, const T* a, int64_t stride, int64_t rows, int64_t cols,
                       const T* x, T alpha, T beta, T* y) {
  using V = Vector<T>;
  context.parallel_chunks(cols, kColumnChunk, [&](int64_t begin, int64_t end) {
    alignas(64) T sums[kColumnChunk] = {};
    const int64_t n = end - begin;
    int64_t r = 0;
    for (; r + 8 <= rows; r += 8) {
      V factors[8];
      for (int i = 0; i < 8; ++i) factors[i] = V::set(x[r + i]);
      const T* from = a + r * stride + begin;
      int64_t c = 0;
      for (; c + V::width <= n; c += V::width) {
        V s0 = V::load(sums + c);
        V s1 = V::load(from + c) * factors[0];
        for (int i = 1; i < 8; i += 2) s0 = fma(V::load(from + i * stride + c), factors[i], s0);
        for (int i = 2; i < 8; i += 2) s1 = fma(V::load(from + i * stride + c), factors[i], s1);
        (s0 + s1).store(sums + c);
      }
      for (; c < n; ++c) {
        for (int i = 0; i < 8; ++i) sums[c] += x[r + i] * from[i * stride + c];
      }
    }
    for (; r < rows; ++r) axpy(x[r], a + r * stride + begin, sums, n);
    for (int64_t c = 0; c < n; ++c) {
      y[begin + c] = alpha * sums[c] + (beta == 0 ? T(0) : beta * y[begin + c]);
    }
  });
}

// row ← row − l·u over kTriangle values.
template <typename T>
void eliminate(T l, const T* u, T* row) {
  using V = Vector<T>;
  const V factor = V::set(-l);
  for (int64_t c = 0; c < kTriangle; c += V::width) {
    fma(factor, V::load(u + c), V::load(row + c)).store(row + c);
  }
}

// The first of the entries [begin, end) with the largest magnitude.
template <typename T>
int64_t largest_entry(const T* x, int64_t begin, int64_t end) {
  using V = Vector<T>;
  V most = V::zero();
  for (int64_t i = begin; i < end; i += V::width) most = max(abs(V::load(x + i, end - i)), most);
  T lanes[V::width];
  most.store(lanes);
  T top = 0;
  for (T lane : lanes) top = lane > top ? lane : top;
  for (int64_t i = begin; i < end; ++i) {
    if (__builtin_fabs(x[i]) == top) return i;
  }
  return begin;  // NaN alone
}

constexpr int64_t kInner = 8;  // columns between updates of the panel's rest

// Columns [last, cols) less what the kInner columns before `last` take from them. p's columns are `ld` apart.
template <typename T>
void update_rest(T* p, int64_t ld, int64_t rows, int64_t first, int64_t last, int64_t cols) {
  using V = Vector<T>;
  T factors[kTriangle][kInner];
  for (int64_t k = first; k < last; ++k) {
    for (int64_t c = last; c < cols; ++c) {
      const T u = p[c * ld + k];
      factors[c][k - first] = -u;
      axpy(-u, p + k * ld + k + 1, p + c * ld + k + 1, last - k - 1);
    }
  }
  // Whole vectors: what follows the last row is zero, and stays so.
  for (int64_t i = last; i < rows; i += V::width) {
    V l[kInner];
#pragma GCC unroll 8
    for (int64_t k = 0; k < kInner; ++k) l[k] = V::load(p + (first + k) * ld + i);
    for (int64_t c = last; c < cols; ++c) {
      V x = V::load(p + c * ld + i);
#pragma GCC unroll 8
      for (int64_t k = 0; k < kInner; ++k) x = fma(V::set(factors[c][k]), l[k], x);
      x.store(p + c * ld + i);
    }
  }
}

// On a copy by columns, so that vectors run along rows and none is spent on columns that are done.
template <typename T>
void lu_panel(Context&, T* a, int64_t stride, int64_t rows, int64_t cols, int64_t place, int32_t* pivots,
              int32_t* failed) {
  using V = Vector<T>;
  Workspace& local = Workspace::local();
  const Workspace::Scope scope(local);
  const int64_t ld = (rows + 15) / 16 * 16 + 16;
  T* const p = local.take<T>(ld * kTriangle);
  constexpr int64_t kRows = 16;
  for (int64_t i0 = 0; i0 < rows; i0 += kRows) {
    const int64_t i1 = smaller(rows, i0 + kRows);
    for (int64_t c = 0; c < cols; ++c) {
      for (int64_t i = i0; i < i1; ++i) p[c * ld + i] = a[i * stride + c];
    }
  }
  for (int64_t c = 0; c < cols; ++c) {
    std::memset(p + c * ld + rows, 0, static_cast<size_t>(ld - rows) * sizeof(T));
  }
  const int64_t steps = smaller(rows, cols);
  for (int64_t first = 0; first < steps; first += kInner) {
    const int64_t last = smaller(steps, first + kInner);
    for (int64_t j = first; j < last; ++j) {
      T* const column = p + j * ld;
      const int64_t best = largest_entry(column, j, rows);
      pivots[j] = static_cast<int32_t>(place + best);
      for (int64_t c = 0; best != j && c < cols; ++c) {
        const T kept = p[c * ld + j];
        p[c * ld + j] = p[c * ld + best];
        p[c * ld + best] = kept;
      }
      if (column[j] == 0) {
        if (*failed < 0) *failed = static_cast<int32_t>(place + j);
        continue;
      }
      const V pivot = V::set(column[j]);
      for (int64_t i = j + 1; i < rows; i += V::width) {
        (V::load(column + i, rows - i) / pivot).store(column + i, rows - i);
      }
      for (int64_t c = j + 1; c < last; ++c) {
        axpy(-p[c * ld + j], column + j + 1, p + c * ld + j + 1, rows - j - 1);
      }
    }
    if (last < cols) update_rest(p, ld, rows, first, last, cols);
  }
  for (int64_t i0 = 0; i0 < rows; i0 += kRows) {
    const int64_t i1 = smaller(rows, i0 + kRows);
    for (int64_t i = i0; i < i1; ++i) {
      for (int64_t c = 0; c < cols; ++c) a[i * stride + c] = p[c * ld + i];
    }
  }
}

template <typename T>
void cholesky_block(Context&, T* a, int64_t stride, int64_t n, int64_t place, int32_t* failed) {
  alignas(64) T p[kTriangle * kTriangle];
  alignas(64) T u[kTriangle];
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < kTriangle; ++c) p[i * kTriangle + c] = c <= i ? a[i * stride + c] : T(0);
  }
  for (int64_t j = 0; j < n; ++j) {
    const T pivot = p[j * kTriangle + j];
    if (!(pivot > 0)) {
      if (*failed < 0) *failed = static_cast<int32_t>(place + j);
      return;
    }
    const T root = static_cast<T>(__builtin_sqrt(pivot));
    p[j * kTriangle + j] = root;
    for (int64_t c = 0; c < kTriangle; ++c) {
      u[c] = c > j && c < n ? p[c * kTriangle + j] / root : T(0);
    }
    for (int64_t i = j + 1; i < n; ++i) {
      p[i * kTriangle + j] = u[i];
      eliminate(u[i], u, p + i * kTriangle);
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    std::memcpy(a + i * stride, p + i * kTriangle, static_cast<size_t>(i + 1) * sizeof(T));
  }
}

constexpr int64_t kSolveChunk = 64;

template <typename T>
void solve_block(Context& context, const Matrix& l, bool lower, bool unit, const Matrix& x) {
  const int64_t n = l.rows;
  alignas(64) T triangle[kTriangle * kTriangle];
  const T* from = static_cast<const T*>(l.data);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      triangle[i * kTriangle + j] = from[i * l.row_stride + j * l.col_stride];
    }
  }
  context.parallel_chunks(x.cols, kSolveChunk, [&](int64_t begin, int64_t end) {
    using V = Vector<T>;
    constexpr int kTogether = 4;
    alignas(64) T buffer[kTriangle * kSolveChunk];
    const int64_t width = end - begin;
    // Whole vectors are worked on.
    constexpr int64_t kStep = kTogether * V::width;
    static_assert(kSolveChunk % kStep == 0);
    const int64_t worked = (width + kStep - 1) / kStep * kStep;
    for (int64_t i = 0; i < n && worked > width; ++i) {
      std::memset(buffer + i * kSolveChunk + width, 0, static_cast<size_t>(worked - width) * sizeof(T));
    }
    T* const at = static_cast<T*>(x.data) + begin * x.col_stride;
    if (x.col_stride == 1) {
      for (int64_t i = 0; i < n; ++i) {
        std::memcpy(buffer + i * kSolveChunk, at + i * x.row_stride,
                    static_cast<size_t>(width) * sizeof(T));
      }
    } else {
      for (int64_t c = 0; c < width; ++c) {
        for (int64_t i = 0; i < n; ++i) {
          buffer[i * kSolveChunk + c] = at[i * x.row_stride + c * x.col_stride];
        }
      }
    }
    for (int64_t step = 0; step < n; ++step) {
      const int64_t i = lower ? step : n - 1 - step;
      const T* factors = triangle + i * kTriangle;
      const int64_t first = lower ? 0 : i + 1;
      const int64_t last = lower ? i : n;
      for (int64_t c = 0; c < width; c += kStep) {
        // The row's vectors stay in registers while the others pass.
        T* const row = buffer + i * kSolveChunk + c;
        V sums[kTogether];
        for (int v = 0; v < kTogether; ++v) sums[v] = V::load(row + v * V::width);
        for (int64_t j = first; j < last; ++j) {
          const V factor = V::set(-factors[j]);
          const T* const other = buffer + j * kSolveChunk + c;
          for (int v = 0; v < kTogether; ++v) {
            sums[v] = fma(factor, V::load(other + v * V::width), sums[v]);
          }
        }
        for (int v = 0; v < kTogether; ++v) {
          (unit ? sums[v] : sums[v] / V::set(factors[i])).store(row + v * V::width);
        }
      }
    }
    for (int64_t i = 0; i < n && x.col_stride == 1; ++i) {
      std::memcpy(at + i * x.row_stride, buffer + i * kSolveChunk,
                  static_cast<size_t>(width) * sizeof(T));
    }
    for (int64_t c = 0; c < width && x.col_stride != 1; ++c) {
      for (int64_t i = 0; i < n; ++i) {
        at[i * x.row_stride + c * x.col_stride] = buffer[i * kSolveChunk + c];
      }
    }
  });
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
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_dense_, PALIMPSEST_LEVEL)(KernelTable& table) {
  table.dense32 = PALIMPSEST_LEVEL::kDense<float>;
  table.dense64 = PALIMPSEST_LEVEL::kDense<double>;
}

}  // namespace palimpsest::cpu
