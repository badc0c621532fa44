// The instruction-set dependent half of the blocked product, written once: micro-kernel loop and
// epilogue. The including file defines PALIMPSEST_LEVEL and the traits described at `Block`.
#pragma once

#include <cstddef>

#include "cpu/gemm/driver.h"
#include "cpu/simd/math.inl"
#include "cpu/simd/transpose.inl"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

// Rounded to bf16; a level with an instruction for it declares its own before it includes this file.
template <typename V>
void store_rounded(V x, BFloat16* p, int64_t n) {
  x.store_bf16(p, n);
}

template <typename V>
struct Lanes;

template <>
struct Lanes<VecF32> {
  using T = float;
  static VecF32 load(const Matrix& m, int64_t at, int64_t n) {
    return m.dtype == DType::bf16 ? VecF32::load_bf16(m_data<BFloat16>(m) + at, n)
                                  : VecF32::load(m_data<float>(m) + at, n);
  }
  static void store(VecF32 x, const Matrix& m, int64_t at, int64_t n) {
    if (m.dtype == DType::bf16) {
      store_rounded(x, m_data<BFloat16>(m) + at, n);
    } else {
      x.store(m_data<float>(m) + at, n);
    }
  }
  static float get(const Matrix& m, int64_t at) {
    if (m.dtype == DType::bf16) {
      float lanes[VecF32::width];
      VecF32::load_bf16(m_data<BFloat16>(m) + at, 1).store(lanes);
      return lanes[0];
    }
    return m_data<float>(m)[at];
  }
  static void put(float x, const Matrix& m, int64_t at) {
    if (m.dtype == DType::bf16) {
      store_rounded(VecF32::set(x), m_data<BFloat16>(m) + at, 1);
    } else {
      m_data<float>(m)[at] = x;
    }
  }
  template <typename U>
  static U* m_data(const Matrix& m) {
    return static_cast<U*>(m.data);
  }
};

template <>
struct Lanes<VecF64> {
  using T = double;
  static VecF64 load(const Matrix& m, int64_t at, int64_t n) {
    return VecF64::load(static_cast<const double*>(m.data) + at, n);
  }
  static void store(VecF64 x, const Matrix& m, int64_t at, int64_t n) {
    x.store(static_cast<double*>(m.data) + at, n);
  }
  static double get(const Matrix& m, int64_t at) { return static_cast<const double*>(m.data)[at]; }
  static void put(double x, const Matrix& m, int64_t at) { static_cast<double*>(m.data)[at] = x; }
};

inline float erf_of(float x) { return erf_f32(x); }
inline float exp_of(float x) { return exp_f32(x); }
inline float tanh_of(float x) { return tanh_f32(x); }
inline double erf_of(double x) { return __builtin_erf(x); }
inline double exp_of(double x) { return __builtin_exp(x); }
inline double tanh_of(double x) { return __builtin_tanh(x); }

// x ← activation(x), for those that need exp or erf; in f32 with the elementwise kernels' functions.
template <typename T>
void activate(Activation activation, T* x, int64_t n) {
  if (activation == Activation::gelu) {
    for (int64_t i = 0; i < n; ++i) {
      x[i] = T(0.5) * x[i] * (T(1) + erf_of(x[i] * T(0.70710678118654752)));
    }
  } else if (activation == Activation::silu) {
    for (int64_t i = 0; i < n; ++i) x[i] = x[i] * (T(1) / (T(1) + exp_of(-x[i])));
  } else if (activation == Activation::tanh) {
    for (int64_t i = 0; i < n; ++i) x[i] = tanh_of(x[i]);
  } else if (activation == Activation::sigmoid) {
    for (int64_t i = 0; i < n; ++i) x[i] = T(1) / (T(1) + exp_of(-x[i]));
  }
}

// What a tile's product fetches into L2 on the way, a stretch of each a unit: the panels that come next.
struct Prefetch {
  const std::byte* from[2];
  int64_t step[2];  // bytes a unit; 0 repeats one line
};

// Turns a tile of sums into D. `tile` is row-major with kCols columns. For a symmetric D the finished
// values also stay in the tile, for mirror_tile.
template <typename V, int kCols>
void finish_tile(const Epilogue& e, typename V::Element* tile, int64_t row, int64_t rows,
                 int64_t col, int64_t cols) {
  using L = Lanes<V>;
  using T = typename V::Element;
  const V alpha = V::set(static_cast<T>(e.alpha));
  const V beta = V::set(static_cast<T>(e.beta));
  const bool adds_c = e.c.data != nullptr && e.beta != 0;
  const T* bias = static_cast<const T*>(e.bias);
  const bool by_value = e.activation != Activation::none && e.activation != Activation::relu;
  const bool direct = !by_value && e.d.col_stride == 1;
  for (int64_t i = 0; i < rows; ++i) {
    int64_t n = cols;
    if (e.symmetric && row + i - col + 1 < n) n = row + i - col + 1;
    T* sums = tile + i * kCols;
    for (int64_t j = 0; j < n; j += V::width) {
      const int64_t lanes = n - j;
      V x = V::load(sums + j) * alpha;
      if (adds_c) {
        const int64_t from = (row + i) * e.c.row_stride + (col + j) * e.c.col_stride;
        if (e.c.col_stride == 1) {
          x = fma(beta, L::load(e.c, from, lanes), x);
        } else {
          T values[V::width] = {};
          for (int64_t l = 0; l < V::width && l < lanes; ++l) {
            values[l] = L::get(e.c, from + l * e.c.col_stride);
          }
          x = fma(beta, V::load(values), x);
        }
      }
      if (bias != nullptr) {
        x = x + (e.bias_per_row ? V::set(bias[row + i]) : V::load(bias + col + j, lanes));
      }
      if (e.activation == Activation::relu) x = max(V::zero(), x);
      if (direct) L::store(x, e.d, (row + i) * e.d.row_stride + col + j, lanes);
      if (!direct || e.symmetric) x.store(sums + j);
    }
    if (direct || n <= 0) continue;
    if (by_value) activate(e.activation, sums, n);
    for (int64_t j = 0; j < n; j += V::width) {
      const int64_t to = (row + i) * e.d.row_stride + (col + j) * e.d.col_stride;
      if (e.d.col_stride == 1) {
        L::store(V::load(sums + j), e.d, to, n - j);
      } else {
        for (int64_t l = j; l < n && l < j + V::width; ++l) {
          L::put(sums[l], e.d, to + (l - j) * e.d.col_stride);
        }
      }
    }
  }
}

// finish_tile for whole lines below the diagonal and unit column strides, by far the most tiles.
template <typename V, int kCols, bool kNarrowD, bool kAddsC, bool kNarrowC>
void finish_lines(const Epilogue& e, typename V::Element* tile, int64_t row, int64_t first,
                  int64_t last, int64_t col) {
  using T = typename V::Element;
  const V alpha = V::set(static_cast<T>(e.alpha));
  const V beta = V::set(static_cast<T>(e.beta));
  const T* bias = static_cast<const T*>(e.bias);
  const bool relu = e.activation == Activation::relu;
  const auto place = [&](const Matrix& m, int64_t i) {
    return static_cast<std::byte*>(m.data) +
           ((row + i) * m.row_stride + col) * static_cast<int64_t>(size_of(m.dtype));
  };
  for (int64_t i = first; i < last; ++i) {
    T* sums = tile + i * kCols;
    const std::byte* c = kAddsC ? place(e.c, i) : nullptr;
    std::byte* d = place(e.d, i);
#pragma GCC unroll 4
    for (int j = 0; j < kCols; j += V::width) {
      V x = V::load(sums + j) * alpha;
      if constexpr (kAddsC && kNarrowC) {
        x = fma(beta, V::load_bf16(reinterpret_cast<const BFloat16*>(c) + j), x);
      } else if constexpr (kAddsC) {
        x = fma(beta, V::load(reinterpret_cast<const T*>(c) + j), x);
      }
      if (bias != nullptr) x = x + (e.bias_per_row ? V::set(bias[row + i]) : V::load(bias + col + j));
      if (relu) x = max(V::zero(), x);
      if constexpr (kNarrowD) {
        store_rounded(x, reinterpret_cast<BFloat16*>(d) + j, V::width);
      } else {
        x.store(reinterpret_cast<T*>(d) + j);
      }
      if (e.symmetric) x.store(sums + j);
    }
  }
}

// The variant of finish_lines that fits a tile; null: none does.
template <typename V>
using FinishLines = void (*)(const Epilogue&, typename V::Element*, int64_t row, int64_t first,
                             int64_t last, int64_t col);

template <typename V, int kCols, bool kNarrowD>
FinishLines<V> choose_lines_to(const Epilogue& e) {
  if (e.c.data == nullptr || e.beta == 0) return finish_lines<V, kCols, kNarrowD, false, false>;
  if (e.c.col_stride != 1) return nullptr;
  if constexpr (sizeof(typename V::Element) == sizeof(float)) {
    if (e.c.dtype == DType::bf16) return finish_lines<V, kCols, kNarrowD, true, true>;
  }
  return finish_lines<V, kCols, kNarrowD, true, false>;
}

template <typename V, int kCols>
FinishLines<V> choose_lines(const Epilogue& e, int64_t row, int64_t col, int64_t cols) {
  if (cols != kCols || e.d.col_stride != 1 || (e.symmetric && row < col + kCols - 1) ||
      (e.activation != Activation::none && e.activation != Activation::relu)) {
    return nullptr;
  }
  if constexpr (sizeof(typename V::Element) == sizeof(float)) {
    if (e.d.dtype == DType::bf16) return choose_lines_to<V, kCols, true>(e);
  }
  return choose_lines_to<V, kCols, false>(e);
}

// D's upper triangle from a finished tile of the lower one: columns [first, last) of the tile.
template <typename V, int kCols>
void mirror_tile(const Epilogue& e, const typename V::Element* tile, int64_t row, int64_t rows,
                 int64_t col, int64_t first, int64_t last) {
  using L = Lanes<V>;
  using T = typename V::Element;
  for (int64_t j = first; j < last; j += V::width) {
    for (int64_t i = 0; i < rows; i += V::width) {
      if (row + i + V::width <= col + j + 1) continue;  // all on or above the diagonal
      V lines[V::width];
#pragma GCC unroll 16
      for (int l = 0; l < V::width; ++l) {
        lines[l] = i + l < rows ? V::load(tile + (i + l) * kCols + j) : V::zero();
      }
      transpose(lines);
      for (int64_t l = 0; l < V::width && j + l < last; ++l) {
        const int64_t to = (col + j + l) * e.d.row_stride;
        const int64_t above = col + j + l - row + 1;  // the first row strictly below the diagonal
        if (e.d.col_stride == 1 && above <= i) {
          L::store(lines[l], e.d, to + row + i, rows - i);
          continue;
        }
        T line[V::width];
        lines[l].store(line);
        for (int64_t x = above > i ? above - i : 0; x < V::width && i + x < rows; ++x) {
          L::put(line[x], e.d, to + (row + i + x) * e.d.col_stride);
        }
      }
    }
  }
}

// Traits of a kernel of vectors: Vec (accumulator vectors), Unit (a packed unit), kRows, kVectors,
// `static Operand broadcast(const Unit*)`, `load(const Unit*)`, `multiply_add(Operand, Operand, Vec)`.
// The first kRows × kVectors of a tile, which is Traits::kVectors wide.
template <typename Traits, int kRows, int kVectors>
void multiply_panels(const typename Traits::Unit* left, const typename Traits::Unit* right,
                     int64_t units, typename Traits::Vec::Element* tile, bool first,
                     const Prefetch& next) {
  using V = typename Traits::Vec;
  constexpr int kCols = Traits::kVectors * V::width;
  V sum[kRows][kVectors];
#pragma GCC unroll 32
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[i][v] = V::zero();
  }
  const std::byte* next0 = next.from[0];
  const std::byte* next1 = next.from[1];
  // Each addition to an address may take a port from the multiply-adds: there are fewer in unrolled steps.
#pragma GCC unroll 4
  for (int64_t k = 0; k < units; ++k, left += Traits::kRows, right += kCols) {
    __builtin_prefetch(next0, 0, 2);
    __builtin_prefetch(next1, 0, 2);
    next0 += next.step[0];
    next1 += next.step[1];
    typename Traits::Operand line[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) line[v] = Traits::load(right + v * V::width);
#pragma GCC unroll 32
    for (int i = 0; i < kRows; ++i) {
      const typename Traits::Operand x = Traits::broadcast(left + i);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[i][v] = Traits::multiply_add(x, line[v], sum[i][v]);
    }
  }
#pragma GCC unroll 32
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      typename V::Element* to = tile + i * kCols + v * V::width;
      if (!first) sum[i][v] = sum[i][v] + V::load(to);
      sum[i][v].store(to);
    }
  }
}

// As much of a tile as holds `rows` rows, with one vector of columns or all.
template <typename Traits, int kVectors>
void multiply_rows(const typename Traits::Unit* left, const typename Traits::Unit* right,
                   int64_t units, typename Traits::Vec::Element* tile, bool first, int64_t rows,
                   const Prefetch& next) {
  if (rows <= 4 && Traits::kRows > 4) {
    multiply_panels<Traits, 4, kVectors>(left, right, units, tile, first, next);
  } else if (rows <= 8 && Traits::kRows > 8) {
    multiply_panels<Traits, 8, kVectors>(left, right, units, tile, first, next);
  } else {
    multiply_panels<Traits, Traits::kRows, kVectors>(left, right, units, tile, first, next);
  }
}

// What `block` asks of a tile: Vec, kRows, kCols, the bytes of a panel's unit, and `multiply`, which
// adds the products of two panels to a tile (or starts it anew) as far as it holds rows and columns.
template <typename Traits>
struct VectorTile {
  using Vec = typename Traits::Vec;
  static constexpr int kRows = Traits::kRows;
  static constexpr int kCols = Traits::kVectors * Vec::width;
  static constexpr int64_t kUnitBytesA = kRows * sizeof(typename Traits::Unit);
  static constexpr int64_t kUnitBytesB = kCols * sizeof(typename Traits::Unit);
  static void multiply(const std::byte* left, const std::byte* right, int64_t units,
                       typename Vec::Element* tile, bool first, int64_t rows, int64_t cols,
                       const Prefetch& next) {
    const auto* a = reinterpret_cast<const typename Traits::Unit*>(left);
    const auto* b = reinterpret_cast<const typename Traits::Unit*>(right);
    if (cols <= Vec::width) {
      multiply_rows<Traits, 1>(a, b, units, tile, first, rows, next);
    } else {
      multiply_rows<Traits, Traits::kVectors>(a, b, units, tile, first, rows, next);
    }
  }
};

// The next panel of A while a block's first column of tiles is computed; of the next panel of B each
// tile fetches its share.
template <typename Tile>
Prefetch next_panels(const BlockArgs& args, const std::byte* a, const std::byte* b, int64_t p,
                     int64_t q) {
  const int64_t share = Tile::kUnitBytesB / args.row_panels;
  Prefetch next = {{a, b}, {0, 0}};
  if (q == 0 && p + 1 < args.row_panels) {
    next.from[0] = a + args.units * Tile::kUnitBytesA;
    next.step[0] = Tile::kUnitBytesA;
  }
  if (q + 1 < args.col_panels) {
    next.from[1] = b + args.units * (Tile::kUnitBytesB + p * share);
    next.step[1] = share;
  }
  return next;
}

template <typename Tile>
void block(const BlockArgs& args) {
  using V = typename Tile::Vec;
  using T = typename V::Element;
  constexpr int kRows = Tile::kRows;
  constexpr int kCols = Tile::kCols;
  const Epilogue& e = *args.epilogue;
  const auto* b = static_cast<const std::byte*>(args.b);
  alignas(64) T scratch[kRows * kCols];
  for (int64_t q = 0; q < args.col_panels; ++q, b += args.units * Tile::kUnitBytesB) {
    const auto* a = static_cast<const std::byte*>(args.a);
    const int64_t col = args.col + q * kCols;
    const int64_t cols = e.d.cols - col < kCols ? e.d.cols - col : kCols;
    for (int64_t p = 0; p < args.row_panels; ++p, a += args.units * Tile::kUnitBytesA) {
      const int64_t row = args.row + p * kRows;
      const int64_t rows = e.d.rows - row < kRows ? e.d.rows - row : kRows;
      if (e.symmetric && row + kRows <= col) continue;
      T* tile = args.sums == nullptr
                    ? scratch
                    : static_cast<T*>(args.sums) + (q * args.row_panels + p) * kRows * kCols;
      Tile::multiply(a, b, args.units, tile, args.first, rows, cols,
                     next_panels<Tile>(args, a, b, p, q));
      if (!args.last) continue;
      if (const auto finish = choose_lines<V, kCols>(e, row, col, cols)) {
        finish(e, tile, row, 0, rows, col);
      } else {
        finish_tile<V, kCols>(e, tile, row, rows, col, cols);
      }
      if (e.symmetric) mirror_tile<V, kCols>(e, tile, row, rows, col, 0, cols);
    }
  }
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
