// Pooling of any window, for levels that are faster at one kind of it.
#pragma once

#include "palimpsest/kernels/conv.h"

namespace palimpsest::cpu {

Status max_pool_any(Context&, const PoolArgs&);
Status max_pool_backward_any(Context&, const PoolArgs&);

// Windows of two by two, side by side, of f32.
inline bool halves_f32(const PoolArgs& args) {
  const Window& w = args.image.window;
  return args.image.dtype == DType::f32 && w.kernel_h == 2 && w.kernel_w == 2 && w.stride_h == 2 &&
         w.stride_w == 2 && w.padding_h == 0 && w.padding_w == 0 && w.dilation_h == 1 && w.dilation_w == 1;
}

}  // namespace palimpsest::cpu
