// The parts of a blocked matrix product that depend on the instruction set, and the driver that
// does not. One TileKernel an instruction set and element type; see README.md for the blocking.
#pragma once

#include <cstdint>

#include "palimpsest/kernels/gemm.h"

namespace palimpsest::cpu {

// Lines (rows of A, or columns of B) to be laid side by side for the micro-kernel.
struct PackArgs {
  const void* source;   // line 0 at k = 0
  DType dtype;
  int64_t line_stride;
  int64_t k_stride;
  int64_t lines;        // at most the panel's width; the rest of the panel is zero
  int64_t depth;        // values along k; padded with zeros to whole units
  void* panel;
  bool* unusual = nullptr;  // set by packs that cannot represent a value (see TileKernel::may_refuse)
};

// What happens to a finished sum, in D's coordinates.
struct Epilogue {
  Matrix d;
  Matrix c;  // data == nullptr: none
  double alpha;
  double beta;
  const void* bias;        // one value a column, or with bias_per_row one a row
  bool bias_per_row;
  Activation activation;
  bool symmetric;          // store on and below the diagonal, and mirror
  bool large;              // D does not stay in L2: whole lines may be written past the caches
};

// A block of D: `row_panels` × `col_panels` tiles, summed over one slice of k.
struct BlockArgs {
  const void* a;           // the first panel of A's slice, the others follow
  const void* b;
  int64_t units;           // depth of the slice in packed units
  int64_t row_panels;
  int64_t col_panels;
  int64_t row;             // the block's place in D
  int64_t col;
  void* sums;              // tiles of partial sums, kept between slices; unused for a single slice
  bool first;
  bool last;
  const Epilogue* epilogue;
  const void* next_a = nullptr;  // the next slice's panels, if they lie ready
  const void* next_b = nullptr;
};

struct TileKernel {
  int rows;                // a tile of D
  int cols;
  int values_per_unit;     // k values in one packed unit: 2 where bf16 pairs are packed
  int unit_size_a;         // bytes a line
  int unit_size_b;
  int sum_size;            // bytes of an accumulator
  int64_t units_per_slice; // the most that keeps panels in cache
  int64_t most_row_panels; // of a block of D
  int64_t most_col_panels;
  int64_t enough_blocks;   // smaller products are cut into smaller blocks until there are so many
  void (*pack_a)(const PackArgs&);
  void (*pack_b)(const PackArgs&);
  void (*block)(const BlockArgs&);
  // Not null: the packs set PackArgs::unusual where a value does not fit the kernel's form, and the
  // product, or a block of it, is computed by this instead.
  GemmKernel otherwise = nullptr;
  bool copies_a = false;  // a panel of A is no more than a copy of bf16 lines: each block makes its own
  int64_t units_per_long_slice = units_per_slice;  // where both operands' panels stay in L2
};

// Tiles are written along D's rows: a D of unit row stride is computed as its transpose, Bᵀ·Aᵀ.
inline bool is_swapped(const GemmArgs& args) {
  return args.d.col_stride != 1 && args.d.row_stride == 1;
}

// A product as it is computed: D's lines along its rows.
struct Operands {
  Matrix a, b, c, d;
  bool swapped;
};
Operands in_rows(const GemmArgs& args);

// How a product is computed without packing (small.inl), by its sizes and strides; none: it is too large, or
// its operands lie otherwise.
enum class SmallForm : uint8_t { none, rows, dots };
SmallForm small_form(const GemmArgs& args);

Status blocked_gemm(Context& context, const GemmArgs& args, const TileKernel& kernel);

}  // namespace palimpsest::cpu
