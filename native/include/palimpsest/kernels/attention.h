// Scaled dot-product attention in tiles: the matrix of scores is never whole in memory.
#pragma once

#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

// out = softmax(scale·q·kᵀ, hidden scores −∞)·v. Views [batch, heads, time, width] of one dtype, f32
// or f64, any strides but 1 along the width. Query i sees key j where j ≤ i if `causal`, and where
// mask[b, h, i, j] ≠ 0 if there is a mask (a u8 or bool view, strides 0 where it repeats). A query
// that sees no key gets zeros. There is at least one key.
struct AttentionArgs {
  View q;     // [b, h, tq, d]
  View k;     // [b, h, tk, d]
  View v;     // [b, h, tk, e]
  View mask;  // [b, h, tq, tk], or null data
  bool causal = false;
  double scale = 1;
  View out;             // [b, h, tq, e]
  void* lse = nullptr;  // b·h·tq values of logsumexp, kept for the backward pass
};

// The gradients of q, k, v from that of out; `out` and `lse` are the forward's and are read.
struct AttentionBackwardArgs {
  AttentionArgs forward;
  View dout, dq, dk, dv;
};

struct AttentionKernels {
  Status (*forward)(Context&, const AttentionArgs&);
  Status (*backward)(Context&, const AttentionBackwardArgs&);
};

}  // namespace palimpsest
