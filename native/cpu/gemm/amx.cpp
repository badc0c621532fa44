// Matrix products with tile registers: tdpbf16ps multiplies 16 rows × 32 k's by 32 k's × 16 columns
// of bf16 and sums in f32, in 16 cycles. D's tile is 2 × 2 tile registers, so that four loads of 1 KB
// (8 cycles each) hide behind four products.
//
// bf16. Floor: 2mnk FLOPs at 1024 a cycle. A panel of B stays in L1 while A streams past it, by loads
// that leave it there (tileloaddt1): 20 units make 40 of L1's 48 KB.
//
// f32. Each value is the sum of three bf16 values h + m + l, exactly (24 = 3 · 8 bits of fraction);
// of the nine products of two such sums six are taken, hh hm mh mm hl lh. What is left out is below
// 2⁻²⁵ of a product, less than f32 rounds away. Floor: 12mnk FLOPs at the bf16 rate, 2.5 times faster
// than the fused multiply-add. Infinities and NaN have no such form: a pack that meets one refuses,
// and the product is done with multiply-adds. (The same idea: Henry, Tang, Heinecke, "Leveraging the
// bfloat16 artificial intelligence datatype for higher-precision computations", ARITH 2019.)
//
// A packed unit is 32 k's of one line (64 bytes a plane); k is padded to whole units with zeros. A
// panel of A holds for each unit and plane two tiles whose rows are lines; a panel of B two tiles
// whose rows are pairs of k's.

#include "cpu/simd/amx.h"

#include "cpu/simd/avx512.h"

#define PALIMPSEST_LEVEL amx
namespace palimpsest::cpu::amx {
using avx512::first_lanes32;
using avx512::first_lanes64;
using avx512::VecF32;
using avx512::VecF64;

namespace {
// vcvtneps2bf16: to nearest, ties to even, like VecF32::store_bf16, but denormals become zero.
void store_rounded(VecF32 x, BFloat16* p, int64_t n) {
  _mm256_mask_storeu_epi16(p, first_lanes32(n),
                           reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v)));
}
}  // namespace
}  // namespace palimpsest::cpu::amx

#include "cpu/gemm/kernels.inl"
#include "cpu/gemm/pack_amx.inl"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace amx {
namespace {

constexpr int kRows = 32;
constexpr int kCols = 32;

// A tile of sums that waits to become D: it does so line by line while the tile after it is
// multiplied, because tile registers and vector registers work at the same time. Only whole lines of
// unit stride; other tiles are finished at once.
class Finishing {
 public:
  void start(const Epilogue& e, float* tile, int64_t row, int64_t rows, int64_t col, int64_t cols) {
    if (choose_lines<VecF32, kCols>(e, row, col, cols) == nullptr) {
      finish_tile<VecF32, kCols>(e, tile, row, rows, col, cols);
      if (e.symmetric) mirror_tile<VecF32, kCols>(e, tile, row, rows, col, 0, cols);
      return;
    }
    e_ = &e;
    tile_ = sums_ = tile;
    lines_left_ = rows;
    row_ = row;
    rows_ = rows;
    col_ = col;
    mirrored_ = e.symmetric ? 0 : kCols;
    alpha_ = _mm512_set1_ps(static_cast<float>(e.alpha));
    beta_ = _mm512_set1_ps(static_cast<float>(e.beta));
    place(e.d, row, col, d_, d_step_);
    const bool narrow = e.d.dtype == DType::bf16;
    streams_ = e.large && (reinterpret_cast<uintptr_t>(d_) | static_cast<uint64_t>(d_step_)) % 64 == 0;
    if (e.c.data == nullptr || e.beta == 0) {
      step_ = narrow ? &lines<true, 0> : &lines<false, 0>;
    } else {
      place(e.c, row, col, c_, c_step_);
      if (e.c.dtype == DType::bf16) step_ = narrow ? &lines<true, 2> : &lines<false, 2>;
      if (e.c.dtype != DType::bf16) step_ = narrow ? &lines<true, 4> : &lines<false, 4>;
    }
  }

  // Some lines more, or a part of the mirror image.
  void step(int64_t count) {
    if (lines_left_ > 0) {
      step_(*this, count);
    } else if (mirrored_ < kCols) {
      mirror_tile<VecF32, kCols>(*e_, tile_, row_, rows_, col_, mirrored_, mirrored_ + 16);
      mirrored_ += 16;
    }
  }

  void finish() {
    while (lines_left_ > 0 || mirrored_ < kCols) step(kRows);
  }

 private:
  static void place(const Matrix& m, int64_t row, int64_t col, char*& first, int64_t& step) {
    const auto size = static_cast<int64_t>(size_of(m.dtype));
    first = static_cast<char*>(m.data) + (row * m.row_stride + col) * size;
    step = m.row_stride * size;
  }

  // kSizeC: bytes of an element of C, 0 for none.
  template <bool kNarrowD, int kSizeC>
  static void lines(Finishing& f, int64_t count) {
    const auto* bias = static_cast<const float*>(f.e_->bias);
    const bool per_row = f.e_->bias_per_row;
    const bool relu = f.e_->activation == Activation::relu;
    const bool keep = f.mirrored_ < kCols;
    const __m512 alpha = f.alpha_;
    const __m512 beta = f.beta_;
    if (count > f.lines_left_) count = f.lines_left_;
    f.lines_left_ -= count;
    const int64_t row = f.row_ + f.rows_ - f.lines_left_ - count;
    for (int64_t i = 0; i < count; ++i, f.sums_ += kCols, f.d_ += f.d_step_) {
      __m512 x = _mm512_mul_ps(_mm512_loadu_ps(f.sums_), alpha);
      __m512 y = _mm512_mul_ps(_mm512_loadu_ps(f.sums_ + 16), alpha);
      if constexpr (kSizeC == 2) {
        const auto* c = reinterpret_cast<const BFloat16*>(f.c_);
        x = _mm512_fmadd_ps(beta, VecF32::load_bf16(c).v, x);
        y = _mm512_fmadd_ps(beta, VecF32::load_bf16(c + 16).v, y);
      } else if constexpr (kSizeC == 4) {
        const auto* c = reinterpret_cast<const float*>(f.c_);
        x = _mm512_fmadd_ps(beta, _mm512_loadu_ps(c), x);
        y = _mm512_fmadd_ps(beta, _mm512_loadu_ps(c + 16), y);
      }
      if constexpr (kSizeC != 0) f.c_ += f.c_step_;
      if (bias != nullptr) {
        x = _mm512_add_ps(x, per_row ? _mm512_set1_ps(bias[row + i]) : _mm512_loadu_ps(bias + f.col_));
        y = _mm512_add_ps(y, per_row ? _mm512_set1_ps(bias[row + i])
                                     : _mm512_loadu_ps(bias + f.col_ + 16));
      }
      if (relu) {
        x = _mm512_max_ps(_mm512_setzero_ps(), x);
        y = _mm512_max_ps(_mm512_setzero_ps(), y);
      }
      if constexpr (kNarrowD) {
        const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(y, x));
        f.streams_ ? _mm512_stream_si512(reinterpret_cast<__m512i*>(f.d_), both)
                   : _mm512_storeu_si512(f.d_, both);
      } else if (f.streams_) {
        _mm512_stream_ps(reinterpret_cast<float*>(f.d_), x);
        _mm512_stream_ps(reinterpret_cast<float*>(f.d_ + 64), y);
      } else {
        _mm512_storeu_ps(f.d_, x);
        _mm512_storeu_ps(f.d_ + 64, y);
      }
      if (keep) {
        _mm512_storeu_ps(f.sums_, x);
        _mm512_storeu_ps(f.sums_ + 16, y);
      }
    }
  }

  const Epilogue* e_ = nullptr;
  float* tile_ = nullptr;
  float* sums_ = nullptr;  // the next line's
  char* d_ = nullptr;
  char* c_ = nullptr;
  int64_t d_step_ = 0, c_step_ = 0;
  int64_t lines_left_ = 0;
  int64_t row_ = 0, rows_ = 0, col_ = 0;
  int64_t mirrored_ = kCols;
  bool streams_ = false;
  __m512 alpha_{}, beta_{};
  void (*step_)(Finishing&, int64_t) = nullptr;
};

// Lines to be brought to L2 with each unit.
struct Fetching {
  const std::byte* from;
  int64_t lines;
};

// In how many planes A and B lie.
template <int kA, int kB>
struct Planes {
  static constexpr int kPlanesA = kA;
  static constexpr int kPlanesB = kB;
  static constexpr int kProducts = kA == 3 ? 6 : kA + kB - 1;
  static constexpr int64_t kUnitA = 2 * kTileBytes * kA;
  static constexpr int64_t kUnitB = 2 * kTileBytes * kB;
};

// sums += left · right for kDown × kAcross tiles.
template <int kDown, int kAcross>
inline void dot_tiles() {
  tile_dot_bf16<0, 4, 6>();
  if constexpr (kAcross == 2) tile_dot_bf16<1, 4, 7>();
  if constexpr (kDown == 2) tile_dot_bf16<2, 5, 6>();
  if constexpr (kDown == 2 && kAcross == 2) tile_dot_bf16<3, 5, 7>();
}

// A's tiles: kept in cache by the block's first column of tiles, streamed past B's panel by the others.
template <int kTile, bool kKeep>
inline void load_line(const std::byte* p) {
  if constexpr (kKeep) {
    tile_load<kTile>(p);
  } else {
    tile_stream<kTile>(p);
  }
}

template <int kDown, bool kKeep>
inline void load_left(const std::byte* p) {
  load_line<4, kKeep>(p);
  if constexpr (kDown == 2) load_line<5, kKeep>(p + kTileBytes);
}

template <int kAcross>
inline void load_right(const std::byte* p) {
  tile_load<6>(p);
  if constexpr (kAcross == 2) tile_load<7>(p + kTileBytes);
}

// One unit of planes h, m, l of both factors. From product to product one factor's plane changes, so
// that few tiles are loaded twice.
template <typename Form, int kDown, int kAcross, bool kKeep>
inline void multiply_unit(const std::byte* left, const std::byte* right) {
  constexpr int kPlane = 2 * kTileBytes;
  constexpr bool kThree = Form::kPlanesA == 3;
  if constexpr (Form::kPlanesA == 1 && Form::kPlanesB == 1) {
    tile_load<6>(right);
    load_line<4, kKeep>(left);
    tile_dot_bf16<0, 4, 6>();
    if constexpr (kAcross == 2) {
      tile_load<7>(right + kTileBytes);
      tile_dot_bf16<1, 4, 7>();
    }
    if constexpr (kDown == 2) {
      load_line<5, kKeep>(left + kTileBytes);
      tile_dot_bf16<2, 5, 6>();
      if constexpr (kAcross == 2) tile_dot_bf16<3, 5, 7>();
    }
    return;
  }
  load_left<kDown, kKeep>(left);  // h
  if constexpr (kThree) {
    load_right<kAcross>(right + 2 * kPlane);  // l
    dot_tiles<kDown, kAcross>();
  }
  if constexpr (Form::kPlanesB > 1) {
    load_right<kAcross>(right + kPlane);  // m
    dot_tiles<kDown, kAcross>();
  }
  if constexpr (kThree) {
    load_left<kDown, kKeep>(left + kPlane);  // m
    dot_tiles<kDown, kAcross>();
    load_left<kDown, kKeep>(left);  // h
  }
  load_right<kAcross>(right);  // h
  dot_tiles<kDown, kAcross>();
  if constexpr (Form::kPlanesA > 1) {
    load_left<kDown, kKeep>(left + kPlane);  // m
    dot_tiles<kDown, kAcross>();
  }
  if constexpr (kThree) {
    load_left<kDown, kKeep>(left + 2 * kPlane);  // l
    dot_tiles<kDown, kAcross>();
  }
}

// The first kDown × kAcross tiles of a tile of D, which is row-major with kCols columns.
template <typename Form, int kDown, int kAcross, bool kKeep>
void multiply_tiles(const std::byte* left, const std::byte* right, int64_t units, float* tile,
                    bool first, const Fetching& next, Finishing& previous) {
  constexpr int64_t kStride = kCols * sizeof(float);
  float* const below = tile + 16 * kCols;
  if (first) {
    tile_zero<0>();
    if constexpr (kAcross == 2) tile_zero<1>();
    if constexpr (kDown == 2) tile_zero<2>();
    if constexpr (kDown == 2 && kAcross == 2) tile_zero<3>();
  } else {
    tile_stream<0>(tile, kStride);
    if constexpr (kAcross == 2) tile_stream<1>(tile + 16, kStride);
    if constexpr (kDown == 2) tile_stream<2>(below, kStride);
    if constexpr (kDown == 2 && kAcross == 2) tile_stream<3>(below + 16, kStride);
  }
  const int64_t lines = (kRows + units - 1) / (units > 4 ? units - 3 : 1);  // a unit, leaving some for the mirror
  const std::byte* from = next.from;
  for (int64_t k = 0; k < units; ++k, left += Form::kUnitA, right += Form::kUnitB) {
    multiply_unit<Form, kDown, kAcross, kKeep>(left, right);
    for (int64_t i = 0; i < next.lines; ++i, from += 64) __builtin_prefetch(from, 0, 2);
    previous.step(lines);
  }
  tile_store<0>(tile, kStride);
  if constexpr (kAcross == 2) tile_store<1>(tile + 16, kStride);
  if constexpr (kDown == 2) tile_store<2>(below, kStride);
  if constexpr (kDown == 2 && kAcross == 2) tile_store<3>(below + 16, kStride);
}

template <typename Form, bool kKeep>
void multiply(const std::byte* left, const std::byte* right, int64_t units, float* tile, bool first,
              int64_t rows, int64_t cols, const Fetching& next, Finishing& previous) {
  if (rows > 16) {
    cols > 16 ? multiply_tiles<Form, 2, 2, kKeep>(left, right, units, tile, first, next, previous)
              : multiply_tiles<Form, 2, 1, kKeep>(left, right, units, tile, first, next, previous);
  } else {
    cols > 16 ? multiply_tiles<Form, 1, 2, kKeep>(left, right, units, tile, first, next, previous)
              : multiply_tiles<Form, 1, 1, kKeep>(left, right, units, tile, first, next, previous);
  }
}

// `block` of kernels.inl with a tile's end laid over the next one's product. What comes next is brought to
// L2 meanwhile: with several planes the panels of the next slice, with one the next panel of B.
template <typename Form>
void block_tiles(const BlockArgs& args) {
  const TileScope scope;
  const Epilogue& e = *args.epilogue;
  const int64_t panel_a = args.units * Form::kUnitA;
  const int64_t panel_b = args.units * Form::kUnitB;
  const auto* b = static_cast<const std::byte*>(args.b);
  alignas(64) float scratch[2][kRows * kCols];
  int turn = 0;
  Finishing previous;
  const auto* next_a = static_cast<const std::byte*>(args.next_a);
  const auto* next_b = static_cast<const std::byte*>(args.next_b);
  const int64_t calls = args.row_panels * args.col_panels;
  const int64_t lines_a = args.row_panels * panel_a / 64;
  const int64_t lines_b = args.col_panels * panel_b / 64;
  const int64_t per_unit = Form::kProducts == 1 || next_a == nullptr ? 0 : (lines_a + lines_b) / (calls * args.units) + 1;
  int64_t fetched = 0;
  for (int64_t q = 0; q < args.col_panels; ++q, b += panel_b) {
    const auto* a = static_cast<const std::byte*>(args.a);
    const int64_t col = args.col + q * kCols;
    const int64_t cols = e.d.cols - col < kCols ? e.d.cols - col : kCols;
    for (int64_t p = 0; p < args.row_panels; ++p, a += panel_a) {
      const int64_t row = args.row + p * kRows;
      const int64_t rows = e.d.rows - row < kRows ? e.d.rows - row : kRows;
      if (e.symmetric && row + kRows <= col) continue;
      turn ^= 1;
      float* tile = args.sums == nullptr
                        ? scratch[turn]
                        : static_cast<float*>(args.sums) + (q * args.row_panels + p) * kRows * kCols;
      Fetching next = {nullptr, 0};
      if (per_unit > 0 && fetched < lines_a + lines_b) {
        next.from = fetched < lines_a ? next_a + fetched * 64 : next_b + (fetched - lines_a) * 64;
        next.lines = per_unit;
        fetched += per_unit * args.units;
      } else if (Form::kProducts == 1 && args.units > 0 && q + 1 < args.col_panels) {
        next.lines = (panel_b / 64 + args.row_panels * args.units - 1) / (args.row_panels * args.units);
        next.from = b + panel_b + p * next.lines * args.units * 64;
      }
      if (q == 0) {
        multiply<Form, true>(a, b, args.units, tile, args.first, rows, cols, next, previous);
      } else {
        multiply<Form, false>(a, b, args.units, tile, args.first, rows, cols, next, previous);
      }
      previous.finish();
      if (args.last) previous.start(e, tile, row, rows, col, cols);
    }
  }
  previous.finish();
}

GemmKernel multiply_add;

// Where values do not fit.
Status gemm_unusual(Context& context, const GemmArgs& args) { return multiply_add(context, args); }

template <int kA, int kB>
constexpr TileKernel tiles(int64_t units_per_slice, int64_t units_per_long_slice) {
  constexpr bool kFar = kA + kB > 2;  // planes of f32 are packed in such pairs
  return {kRows, kCols, 32, 64 * kA, 64 * kB, 4, units_per_slice, 8, 16, 8,
          pack_tiles<kA, true, kFar>, pack_tiles<kB, false, kFar>, block_tiles<Planes<kA, kB>>,
          kA == 3 ? gemm_unusual : nullptr, kA == 1, units_per_long_slice};
}

constexpr TileKernel kBf16 = tiles<1, 1>(20, 20);
constexpr TileKernel kF32 = tiles<3, 3>(4, 32);
constexpr TileKernel kMixed[2][2] = {{tiles<1, 1>(20, 20), tiles<1, 2>(10, 20)},
                                     {tiles<2, 1>(10, 20), tiles<2, 2>(8, 16)}};

Status gemm_bf16(Context& context, const GemmArgs& args) {
  return blocked_gemm(context, args, kBf16);
}

// bf16 operands in one plane, f32 ones in two: hh, hm and mh of the products.
Status gemm_mixed(Context& context, const GemmArgs& args) {
  const bool wide_a = args.a.dtype == DType::f32;
  const bool wide_b = args.b.dtype == DType::f32;
  const bool swapped = is_swapped(args);
  return blocked_gemm(context, args, kMixed[swapped ? wide_b : wide_a][swapped ? wide_a : wide_b]);
}

// Splitting operands into planes and finishing tiles grow with the sides, what tiles save with the product.
constexpr int64_t kSides = 56;

Status gemm_f32(Context& context, const GemmArgs& args) {
  const int64_t m = args.d.rows, n = args.d.cols, k = args.a.cols;
  // Where one side is so small that tiles would be mostly padding, or packing would take too long, the
  // fused multiply-add.
  const bool narrow = m < 16 || n < 16 || k < 16;
  const bool small = kSides * (m * n + n * k + m * k) > m * n * k && small_form(args) != SmallForm::none;
  return narrow || small ? multiply_add(context, args) : blocked_gemm(context, args, kF32);
}

}  // namespace
}  // namespace amx

void fill_gemm_amx(KernelTable& table) {
  amx::multiply_add = table.gemm.f32;
  table.gemm.bf16 = amx::gemm_bf16;
  table.gemm.f32 = amx::gemm_f32;
  table.gemm.mixed = amx::gemm_mixed;
}

}  // namespace palimpsest::cpu
