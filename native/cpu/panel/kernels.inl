// Products of a large matrix and a narrow panel. Floor: A read once at memory bandwidth, or
// 2·rows·cols·width FLOPs, whichever takes longer; they meet near a width of 32 in f32.
//
// multiply: rows of A in groups of R, panel rows of W vectors; R × W sums stay in registers while a
// chunk of A's columns passes, whose part of the panel lies in the first- or second-level cache. The
// next group's part of A is prefetched meanwhile: its rows are too short a run for the hardware's own
// prefetcher.
// multiply_transposed: a group of 8 rows of A is a rank-8 update of Zᵀ [width × columns of a chunk],
// which lies in cache: A is read along its rows, not across them.
// Needs the vector types of cpu/simd/ and kManyRegisters (32 vector registers) for PALIMPSEST_LEVEL.

#include <cstring>

#include "cpu/panel/parts.inl"
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

constexpr int64_t kDepth = 256;     // columns of A a chunk, half for wide panels
constexpr int64_t kRowBlock = 64;   // rows of A a task
constexpr int kLine = 64;

// How many rows share a panel row's vectors.
template <int W>
constexpr int kGroup = kManyRegisters ? (W <= 3 ? 8 : W == 4 ? 6 : W == 5 ? 5 : 4)
                                      : (W == 1 ? 8 : W == 2 ? 4 : W == 3 ? 3 : 2);

// R rows of y (W vectors each) = or += R rows of a times `depth` rows of p.
template <typename T, int R, int W>
inline void multiply_group(const T* a, int64_t stride, int64_t depth, const T* p, int64_t width, T* y,
                           bool add, const T* next) {
  using V = Vector<T>;
  V sums[R][W];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int w = 0; w < W; ++w) sums[r][w] = add ? V::load(y + r * width + w * V::width) : V::zero();
  }
  constexpr int64_t kStep = kLine / static_cast<int64_t>(sizeof(T));
  for (int64_t k0 = 0; k0 < depth; k0 += kStep) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) __builtin_prefetch(next + r * stride + k0, 0, 2);
    const auto column = [&](int64_t k) __attribute__((always_inline)) {
      V panel[W];
#pragma GCC unroll 16
      for (int w = 0; w < W; ++w) panel[w] = V::load(p + k * width + w * V::width);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const V factor = V::set(a[r * stride + k]);
#pragma GCC unroll 16
        for (int w = 0; w < W; ++w) sums[r][w] = fma(factor, panel[w], sums[r][w]);
      }
    };
    if (k0 + kStep <= depth) {
#pragma GCC unroll 4
      for (int64_t k = 0; k < kStep; ++k) column(k0 + k);
    } else {
      for (int64_t k = k0; k < depth; ++k) column(k);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int w = 0; w < W; ++w) sums[r][w].store(y + r * width + w * V::width);
  }
}

// Rows [0, rows) of y over one chunk; W vectors at `p` and `y` of rows `width` long.
template <typename T, int W>
void multiply_rows(const T* a, int64_t stride, int64_t rows, int64_t depth, const T* p, int64_t width,
                   T* y, bool add) {
  constexpr int R = kGroup<W>;
  int64_t r = 0;
  for (; r + R <= rows; r += R) {
    const T* next = a + (r + 2 * R <= rows ? r + R : r) * stride;
    multiply_group<T, R, W>(a + r * stride, stride, depth, p, width, y + r * width, add, next);
  }
  for (; r < rows; ++r) {
    multiply_group<T, 1, W>(a + r * stride, stride, depth, p, width, y + r * width, add,
                            a + r * stride);
  }
}

// All vectors of a panel's rows, up to six at a time.
template <typename T>
void multiply_chunk(const T* a, int64_t stride, int64_t rows, int64_t depth, const T* p,
                    int64_t width, T* y, bool add) {
  constexpr int64_t V = Vector<T>::width;
  constexpr int kMost = kManyRegisters ? 6 : 4;
  for (int64_t c = 0; c < width;) {
    const int64_t vectors = (width - c) / V;
    // Even parts: seven vectors are four and three, not six and one.
    const int64_t parts = divide_up(vectors, kMost);
    const int64_t now = divide_up(vectors, parts);
    const T* from = p + c;
    T* to = y + c;
    switch (now) {
      case 1: multiply_rows<T, 1>(a, stride, rows, depth, from, width, to, add); break;
      case 2: multiply_rows<T, 2>(a, stride, rows, depth, from, width, to, add); break;
      case 3: multiply_rows<T, 3>(a, stride, rows, depth, from, width, to, add); break;
      case 4: multiply_rows<T, 4>(a, stride, rows, depth, from, width, to, add); break;
      case 5: multiply_rows<T, 5>(a, stride, rows, depth, from, width, to, add); break;
      default: multiply_rows<T, 6>(a, stride, rows, depth, from, width, to, add); break;
    }
    c += now * V;
  }
}

template <typename T>
void multiply(Context& context, const T* a, int64_t stride, int64_t rows, int64_t cols, const T* p,
              int64_t width, T* y) {
  if (cols == 0) std::memset(y, 0, static_cast<size_t>(rows * width) * sizeof(T));
  context.parallel_chunks(rows, kRowBlock, [&](int64_t begin, int64_t end) {
    const int64_t chunk = width * static_cast<int64_t>(sizeof(T)) > 192 ? kDepth / 2 : kDepth;
    for (int64_t k = 0; k < cols; k += chunk) {
      multiply_chunk(a + begin * stride + k, stride, end - begin, smaller(chunk, cols - k),
                     p + k * width, width, y + begin * width, k > 0);
    }
  });
}

constexpr int kRankRows = 8;
constexpr int kPair = kManyRegisters ? 2 : 1;

// z [width × kColumns] += qᵀ · a over R rows of a and `cols` columns, whole vectors only.
template <typename T, int R>
inline void rank_update(const T* a, int64_t stride, int64_t cols, const T* q, int64_t width, T* z,
                        int64_t z_stride, int64_t ahead) {
  using V = Vector<T>;
  constexpr int64_t step = kPair * V::width;
  constexpr int64_t kLineValues = kLine / static_cast<int64_t>(sizeof(T));
  for (int64_t c = 0; c < cols; c += step) {
    V x[R][kPair];
    const bool whole = c + step <= cols;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kPair; ++v) {
        const T* from = a + r * stride + c + v * V::width;
        x[r][v] = whole ? V::load(from) : V::load(from, cols - c - v * V::width);
      }
      // The next rows, while these are in use.
      for (int64_t l = 0; l < step; l += kLineValues) {
        __builtin_prefetch(a + ahead + r * stride + c + l, 0, 3);
      }
    }
    T* to = z + c;
    for (int64_t j = 0; j < width; j += 2, to += 2 * z_stride) {
      // Two columns of the panel at a time: four chains of sums.
      V sums[2][kPair];
#pragma GCC unroll 16
      for (int v = 0; v < kPair; ++v) sums[0][v] = V::load(to + v * V::width);
#pragma GCC unroll 16
      for (int v = 0; v < kPair; ++v) sums[1][v] = V::load(to + z_stride + v * V::width);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const V first = V::set(q[r * width + j]);
        const V second = V::set(q[r * width + j + 1]);
#pragma GCC unroll 16
        for (int v = 0; v < kPair; ++v) sums[0][v] = fma(first, x[r][v], sums[0][v]);
#pragma GCC unroll 16
        for (int v = 0; v < kPair; ++v) sums[1][v] = fma(second, x[r][v], sums[1][v]);
      }
#pragma GCC unroll 16
      for (int v = 0; v < kPair; ++v) sums[0][v].store(to + v * V::width);
#pragma GCC unroll 16
      for (int v = 0; v < kPair; ++v) sums[1][v].store(to + z_stride + v * V::width);
    }
  }
}

template <typename T>
void multiply_transposed(Context& context, const T* a, int64_t stride, int64_t rows, int64_t cols,
                         const T* q, int64_t width, T* z) {
  const int64_t chunk = cols >= 4096 ? 256 : cols >= 512 ? 128 : 64;
  in_parts(context, rows, cols, width, chunk, kRankRows, z,
           [&](int64_t first, int64_t n, int64_t begin, int64_t end, T* to) {
    Workspace& local = Workspace::local();
    const Workspace::Scope inner(local);
    // A line of padding, or rows of the panel would meet in few sets of the cache.
    const int64_t z_stride = chunk + kLine / static_cast<int64_t>(sizeof(T));
    T* const sums = local.take<T>(width * z_stride);
    std::memset(sums, 0, static_cast<size_t>(width * z_stride) * sizeof(T));
    int64_t r = begin;
    for (; r + kRankRows <= end; r += kRankRows) {
      const T* from = a + r * stride + first;
      const int64_t ahead = r + 2 * kRankRows <= end ? kRankRows * stride : 0;
      rank_update<T, kRankRows>(from, stride, n, q + r * width, width, sums, z_stride, ahead);
    }
    for (; r < end; ++r) {
      rank_update<T, 1>(a + r * stride + first, stride, n, q + r * width, width, sums, z_stride, 0);
    }
    for (int64_t c0 = 0; c0 < n; c0 += 16) {
      const int64_t c1 = smaller(n, c0 + 16);
      for (int64_t j = 0; j < width; ++j) {
        for (int64_t c = c0; c < c1; ++c) to[c * width + j] = sums[j * z_stride + c];
      }
    }
  });
}

// One block of four rows of g against one vector of columns after another.
void gram_block(const double* y, int64_t rows, int64_t width, double* g) {
  using V = VecF64;
  for (int64_t i = 0; i < width; i += 4) {
    for (int64_t j = 0; j < i + 4; j += 2 * V::width) {
      V sums[4][2];
      for (auto& row : sums) row[0] = row[1] = V::zero();
      for (int64_t r = 0; r < rows; ++r) {
        const double* line = y + r * width;
        const V right0 = V::load(line + j);
        const V right1 = V::load(line + j + V::width);
        for (int k = 0; k < 4; ++k) {
          const V left = V::set(line[i + k]);
          sums[k][0] = fma(left, right0, sums[k][0]);
          sums[k][1] = fma(left, right1, sums[k][1]);
        }
      }
      for (int k = 0; k < 4; ++k) {
        double* to = g + (i + k) * width + j;
        (V::load(to) + sums[k][0]).store(to);
        (V::load(to + V::width) + sums[k][1]).store(to + V::width);
      }
    }
  }
}

template <typename T>
void gram(Context& context, const T* y, int64_t rows, int64_t width, double* g) {
  constexpr int64_t kPart = 512;
  constexpr int64_t kBlock = 32;
  const int64_t parts = larger(1, smaller(16, divide_up(rows, kPart)));
  const int64_t part_rows = divide_up(rows, parts);
  const Workspace::Scope scope(context.workspace);
  auto* const sums = context.workspace.take<double>(parts * width * width);
  context.parallel(parts, [&](int64_t part) {
    double* const own = sums + part * width * width;
    std::memset(own, 0, static_cast<size_t>(width * width) * sizeof(double));
    alignas(64) double block[kBlock * kPanelWidth];
    const int64_t end = smaller(rows, (part + 1) * part_rows);
    for (int64_t r = part * part_rows; r < end; r += kBlock) {
      const int64_t count = smaller(kBlock, end - r);
      for (int64_t i = 0; i < count * width; ++i) block[i] = static_cast<double>(y[r * width + i]);
      gram_block(block, count, width, own);
    }
  });
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double total = 0;
      for (int64_t part = 0; part < parts; ++part) total += sums[(part * width + i) * width + j];
      g[i * width + j] = total;
    }
  }
}

template <typename T>
void transform(Context& context, T* y, int64_t rows, int64_t width, const T* w) {
  context.parallel_chunks(rows, kRowBlock, [&](int64_t begin, int64_t end) {
    Workspace& local = Workspace::local();
    const Workspace::Scope scope(local);
    const int64_t count = (end - begin) * width;
    T* const copy = local.take<T>(count);
    std::memcpy(copy, y + begin * width, static_cast<size_t>(count) * sizeof(T));
    multiply_chunk(copy, width, end - begin, width, w, width, y + begin * width, false);
  });
}

template <typename T>
constexpr PanelKernels<T> kPanel = {.multiply = multiply<T>,
                                    .multiply_transposed = multiply_transposed<T>,
                                    .gram = gram<T>,
                                    .transform = transform<T>};

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_panel_, PALIMPSEST_LEVEL)(KernelTable& table) {
  table.panel32 = PALIMPSEST_LEVEL::kPanel<float>;
  table.panel64 = PALIMPSEST_LEVEL::kPanel<double>;
}

}  // namespace palimpsest::cpu
