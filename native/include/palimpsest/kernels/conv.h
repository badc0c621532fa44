// The data movement of convolutions and pooling over images [n, channels, height, width], contiguous,
// f32 or f64.
#pragma once

#include <cstdint>

#include "palimpsest/dtype.h"
#include "palimpsest/status.h"

namespace palimpsest {

class Context;

// A window that slides over an image: output extent = (in + 2·padding − dilation·(kernel − 1) − 1) /
// stride + 1, rounded down.
struct Window {
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t padding_h = 0, padding_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;

  int64_t out_h(int64_t h) const {
    return (h + 2 * padding_h - dilation_h * (kernel_h - 1) - 1) / stride_h + 1;
  }
  int64_t out_w(int64_t w) const {
    return (w + 2 * padding_w - dilation_w * (kernel_w - 1) - 1) / stride_w + 1;
  }
};

struct ImageArgs {
  DType dtype;
  int64_t n, channels, height, width;  // of the image
  Window window;
  const void* in;
  void* out;
};

struct PoolArgs {
  ImageArgs image;    // in: the images (forward) or the outputs' gradient (backward)
  int32_t* indices;   // max pooling: where in its h·w plane each maximum stands (the first of equals)
};

// A convolution of stride 1 without columns in memory: x [n, c, h, w], y [n, o, oh, ow].
struct DirectConvArgs {
  DType dtype;
  int64_t n, c, h, w, o, groups;
  Window window;
  const void* x;
  // [o, c/groups, kernel]; or `transposed`, as the gradient of an input needs it: [c, o/groups, kernel]
  // with the taps in reverse.
  const void* weight;
  bool transposed;
  const void* bias;  // o values or null
  bool relu;         // y = max(0, …)
  void* y;
  void* dweight;     // direct_weight: [o, c/groups, kernel] from x and y, the gradient
};

struct ConvKernels {
  // out[n][channels·kh·kw][oh·ow] ← windows of in, zero outside the image.
  Status (*im2col)(Context&, const ImageArgs&);
  // out (the image) ← sums of the columns `in` that show each pixel. Overwrites.
  Status (*col2im)(Context&, const ImageArgs&);
  Status (*max_pool)(Context&, const PoolArgs&);
  Status (*max_pool_backward)(Context&, const PoolArgs&);
  // Divides by the whole window, padding included, as PyTorch does by default.
  Status (*avg_pool)(Context&, const ImageArgs&);
  Status (*avg_pool_backward)(Context&, const ImageArgs&);
  // Null where a level has none: convolutions then go by way of columns.
  Status (*direct)(Context&, const DirectConvArgs&);
  Status (*direct_weight)(Context&, const DirectConvArgs&);
};

}  // namespace palimpsest
