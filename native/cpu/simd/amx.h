// Tile registers (Intel AMX). A thread's tiles belong to it between the making of a TileScope and its
// end; nothing is kept loaded, so that a switch to another task saves 8 KB only inside a kernel.
//
// Own inline assembly instead of the compiler's macros: those do not say that they read and write
// memory, so that GCC drops or moves the stores before them.
#pragma once

#include <cstdint>

namespace palimpsest::cpu::amx {

inline constexpr int kTileRows = 16;
inline constexpr int kTileRowBytes = 64;
inline constexpr int kTileBytes = kTileRows * kTileRowBytes;

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// All eight tiles with 16 rows of 64 bytes.
constexpr TileConfig full_tiles() {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.row_bytes[tile] = kTileRowBytes;
    config.rows[tile] = kTileRows;
  }
  return config;
}
inline constexpr TileConfig kFullTiles = full_tiles();

class TileScope {
 public:
  TileScope() { asm volatile("ldtilecfg %0" ::"m"(kFullTiles)); }
  ~TileScope() { asm volatile("tilerelease"); }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

template <int kTile>
inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"n"(kTile));
}

template <int kTile>
inline void tile_load(const void* p, int64_t row_stride = kTileRowBytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(row_stride), "n"(kTile) : "memory");
}

// The same for data that is used once: it does not displace what L1 holds.
template <int kTile>
inline void tile_stream(const void* p, int64_t row_stride = kTileRowBytes) {
  asm volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(row_stride), "n"(kTile) : "memory");
}

template <int kTile>
inline void tile_store(void* p, int64_t row_stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(row_stride), "n"(kTile) : "memory");
}

// sum += left (16 rows × 32 values) · right (16 pairs of rows × 16 columns), in f32.
template <int kSum, int kLeft, int kRight>
inline void tile_dot_bf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"n"(kSum), "n"(kLeft), "n"(kRight));
}

}  // namespace palimpsest::cpu::amx
