// Small products, read where they lie: below some hundred rows and columns, packing takes as long as
// multiplying. Floor: 2mnk FLOPs at the FMA rate, and D written once.
//
// Rows: a tile of D stays in registers while lines of B, along n, and single values of A are loaded. A is
// read where it lies, and so is B if its lines lie along n; else each strip of it becomes a panel first.
// Dots: for a few lines of A along k, and B's along k too (x·Wᵀ): a tile of D is kDown × kAcross vectors of
// partial sums, lane by lane, added up at the end. B is read once and not copied.
//
// Which of the two, and the tasks, follow from sizes and strides alone (small_form in driver.cpp).
#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "cpu/gemm/kernels.inl"
#include "palimpsest/context.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

// One tile of D from operands in place. Steps of A in bytes, of the others in elements.
template <typename T>
struct SmallTile {
  const char* a;
  int64_t a_row, a_step;
  const T* b;
  int64_t b_step;
  int64_t b_last;  // dots: the last column that there is
  int64_t depth;
  T* d;
  int64_t d_row;
  T alpha;
  const T* bias;  // a value a column, or null
  bool relu;
};

template <typename V, int kRows, int kVectors>
void rows_tile(const SmallTile<typename V::Element>& t) {
  using T = typename V::Element;
  V sum[kRows][kVectors];
#pragma GCC unroll 32
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[i][v] = V::zero();
  }
  // Five lines of A from one pointer: what an address of base, index and scale reaches.
  constexpr int kGroups = (kRows + 4) / 5;
  const char* a[kGroups];
  for (int g = 0; g < kGroups; ++g) a[g] = t.a + 5 * g * t.a_row;
  const int64_t row = t.a_row;
  const T* b = t.b;
  for (int64_t k = 0; k < t.depth; ++k, b += t.b_step) {
    V line[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) line[v] = V::load(b + v * V::width);
#pragma GCC unroll 32
    for (int i = 0; i < kRows; ++i) {
      const V x = V::set(*reinterpret_cast<const T*>(a[i / 5] + (i % 5) * row));
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[i][v] = fma(x, line[v], sum[i][v]);
    }
#pragma GCC unroll 8
    for (int g = 0; g < kGroups; ++g) a[g] += t.a_step;
  }
  // Locals: a store might change what `t` points to, as far as the compiler knows.
  const V alpha = V::set(t.alpha);
  const T* const bias = t.bias;
  const bool relu = t.relu;
  const int64_t d_row = t.d_row;
  T* d = t.d;
#pragma GCC unroll 32
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[i][v] = sum[i][v] * alpha;
  }
  if (bias != nullptr) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const V shift = V::load(bias + v * V::width);
#pragma GCC unroll 32
      for (int i = 0; i < kRows; ++i) sum[i][v] = sum[i][v] + shift;
    }
  }
  if (relu) {
#pragma GCC unroll 32
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[i][v] = max(V::zero(), sum[i][v]);
    }
  }
#pragma GCC unroll 32
  for (int i = 0; i < kRows; ++i, d += d_row) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[i][v].store(d + v * V::width);
  }
}

template <typename T>
using Tile = void (*)(const SmallTile<T>&);

template <typename V, int kVectors, int... kRows>
constexpr std::array<Tile<typename V::Element>, sizeof...(kRows)> rows_tiles(
    std::integer_sequence<int, kRows...>) {
  return {rows_tile<V, kRows + 1, kVectors>...};
}

// The sums of some vectors' lanes, side by side; a level may have something better beside its types.
template <typename V, int kCount>
void store_sums(const V (&x)[kCount], typename V::Element* p) {
  for (int i = 0; i < kCount; ++i) p[i] = sum(x[i]);
}

template <typename V, int kAcross, int kDown>
void dots_tile(const SmallTile<typename V::Element>& t) {
  using T = typename V::Element;
  V sums[kDown][kAcross];
  const T* a[kDown];
  const T* b[kAcross];
#pragma GCC unroll 8
  for (int i = 0; i < kDown; ++i) {
    a[i] = reinterpret_cast<const T*>(t.a + i * t.a_row);
#pragma GCC unroll 4
    for (int j = 0; j < kAcross; ++j) sums[i][j] = V::zero();
  }
#pragma GCC unroll 4
  for (int j = 0; j < kAcross; ++j) b[j] = t.b + std::min<int64_t>(j, t.b_last) * t.b_step;
  const auto add = [&](const auto& load) {
    V right[kAcross];
#pragma GCC unroll 4
    for (int j = 0; j < kAcross; ++j) right[j] = load(b[j]);
#pragma GCC unroll 8
    for (int i = 0; i < kDown; ++i) {
      const V left = load(a[i]);
#pragma GCC unroll 4
      for (int j = 0; j < kAcross; ++j) sums[i][j] = fma(left, right[j], sums[i][j]);
    }
  };
  const int64_t whole = t.depth / V::width * V::width;
  for (int64_t k = 0; k < whole; k += V::width) {
    add([k](const T* p) { return V::load(p + k); });
  }
  if (whole < t.depth) {
    add([&](const T* p) { return V::load(p + whole, t.depth - whole); });
  }
#pragma GCC unroll 8
  for (int i = 0; i < kDown; ++i) store_sums(sums[i], t.d + i * t.d_row);
}

// Rows of a tile: as few tiles as `most` allows, of nearly one height.
inline int64_t even_height(int64_t rows, int64_t most) {
  const int64_t tiles = (rows + most - 1) / most;
  return (rows + tiles - 1) / tiles;
}

// kRows × kVectors: the tile that the registers hold.
template <typename V, int kRows, int kVectors>
class SmallProduct {
 public:
  using T = typename V::Element;
  SmallProduct(Context& context, const GemmArgs& args, SmallForm form, void (*pack)(const PackArgs&))
      : context_(context), args_(args), m_(in_rows(args)), dots_(form == SmallForm::dots),
        in_place_(m_.b.col_stride == 1 && m_.b.row_stride * static_cast<int64_t>(sizeof(T)) % 4096 != 0), pack_(pack) {}

  void run() {
    const int64_t rows = m_.d.rows, cols = m_.d.cols;
    const int64_t work = rows * cols * m_.a.cols;
    // Strips of rows where there are enough: elementwise operations cut D so too. Columns, in whole tiles,
    // where there are not or where each strip is made a panel first.
    const bool by_cols = dots_ ? cols >= rows : rows < 4 * kRows || (!in_place_ && cols >= 4 * kStrip);
    const int64_t length = by_cols ? cols : rows;
    const int64_t unit = by_cols ? kStrip : 1;
    const int64_t most = by_cols ? kStrips : std::clamp<int64_t>(rows / (kRows / 2), 1, kStrips);
    const int64_t strips = std::clamp<int64_t>(work / kWork, 1, most);
    const int64_t width = ((length + strips - 1) / strips + unit - 1) / unit * unit;
    const int64_t parts = (length + width - 1) / width;
    const int64_t total = parts * args_.batch;
    const int64_t each = std::max<int64_t>(1, kWork * parts / std::max<int64_t>(1, work));
    context_.parallel_chunks(total, each, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t from = i % parts * width;
        if (by_cols) {
          compute(i / parts, 0, rows, from, std::min(cols, from + width));
        } else {
          compute(i / parts, from, std::min(rows, from + width), 0, cols);
        }
      }
    });
  }

 private:
  static constexpr int64_t kWork = 1 << 18;  // multiply-adds that are worth a thread's attention
  static constexpr int64_t kStrips = 8;
  static constexpr int64_t kStrip = kVectors * V::width;
  static constexpr int64_t kDown = kRows > 6 ? 6 : 3;

  static T* element(const Matrix& m, int64_t batch, int64_t row, int64_t col) {
    return static_cast<T*>(m.data) + batch * m.batch_stride + row * m.row_stride + col * m.col_stride;
  }

  // Rows [top, bottom) × columns [left, right) of one product of the batch.
  void compute(int64_t batch, int64_t top, int64_t bottom, int64_t left, int64_t right) {
    Matrix d = m_.d, c = m_.c;
    d.data = element(d, batch, 0, 0);
    if (c.data != nullptr) c.data = element(c, batch, 0, 0);
    const Epilogue e = {d, c, alpha_of(args_, batch), beta_of(args_, batch), args_.bias, m_.swapped,
                        args_.activation, false, false};
    dots_ ? compute_dots(e, batch, top, bottom, left, right) : compute_rows(e, batch, top, bottom, left, right);
  }

  // Few rows leave registers for more columns.
  void compute_rows(const Epilogue& e, int64_t batch, int64_t top, int64_t bottom, int64_t left, int64_t right) {
    if (bottom - top <= kRows / 4) left = whole_tiles<4 * kVectors, kRows / 4>(e, batch, top, bottom, left, right);
    if (bottom - top <= kRows / 2) left = whole_tiles<2 * kVectors, kRows / 2>(e, batch, top, bottom, left, right);
    left = whole_tiles<kVectors, kRows>(e, batch, top, bottom, left, right);
    Workspace& local = Workspace::local();
    const Workspace::Scope scope(local);
    T* const panel = left < right ? local.take<T>(m_.a.cols * kStrip) : nullptr;
    for (; left < right; left += kStrip) {
      const int64_t cols = std::min(kStrip, right - left);
      PackArgs pack;
      pack.dtype = m_.b.dtype;
      pack.line_stride = m_.b.col_stride;
      pack.k_stride = m_.b.row_stride;
      pack.source = element(m_.b, batch, 0, left);
      pack.lines = cols;
      pack.depth = m_.a.cols;
      pack.panel = panel;
      pack_(pack);
      if (cols <= V::width) {
        column<1, kRows>(e, batch, top, bottom, left, cols, panel, kStrip);
      } else {
        column<kVectors, kRows>(e, batch, top, bottom, left, cols, panel, kStrip);
      }
    }
  }

  // As many columns of tiles as can be read from B in place; returns the first column that is left.
  template <int kWide, int kHigh>
  int64_t whole_tiles(const Epilogue& e, int64_t batch, int64_t top, int64_t bottom, int64_t left, int64_t right) {
    constexpr int64_t kCols = kWide * V::width;
    if (!in_place_) return left;
    for (; left + kCols <= right; left += kCols) {
      column<kWide, kHigh>(e, batch, top, bottom, left, kCols, element(m_.b, batch, 0, left), m_.b.row_stride);
    }
    return left;
  }

  // A column of tiles, from lines of B of full width.
  template <int kWide, int kHigh>
  void column(const Epilogue& e, int64_t batch, int64_t top, int64_t bottom, int64_t col, int64_t cols, const T* b,
              int64_t b_step) {
    static constexpr auto kTiles = rows_tiles<V, kWide>(std::make_integer_sequence<int, kHigh>());
    constexpr int64_t kCols = kWide * V::width;
    const bool direct = cols == kCols && (e.c.data == nullptr || e.beta == 0) && !e.bias_per_row &&
                        (e.activation == Activation::none || e.activation == Activation::relu);
    const int64_t height = even_height(bottom - top, kHigh);
    alignas(64) T tile[kHigh * kCols];
    SmallTile<T> t{};
    t.a_row = m_.a.row_stride * static_cast<int64_t>(sizeof(T));
    t.a_step = m_.a.col_stride * static_cast<int64_t>(sizeof(T));
    t.b = b;
    t.b_step = b_step;
    t.depth = m_.a.cols;
    t.alpha = direct ? static_cast<T>(e.alpha) : T(1);
    t.bias = direct && e.bias != nullptr ? static_cast<const T*>(e.bias) + col : nullptr;
    t.relu = direct && e.activation == Activation::relu;
    t.d = tile;
    t.d_row = direct ? e.d.row_stride : kCols;
    for (int64_t row = top; row < bottom; row += height) {
      const int64_t rows = std::min(height, bottom - row);
      t.a = reinterpret_cast<const char*>(element(m_.a, batch, row, 0));
      if (direct) t.d = element(e.d, 0, row, col);
      kTiles[static_cast<size_t>(rows - 1)](t);
      if (!direct) finish_tile<V, static_cast<int>(kCols)>(e, tile, row, rows, col, cols);
    }
  }

  // Some lines of A stay in L1 while those of B pass by, four at a time.
  void compute_dots(const Epilogue& e, int64_t batch, int64_t top, int64_t bottom, int64_t left, int64_t right) {
    static constexpr auto kFour = dots_tiles<4>(std::make_integer_sequence<int, kDown>());
    static constexpr auto kOne = dots_tiles<1>(std::make_integer_sequence<int, kDown>());
    constexpr int64_t kCols = (kStrip + 3) / 4 * 4;  // sums come four at a time
    const int64_t height = even_height(bottom - top, kDown);
    SmallTile<T> t{};
    t.a_row = m_.a.row_stride * static_cast<int64_t>(sizeof(T));
    t.b_step = m_.b.col_stride;
    t.depth = m_.a.cols;
    t.d_row = kCols;
    alignas(64) T tile[kDown * kCols];
    for (int64_t col = left; col < right; col += kCols) {
      const int64_t cols = std::min(kCols, right - col);
      for (int64_t row = top; row < bottom; row += height) {
        const int64_t rows = std::min(height, bottom - row);
        t.a = reinterpret_cast<const char*>(element(m_.a, batch, row, 0));
        for (int64_t j = 0; j < cols; j += 4) {
          t.b = element(m_.b, batch, 0, col + j);
          t.b_last = cols - j - 1;
          t.d = tile + j;
          (t.b_last == 0 ? kOne : kFour)[static_cast<size_t>(rows - 1)](t);
        }
        finish_tile<V, static_cast<int>(kCols)>(e, tile, row, rows, col, cols);
      }
    }
  }

  template <int kAcross, int... kRowsOf>
  static constexpr std::array<Tile<T>, sizeof...(kRowsOf)> dots_tiles(std::integer_sequence<int, kRowsOf...>) {
    return {dots_tile<V, kAcross, kRowsOf + 1>...};
  }

  Context& context_;
  const GemmArgs& args_;
  const Operands m_;
  const bool dots_;
  const bool in_place_;  // B's lines are read where they lie
  void (*const pack_)(const PackArgs&);
};

// `pack_b` makes panels kVectors wide. False where the product is none for this: nothing has been done then.
template <typename V, int kRows, int kVectors>
bool small_product(Context& context, const GemmArgs& args, void (*pack_b)(const PackArgs&)) {
  const SmallForm form = small_form(args);
  if (form == SmallForm::none) return false;
  SmallProduct<V, kRows, kVectors>(context, args, form, pack_b).run();
  return true;
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
