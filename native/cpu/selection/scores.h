// The scores that are selected from: pieces cut into chunks by their sizes alone.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu/selection/keys.h"
#include "cpu/selection/rows.h"
#include "palimpsest/context.h"

namespace palimpsest::cpu {

inline constexpr int64_t kChunk = 1 << 16;  // entries a task

struct Chunk {
  const SelectPiece* piece;
  int64_t begin, n;
  int64_t before;  // entries of all chunks before this one
};

template <typename V>
class Scores {
 public:
  using Key = decltype(key_of(V{}));

  Scores(const SelectArgs& args, const SelectionRow<V>& row)
      : row(row), form{args.magnitude, !args.largest}, width_(static_cast<int64_t>(size_of(args.dtype))) {
    for (int64_t p = 0; p < args.count; ++p) {
      const SelectPiece& piece = args.pieces[p];
      for (int64_t begin = 0; begin < piece.n; begin += kChunk) {
        chunks.push_back({&piece, begin, std::min(kChunk, piece.n - begin), total});
        total += chunks.back().n;
      }
    }
  }

  const void* at(const Chunk& chunk, int64_t i = 0) const {
    return static_cast<const std::byte*>(chunk.piece->x) + (chunk.begin + i) * width_;
  }
  static uint64_t* mask(const Chunk& chunk) { return chunk.piece->mask + chunk.begin / 64; }

  // False where one is NaN.
  bool keys_of(const Chunk& chunk, int64_t begin, int64_t end, Key* keys) const {
    V block[256];
    bool fine = true;
    for (int64_t i = begin; i < end; i += 256) {
      const int64_t count = std::min<int64_t>(256, end - i);
      row.values(at(chunk, i), count, form, block);
      for (int64_t j = 0; j < count; ++j) {
        fine = fine && block[j] == block[j];
        *keys++ = key_of(block[j]);
      }
    }
    return fine;
  }

  const SelectionRow<V>& row;
  const ScoreForm form;
  int64_t total = 0;
  std::vector<Chunk> chunks;

 private:
  const int64_t width_;
};

}  // namespace palimpsest::cpu
