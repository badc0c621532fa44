// One-bit masks: bit i mod 64 of word i / 64 is entry i in row-major order; bits beyond the last entry
// are 0, which all kernels keep.
#pragma once

#include <cstdint>

#include "palimpsest/dtype.h"
#include "palimpsest/status.h"

namespace palimpsest {

class Context;

constexpr int64_t mask_words(int64_t entries) { return (entries + 63) / 64; }

// For the few places that must know before a kernel runs; kernels count on all threads.
int64_t count_bits(const uint64_t* mask, int64_t entries);

enum class MaskLogic : uint8_t { conjunction, disjunction, exclusive, difference, complement };

// out = a op b over `n` entries; `difference` is a and not b, `complement` not a (b is null). `out` may
// be one of the operands.
struct MaskLogicArgs {
  MaskLogic op;
  int64_t n;
  const uint64_t* a;
  const uint64_t* b;
  uint64_t* out;
};

struct MaskCountArgs {
  int64_t n;
  const uint64_t* mask;
  int64_t* count;
};

// Between masks and tensors. pack: bit = (x ≠ 0); unpack: x = 0 or 1 (u8 and bool); apply: y = bit ? x : 0.
struct MaskTensorArgs {
  DType dtype;
  int64_t n;
  uint64_t* mask;
  const void* x;
  void* y;
};

// Of every `m` scores along an axis the `n` largest; of equal ones the first. Entries stand at
// (outer·length + a)·inner + i, m divides `length`, 0 ≤ n ≤ m ≤ 64. NaN is Code::numerical.
struct NmArgs {
  DType dtype;  // f32, f64, bf16
  bool magnitude;
  int64_t n, m;
  int64_t outer, length, inner;
  const void* x;
  uint64_t* mask;
};

// Between a float32 vector of n entries and the compact vector of those whose bits are on. gather:
// compact ← dense; scatter: dense ← compact, other entries stay.
struct MaskCompactArgs {
  int64_t n;
  const uint64_t* mask;
  float* dense;
  float* compact;
};

// The compact vector of `mask` from that of `old_mask`: entries in both are carried over, others are 0.
struct MaskCarryArgs {
  int64_t n;
  const uint64_t* old_mask;
  const float* old_compact;
  const uint64_t* mask;
  float* compact;
};

struct MaskKernels {
  Status (*logic)(Context&, const MaskLogicArgs&);
  Status (*count)(Context&, const MaskCountArgs&);
  Status (*pack)(Context&, const MaskTensorArgs&);
  Status (*unpack)(Context&, const MaskTensorArgs&);
  Status (*apply)(Context&, const MaskTensorArgs&);
  Status (*nm)(Context&, const NmArgs&);
  Status (*gather)(Context&, const MaskCompactArgs&);
  Status (*scatter)(Context&, const MaskCompactArgs&);
  Status (*carry)(Context&, const MaskCarryArgs&);
};

}  // namespace palimpsest
