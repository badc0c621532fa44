// Matrix products of bf16 with tile registers: tdpbf16ps multiplies 16 rows × 32 k's by 32 k's × 16
// columns and sums in f32, in 16 cycles. Floor: 2mnk FLOPs at 1024 a cycle. D's tile is 2 × 2 tile
// registers, so that four loads of 1 KB (8 cycles each) hide behind four products.
//
// A packed unit is 32 k's of one line (64 bytes); k is padded to whole units with zeros. A panel of A
// holds for each unit two tiles whose rows are lines; a panel of B two tiles whose rows are pairs of
// k's. A panel of B and the stretch of A that passes by while it is in use share L1: 12 units make
// 24 KB each.

#include "cpu/simd/amx.h"

#include "cpu/simd/avx512.h"

#define PALIMPSEST_LEVEL amx
namespace palimpsest::cpu::amx {
using avx512::first_lanes32;
using avx512::first_lanes64;
using avx512::VecF32;
using avx512::VecF64;
}  // namespace palimpsest::cpu::amx

#include "cpu/gemm/kernels.inl"
#include "cpu/gemm/pairs_avx512.inl"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace amx {
namespace {

constexpr int kRows = 32;
constexpr int kCols = 32;
constexpr int kUnitValues = 32;
constexpr int kUnitPairs = 16;
constexpr int kPanelUnitBytes = 2 * kTileBytes;

// 16 lines × 16 pairs of one unit as vectors: one a line (by_line), or one a pair.
template <typename Source>
void gather(const typename Source::Value* source, const PackArgs& args, int64_t lines,
            int64_t depth, bool by_line, __m512i (&r)[16]) {
  if (args.k_stride == 1) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      r[i] = i < lines ? Source::along_k(source + i * args.line_stride, depth)
                       : _mm512_setzero_si512();
    }
    if (!by_line) avx512::transpose16(r);
  } else if (args.line_stride == 1) {
#pragma GCC unroll 16
    for (int pair = 0; pair < 16; ++pair) {
      const int64_t left = depth - 2 * pair;
      r[pair] = left > 0 ? Source::along_lines(source + 2 * pair * args.k_stride, args.k_stride,
                                               lines, left)
                         : _mm512_setzero_si512();
    }
    if (by_line) avx512::transpose16(r);
  } else {
    alignas(64) uint32_t units[16][16] = {};
    for (int64_t line = 0; line < lines && line < 16; ++line) {
      for (int64_t pair = 0; pair < kUnitPairs && 2 * pair < depth; ++pair) {
        units[by_line ? line : pair][by_line ? pair : line] =
            Source::one(source + line * args.line_stride + 2 * pair * args.k_stride, args.k_stride,
                        depth - 2 * pair);
      }
    }
    for (int i = 0; i < 16; ++i) r[i] = _mm512_load_si512(units[i]);
  }
}

template <typename Source, bool kByLine>
void pack_tiles(const PackArgs& args) {
  const auto* source = static_cast<const typename Source::Value*>(args.source);
  auto* to = static_cast<std::byte*>(args.panel);
  for (int64_t k = 0; k < args.depth; k += kUnitValues) {
    for (int64_t line = 0; line < kRows; line += 16, to += kTileBytes) {
      __m512i r[16];
      gather<Source>(source + line * args.line_stride + k * args.k_stride, args, args.lines - line,
                     args.depth - k, kByLine, r);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) _mm512_store_si512(to + i * kTileRowBytes, r[i]);
    }
  }
}

template <bool kByLine>
void pack_panel(const PackArgs& args) {
  args.dtype == DType::bf16 ? pack_tiles<PairsOfBf16, kByLine>(args)
                            : pack_tiles<PairsOfF32, kByLine>(args);
}

// The first kDown × kAcross tiles of a tile of D, which is row-major with kCols columns.
template <int kDown, int kAcross>
void multiply_tiles(const std::byte* left, const std::byte* right, int64_t units, float* tile,
                    bool first) {
  constexpr int64_t kStride = kCols * sizeof(float);
  float* const below = tile + 16 * kCols;
  if (first) {
    tile_zero<0>();
    if constexpr (kAcross == 2) tile_zero<1>();
    if constexpr (kDown == 2) tile_zero<2>();
    if constexpr (kDown == 2 && kAcross == 2) tile_zero<3>();
  } else {
    tile_load<0>(tile, kStride);
    if constexpr (kAcross == 2) tile_load<1>(tile + 16, kStride);
    if constexpr (kDown == 2) tile_load<2>(below, kStride);
    if constexpr (kDown == 2 && kAcross == 2) tile_load<3>(below + 16, kStride);
  }
  for (int64_t k = 0; k < units; ++k, left += kPanelUnitBytes, right += kPanelUnitBytes) {
    tile_load<6>(right);
    tile_load<4>(left);
    tile_dot_bf16<0, 4, 6>();
    if constexpr (kAcross == 2) {
      tile_load<7>(right + kTileBytes);
      tile_dot_bf16<1, 4, 7>();
    }
    if constexpr (kDown == 2) {
      tile_load<5>(left + kTileBytes);
      tile_dot_bf16<2, 5, 6>();
      if constexpr (kAcross == 2) tile_dot_bf16<3, 5, 7>();
    }
  }
  tile_store<0>(tile, kStride);
  if constexpr (kAcross == 2) tile_store<1>(tile + 16, kStride);
  if constexpr (kDown == 2) tile_store<2>(below, kStride);
  if constexpr (kDown == 2 && kAcross == 2) tile_store<3>(below + 16, kStride);
}

struct Tiles {
  using Vec = VecF32;
  static constexpr int kRows = amx::kRows;
  static constexpr int kCols = amx::kCols;
  static constexpr int64_t kUnitBytesA = kPanelUnitBytes;
  static constexpr int64_t kUnitBytesB = kPanelUnitBytes;
  static void multiply(const std::byte* left, const std::byte* right, int64_t units, float* tile,
                       bool first, int64_t rows, int64_t cols) {
    if (rows > 16) {
      cols > 16 ? multiply_tiles<2, 2>(left, right, units, tile, first)
                : multiply_tiles<2, 1>(left, right, units, tile, first);
    } else {
      cols > 16 ? multiply_tiles<1, 2>(left, right, units, tile, first)
                : multiply_tiles<1, 1>(left, right, units, tile, first);
    }
  }
};

void block_tiles(const BlockArgs& args) {
  const TileScope scope;
  block<Tiles>(args);
}

constexpr TileKernel kBf16 = {kRows, kCols, kUnitValues, 2 * kUnitValues, 4, 12,
                              pack_panel<true>, pack_panel<false>, block_tiles};

Status gemm_bf16(Context& context, const GemmArgs& args) {
  return blocked_gemm(context, args, kBf16);
}

}  // namespace
}  // namespace amx

void fill_gemm_amx(KernelTable& table) { table.gemm.bf16 = amx::gemm_bf16; }

}  // namespace palimpsest::cpu
