// What an instruction set brings to attention: the softmax steps on a tile of scores between two
// products. They run on the calling thread; driver.cpp spreads tiles over threads.
#pragma once

#include <cstdint>

#include "palimpsest/kernels/attention.h"

namespace palimpsest::cpu {

// Scores of `rows` queries and `cols` keys, f32 or f64, row-major with row stride `stride`.
struct ScoreTile {
  DType dtype;
  int64_t rows, cols, stride;
  void* scores;
  // Row r sees keys c with c + first_key ≤ r + first_query where `causal` …
  bool causal;
  int64_t first_query, first_key;
  // … and mask[r·row + c·col] ≠ 0 where there is a mask (of the tile).
  const uint8_t* mask;
  int64_t mask_row, mask_col;
};

// One step of the online softmax (Milakov & Gimelshein 2018; Dao et al. 2022). With the running
// maximum m and sum l of each row: m' = max(m, max s); scores ← exp(s − m'), 0 where hidden;
// l ← l·exp(m − m') + Σ; the row of `out` (d values, stride out_stride) is multiplied by exp(m − m').
struct SoftmaxTileArgs {
  ScoreTile tile;
  void* m;
  void* l;
  void* out;
  int64_t d, out_stride;
  bool first;  // m = −∞, l = 0 and out is not read
};

// out ← out/l (0 where l = 0), lse ← m + log l (+∞ where l = 0, so that exp(s − lse) is 0).
struct SoftmaxFinishArgs {
  DType dtype;
  int64_t rows, d, out_stride;
  const void* m;
  const void* l;
  void* out;
  void* lse;
};

// scores ← p = exp(s − lse), 0 where hidden; dp ← p·(dp − delta)·scale, the scores' gradient.
struct SoftmaxTileBackwardArgs {
  ScoreTile tile;
  const void* lse;
  const void* delta;
  void* dp;  // like scores
  double scale;
};

// delta[r] = Σ_j a[r][j]·b[r][j].
struct RowDotsArgs {
  DType dtype;
  int64_t rows, d;
  const void* a;
  int64_t a_stride;
  const void* b;
  int64_t b_stride;
  void* out;
};

struct AttentionRows {
  void (*softmax_tile)(const SoftmaxTileArgs&);
  void (*softmax_finish)(const SoftmaxFinishArgs&);
  void (*softmax_tile_backward)(const SoftmaxTileBackwardArgs&);
  void (*row_dots)(const RowDotsArgs&);
};

Status attention_forward(Context&, const AttentionArgs&, const AttentionRows&);
Status attention_backward(Context&, const AttentionBackwardArgs&, const AttentionRows&);

}  // namespace palimpsest::cpu
