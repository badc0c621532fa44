// f32 panels with tile registers: A's values become sums of three bf16 ones on their way through L1,
// h + m + l (8 bits of fraction each: exact), and six of the nine products of parts are added up, as in
// gemm/amx.cpp. What is left out is below 2⁻²² of a product and of either sign. Rough products take h and
// m and three products: within 2⁻¹⁵. Floor: A read once, or 12 (6) ·rows·cols·width FLOPs at the tile rate.
//
// A is taken in strips of 32 lines (rows of A, or columns for the transpose), along which the sum runs in
// units of 32. While one chunk of units is multiplied, the next is split by the vector unit, which is idle
// otherwise, and the one after that is fetched: so A is read at memory's pace and written nowhere. The
// panel is split once a call. A's rows are read in long runs in both directions: whole, or one unit of rows
// across a task's columns.
// Infinities and NaN have no such parts: they give NaN.

#include "cpu/simd/amx.h"

#include <cstring>

#include "cpu/simd/avx512.h"

#define PALIMPSEST_LEVEL amx
#include "cpu/panel/parts.inl"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace amx {
namespace {

constexpr int64_t kStrip = 32;
constexpr int64_t kUnit = 32;
constexpr int64_t kTileFloats = 256;
constexpr int64_t kPlaneBytes = 2 * kTileBytes;  // of a strip
constexpr int kAhead = 3;      // chunks between the one split and the one fetched
constexpr int64_t kChunk = 2;  // units
constexpr int64_t kSmallest = 64;  // sides below it are mostly padding

template <int kAt>
struct Tile {
  static constexpr int at = kAt;
};

using Multiply = decltype(PanelKernels<float>::multiply);
Multiply multiply_add, multiply_add_transposed;

// Two vectors become one row of a tile in each plane: pairs of bf16, the one's in the lower halves.
template <int kPlanes>
inline void split(__m512 x, __m512 y, __m512i (&planes)[kPlanes]) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  const __m512i half = _mm512_set1_epi32(0x8000);
  const auto bits = [](__m512 v) { return _mm512_castps_si512(v); };
  // (low >> 16) | (high & upper)
  const auto pair = [&](__m512i low, __m512i high) {
    return _mm512_ternarylogic_epi32(_mm512_srli_epi32(low, 16), high, upper, 0xf8);
  };
  // The first part rounded, so that what follows has either sign.
  const __m512i xh = _mm512_and_si512(_mm512_add_epi32(bits(x), half), upper);
  const __m512i yh = _mm512_and_si512(_mm512_add_epi32(bits(y), half), upper);
  planes[0] = pair(xh, yh);
  x = _mm512_sub_ps(x, _mm512_castsi512_ps(xh));
  y = _mm512_sub_ps(y, _mm512_castsi512_ps(yh));
  planes[1] = pair(bits(x), bits(y));
  if constexpr (kPlanes == 2) return;
  x = _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_and_si512(bits(x), upper)));
  y = _mm512_sub_ps(y, _mm512_castsi512_ps(_mm512_and_si512(bits(y), upper)));
  planes[kPlanes - 1] = pair(bits(x), bits(y));
}

// How one task goes through its part of A.
struct Plan {
  const float* a;
  int64_t stride;
  int64_t first, lines;  // a multiple of kStrip begins each strip
  int64_t begin, depth;  // the part of the sum; `begin` is a multiple of kUnit
  const std::byte* panel;
  int64_t tiles;  // of 16 columns of the panel
  float* sums;    // of line `first`, column 0
  int64_t sums_stride;
  float* edge;  // sums of a strip that is not whole, for products with A itself
  int64_t block_units;  // of the sum, before the next strip

  int64_t units() const { return divide_up(depth, kUnit); }
  int64_t strips() const { return divide_up(lines, kStrip); }
};

// A chunk of units: blocks of the sum, strips within a block, chunks within a strip.
struct Cursor {
  int64_t block = 0, strip = 0, unit = 0;

  int64_t block_units(const Plan& plan) const {
    return smaller(plan.block_units, plan.units() - block * plan.block_units);
  }
  int64_t units(const Plan& plan) const { return smaller(kChunk, block_units(plan) - unit); }
  // From the task's beginning.
  int64_t first_unit(const Plan& plan) const { return block * plan.block_units + unit; }
  bool done(const Plan& plan) const { return block * plan.block_units >= plan.units(); }
  void move(const Plan& plan) {
    if (!done(plan)) advance(plan);
  }
  void advance(const Plan& plan) {
    unit += kChunk;
    if (unit < block_units(plan)) return;
    unit = 0;
    if (++strip < plan.strips()) return;
    strip = 0;
    ++block;
  }
};

// Splits a chunk, row of tiles by row of tiles, while another one is multiplied.
template <bool kTransposed, int kPlanes>
class Splitter {
 public:
  static constexpr int64_t kUnitBytes = kPlanes * kPlaneBytes;

  explicit Splitter(const Plan& plan) : plan_(plan) {}

  // `next`: the chunk to be fetched meanwhile.
  void start(const Cursor& chunk, const Cursor& next, std::byte* to) {
    chunk_ = chunk;
    fetch_ = next;
    fetch_units_ = next.done(plan_) ? 0 : next.units(plan_);
    begin_ = to;
    unit_ = -1;
    left_ = 0;
    rows_ = chunk.done(plan_) ? 0 : chunk.units(plan_) * 2 * kTileRows;
  }

  // kRows rows more, an even number that divides a unit's 32.
  template <int kRows>
  void step() {
    if (rows_ == 0) return;
    if (left_ == 0) next_unit();
    rows_ -= kRows;
    left_ -= kRows;
    some<kRows>();
  }

  void finish() {
    while (rows_ > 0) step<2>();
  }

 private:
  // Rows of both tiles in turn: for the transpose they lie side by side.
  template <int kRows>
  void some() {
    // Copies: what is written might be these.
    const float* from = from_;
    const float* fetched = fetched_;
    std::byte* to = to_;
    const int64_t stride = stride_;
    const int64_t partner = partner_;
    const int64_t tile_step = tile_step_;
    const int64_t fetched_stride = plan_.stride;
    const int64_t far = 16 * fetched_stride;
#pragma GCC unroll 8
    for (int i = 0; i < kRows / 2; ++i) {
#pragma GCC unroll 2
      for (int tile = 0; tile < 2; ++tile) {
        const float* const low = from + tile * tile_step;
        __m512i planes[kPlanes];
        split(_mm512_loadu_ps(low), _mm512_loadu_ps(low + partner), planes);
        for (int p = 0; p < kPlanes; ++p) {
          _mm512_store_si512(to + p * kPlaneBytes + tile * kTileBytes, planes[p]);
        }
      }
      // Two lines of either half of the unit.
      __builtin_prefetch(fetched, 0, 2);
      __builtin_prefetch(fetched + 16, 0, 2);
      __builtin_prefetch(fetched + far, 0, 2);
      __builtin_prefetch(fetched + far + 16, 0, 2);
      to += kTileRowBytes;
      from += stride;
      fetched += fetched_stride;
    }
    from_ = from;
    to_ = to;
    fetched_ = fetched;
  }

  const float* address(const Cursor& at, int64_t unit) const {
    const int64_t line = plan_.first + at.strip * kStrip;
    const int64_t k = plan_.begin + (at.first_unit(plan_) + unit) * kUnit;
    return kTransposed ? plan_.a + k * plan_.stride + line : plan_.a + line * plan_.stride + k;
  }

  void next_unit() {
    ++unit_;
    left_ = 2 * kTileRows;
    to_ = begin_ + unit_ * kUnitBytes;
    from_ = address(chunk_, unit_);
    stride_ = plan_.stride;
    const int64_t lines = smaller(kStrip, plan_.lines - chunk_.strip * kStrip);
    const int64_t depth = smaller(kUnit, plan_.depth - (chunk_.first_unit(plan_) + unit_) * kUnit);
    fetched_ = fetch_units_ == 0 ? from_ : address(fetch_, smaller(unit_, fetch_units_ - 1));
    if (lines < kStrip || depth < kUnit) {
      const int64_t rows = kTransposed ? depth : lines;
      const int64_t cols = kTransposed ? lines : depth;
      std::memset(rest_, 0, sizeof rest_);
      for (int64_t i = 0; i < rows; ++i) {
        std::memcpy(rest_ + i * kUnit, from_ + i * plan_.stride, static_cast<size_t>(cols) * sizeof(float));
      }
      from_ = rest_;
      stride_ = kUnit;
    }
    partner_ = kTransposed ? 16 * stride_ : 16;
    tile_step_ = kTransposed ? 16 : 16 * stride_;
  }

  const Plan& plan_;
  Cursor chunk_, fetch_;
  const float* from_ = nullptr;
  const float* fetched_ = nullptr;
  std::byte* begin_ = nullptr;
  std::byte* to_ = nullptr;
  int64_t fetch_units_ = 0, unit_ = 0, left_ = 0, rows_ = 0;
  int64_t stride_ = 0, partner_ = 0, tile_step_ = 0;
  alignas(64) float rest_[kUnit * kUnit];
};

template <bool kTransposed, int kSum, int kLine, int kColumn>
inline void dot() {
  if constexpr (kTransposed) {
    tile_dot_bf16<kSum, kColumn, kLine>();
  } else {
    tile_dot_bf16<kSum, kLine, kColumn>();
  }
}

// Tile 2s + p of the sums belongs to tile s of the strip (4 + s) and tile p of the panel (6 + p).
template <bool kTransposed, int kTiles>
inline void dot_tiles() {
  dot<kTransposed, 0, 4, 6>();
  if constexpr (kTiles == 2) dot<kTransposed, 1, 4, 7>();
  dot<kTransposed, 2, 5, 6>();
  if constexpr (kTiles == 2) dot<kTransposed, 3, 5, 7>();
}

inline void load_strip(const std::byte* plane) {
  tile_load<4>(plane);
  tile_load<5>(plane + kTileBytes);
}

template <int kTiles>
inline void load_panel(const std::byte* plane) {
  // Past L1, which holds the strip.
  tile_stream<6>(plane);
  if constexpr (kTiles == 2) tile_stream<7>(plane + kTileBytes);
}

// The sums of a strip and kTiles tiles of the panel: rows of y, or for the transpose tile after tile.
template <bool kTransposed, int kTiles, typename F>
inline void each_sum(float* sums, int64_t stride, const F& f) {
  const int64_t line = kTransposed ? kTileFloats : 16 * stride;
  const int64_t column = kTransposed ? 2 * kTileFloats : 16;
  f(Tile<0>{}, sums);
  if constexpr (kTiles == 2) f(Tile<1>{}, sums + column);
  f(Tile<2>{}, sums + line);
  if constexpr (kTiles == 2) f(Tile<3>{}, sums + line + column);
}

// A chunk of a strip and kTiles tiles of the panel; kRows rows of the next chunk are split after each
// plane's products.
template <bool kTransposed, int kPlanes, int kTiles, int kRows>
void multiply_chunk(const std::byte* strip, const std::byte* panel, int64_t panel_unit, int64_t units,
                    float* sums, int64_t stride, bool load, bool store,
                    Splitter<kTransposed, kPlanes>& next) {
  constexpr int64_t kPanelPlane = kTiles * kTileBytes;
  const int64_t bytes = stride * static_cast<int64_t>(sizeof(float));
  if (load) {
    each_sum<kTransposed, kTiles>(sums, stride, [&](auto tile, float* p) { tile_stream<tile.at>(p, bytes); });
  }
  const auto products = [&]() __attribute__((always_inline)) {
    dot_tiles<kTransposed, kTiles>();
    next.template step<kRows>();
  };
  for (int64_t u = 0; u < units; ++u, strip += kPlanes * kPlaneBytes, panel += panel_unit) {
    load_strip(strip);  // h
    if constexpr (kPlanes == 3) {
      load_panel<kTiles>(panel + 2 * kPanelPlane);  // l
      products();
    }
    load_panel<kTiles>(panel + kPanelPlane);  // m
    products();
    if constexpr (kPlanes == 3) {
      load_strip(strip + kPlaneBytes);  // m
      products();
      load_panel<kTiles>(panel);  // h
      products();
      load_strip(strip + 2 * kPlaneBytes);  // l
      products();
      load_strip(strip);  // h
      products();
    } else {
      load_panel<kTiles>(panel);  // h
      products();
      load_strip(strip + kPlaneBytes);  // m
      products();
    }
  }
  if (store) {
    each_sum<kTransposed, kTiles>(sums, stride, [&](auto tile, float* p) { tile_store<tile.at>(p, bytes); });
  }
}

// kGroups: of two tiles of the panel.
template <bool kTransposed, int kPlanes, int kGroups>
void run_groups(const Plan& plan) {
  constexpr int64_t kUnitBytes = kPlanes * kPlaneBytes;
  // A unit's 32 rows in the steps that it takes to multiply one.
  constexpr int kSteps = (kPlanes == 3 ? 6 : 3) * kGroups;
  constexpr int kRows = kSteps >= 16 ? 2 : kSteps >= 8 ? 4 : kSteps >= 4 ? 8 : 16;
  const TileScope scope;
  Workspace& local = Workspace::local();
  const Workspace::Scope inner(local);
  std::byte* buffer = reinterpret_cast<std::byte*>(local.take<float>(kChunk * kUnitBytes / 2));
  std::byte* other = buffer + kChunk * kUnitBytes;
  const int64_t panel_unit = plan.tiles * kPlanes * kTileBytes;
  Splitter<kTransposed, kPlanes> splitter(plan);
  Cursor now, next, ahead;
  next.advance(plan);
  for (int i = 0; i <= kAhead; ++i) ahead.move(plan);
  splitter.start(now, next, buffer);
  splitter.finish();
  while (!now.done(plan)) {
    splitter.start(next, ahead, other);
    const int64_t units = now.units(plan);
    const bool first = now.unit == 0;
    const bool last = now.unit + units == now.block_units(plan);
    const int64_t line = now.strip * kStrip;
    const bool whole = kTransposed || line + kStrip <= plan.lines;
    float* sums = !whole ? plan.edge : plan.sums + line * plan.tiles * 16;
    const std::byte* panel = plan.panel + now.first_unit(plan) * panel_unit;
    for (int64_t g = 0; g < kGroups; ++g, panel += kPlanes * kPlaneBytes) {
      const bool load = kGroups > 1 || first;
      const bool store = kGroups > 1 || last;
      (2 * g + 1 < plan.tiles ? multiply_chunk<kTransposed, kPlanes, 2, kRows>
                              : multiply_chunk<kTransposed, kPlanes, 1, kRows>)(
          buffer, panel, panel_unit, units, sums, plan.sums_stride, load, store, splitter);
      sums += kTransposed ? 4 * kTileFloats : 32;
    }
    splitter.finish();
    std::byte* const done = buffer;
    buffer = other;
    other = done;
    now = next;
    next.move(plan);
    ahead.move(plan);
  }
}

template <bool kTransposed, int kPlanes>
void run_task(const Plan& plan) {
  if (plan.tiles <= 2) return run_groups<kTransposed, kPlanes, 1>(plan);
  if (plan.tiles <= 4) return run_groups<kTransposed, kPlanes, 2>(plan);
  run_groups<kTransposed, kPlanes, 3>(plan);
}

// The panel (depth × width) in planes: for each unit its tiles in pairs, planes h, m, l of a pair. Tiles of
// a right factor have a row a pair of k's; a left factor's are their transposes.
template <bool kTransposed, int kPlanes>
const std::byte* split_panel(Context& context, const float* p, int64_t depth, int64_t width) {
  const int64_t units = divide_up(depth, kUnit);
  const int64_t tiles = width / 16;
  auto* const to = reinterpret_cast<std::byte*>(
      context.workspace.take<float>(units * tiles * kPlanes * kTileBytes / 4));
  context.parallel_chunks(units, 8, [&](int64_t begin, int64_t end) {
    alignas(64) static constexpr float kZero[16] = {};
    for (int64_t u = begin; u < end; ++u) {
      for (int64_t t = 0; t < tiles; ++t) {
        __m512i planes[kPlanes][16];
        for (int64_t i = 0; i < 16; ++i) {
          const auto row = [&](int64_t k) { return k < depth ? p + k * width + t * 16 : kZero; };
          __m512i parts[kPlanes];
          split(_mm512_loadu_ps(row(u * kUnit + i)), _mm512_loadu_ps(row(u * kUnit + i + 16)), parts);
          for (int plane = 0; plane < kPlanes; ++plane) planes[plane][i] = parts[plane];
        }
        const int64_t together = smaller(2, tiles - t / 2 * 2);
        std::byte* tile = to + ((u * tiles + t / 2 * 2) * kPlanes + t % 2) * kTileBytes;
        for (int plane = 0; plane < kPlanes; ++plane, tile += together * kTileBytes) {
          if (kTransposed) avx512::transpose16(planes[plane]);
          for (int i = 0; i < 16; ++i) _mm512_store_si512(tile + i * kTileRowBytes, planes[plane][i]);
        }
      }
    }
  });
  return to;
}

template <int kPlanes>
void multiply(Context& context, const float* a, int64_t stride, int64_t rows, int64_t cols,
              const float* p, int64_t width, float* y) {
  if (rows < kSmallest || cols < kSmallest) {
    return multiply_add(context, a, stride, rows, cols, p, width, y);
  }
  const Workspace::Scope scope(context.workspace);
  const std::byte* const panel = split_panel<false, kPlanes>(context, p, cols, width);
  const int64_t grain = rows >= 2048 ? 256 : rows >= 512 ? 64 : kStrip;
  context.parallel_chunks(rows, grain, [&](int64_t begin, int64_t end) {
    alignas(64) float edge[kStrip * kPanelWidth] = {};
    float* const to = y + begin * width;
    const int64_t whole = (end - begin) / kStrip * kStrip;
    std::memset(to, 0, static_cast<size_t>(whole * width) * sizeof(float));
    run_task<false, kPlanes>({a, stride, begin, end - begin, 0, cols, panel, width / 16, to, width, edge, 128});
    std::memcpy(to + whole * width, edge, static_cast<size_t>((end - begin - whole) * width) * sizeof(float));
  });
}

template <int kPlanes>
void multiply_transposed(Context& context, const float* a, int64_t stride, int64_t rows, int64_t cols,
                         const float* q, int64_t width, float* z) {
  if (rows < kSmallest || cols < kSmallest) {
    return multiply_add_transposed(context, a, stride, rows, cols, q, width, z);
  }
  const Workspace::Scope scope(context.workspace);
  const std::byte* const panel = split_panel<true, kPlanes>(context, q, rows, width);
  const int64_t chunk = cols >= 4096 ? 512 : cols >= 512 ? 128 : 64;
  const auto task = [&](int64_t first, int64_t n, int64_t begin, int64_t end, float* to) {
    Workspace& local = Workspace::local();
    const Workspace::Scope inner(local);
    float* const sums = local.take<float>(width * chunk);
    std::memset(sums, 0, static_cast<size_t>(width * chunk) * sizeof(float));
    run_task<true, kPlanes>({a, stride, first, n, begin, end - begin,
                             panel + begin / kUnit * (width / 16) * kPlanes * kTileBytes, width / 16,
                             sums, 16, nullptr, 1});
    for (int64_t c = 0; c < n; c += 16) {
      for (int64_t j = 0; j < width; j += 16) {
        __m512i r[16];
        const float* const tile =
            sums + c / kStrip * kStrip * width + (j / 16 * 2 + c / 16 % 2) * kTileFloats;
        for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(tile + i * 16);
        avx512::transpose16(r);
        for (int64_t i = 0; i < smaller(16, n - c); ++i) _mm512_storeu_si512(to + (c + i) * width + j, r[i]);
      }
    }
  };
  in_parts(context, rows, cols, width, chunk, kUnit, z, task);
}

}  // namespace
}  // namespace amx

void fill_panel_amx(KernelTable& table) {
  amx::multiply_add = table.panel32.multiply;
  amx::multiply_add_transposed = table.panel32.multiply_transposed;
  table.panel32.multiply = amx::multiply<3>;
  table.panel32.multiply_transposed = amx::multiply_transposed<3>;
  table.panel32.rough_multiply = amx::multiply<2>;
  table.panel32.rough_multiply_transposed = amx::multiply_transposed<2>;
}

}  // namespace palimpsest::cpu
