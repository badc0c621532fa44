// Convolution of stride 1 as a product that is never laid out in memory. An image is copied once into
// a buffer with its padding; seen as one long row of pixels of the padded width, tap (c, i, j) of every
// output pixel q is pixel q + offset(c, i, j) of that buffer. The matrix of windows is then a set of
// shifted views: the micro-kernel loads its vectors of pixels from them directly, where im2col would
// write and read every pixel kernel_h·kernel_w times. The last kernel_w − 1 pixels of a row are computed
// in vain. Floor: the FLOPs, at one fused multiply-add an instruction; a tile of r channels × 2 vectors
// needs r broadcasts and 2 loads for 2r of them.
//
// The weights' gradient sums over pixels: gradients are transposed once (pixels × channels), the lanes
// are output channels, and the tile's rows are taps whose pixel is broadcast from the shifted views.
#pragma once

#include "cpu/simd/transpose.inl"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int kVectors = 2;
constexpr int64_t kBufferElements = int64_t{1} << 17;  // of a part of an image, about
constexpr int64_t kEnoughParts = 16;
constexpr int64_t kPixels = 512;  // summed at a time by the weights' gradient

inline int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// How images are cut into runs of output rows: by the sizes alone.
struct Parts {
  int64_t oh, ow, rows, count;  // output extents; rows of a part; parts of an image
  int64_t width, plane, reach;  // of the buffer: padded row, channel; rows that a window needs more

  Parts(const DirectConvArgs& a)
      : oh(a.window.out_h(a.h)), ow(a.window.out_w(a.w)), width(a.w + 2 * a.window.padding_w),
        reach(a.window.dilation_h * (a.window.kernel_h - 1)) {
    const int64_t fits = kBufferElements / (a.c * width) - reach;
    const int64_t wanted = a.n > 0 && a.n < kEnoughParts ? up(kEnoughParts, a.n) : 1;
    rows = least(up(oh, wanted), fits);
    if (rows < 1) rows = 1;
    count = up(oh, rows);
    plane = (rows + reach) * width;
  }
  int64_t rows_of(int64_t part) const { return least(rows, oh - part * rows); }
};

// Copies what the windows of a part see into the buffer, zeros around the image.
template <typename T>
void fill_buffer(const DirectConvArgs& a, const Parts& p, int64_t image, int64_t part, T* buffer) {
  const int64_t first = part * p.rows - a.window.padding_h, left = a.window.padding_w;
  for (int64_t c = 0; c < a.c; ++c) {
    const T* plane = static_cast<const T*>(a.x) + (image * a.c + c) * a.h * a.w;
    T* to = buffer + c * p.plane;
    for (int64_t r = 0; r < p.rows + p.reach; ++r, to += p.width) {
      const int64_t row = first + r;
      if (row < 0 || row >= a.h) {
        for (int64_t i = 0; i < p.width; ++i) to[i] = 0;
        continue;
      }
      for (int64_t i = 0; i < left; ++i) to[i] = to[left + a.w + i] = 0;
      __builtin_memcpy(to + left, plane + row * a.w, static_cast<size_t>(a.w) * sizeof(T));
    }
  }
}

// offsets[k] of tap k = (channel, i, j) of a group.
inline void fill_offsets(const DirectConvArgs& a, const Parts& p, int64_t* offsets) {
  const Window& w = a.window;
  for (int64_t c = 0, k = 0; c < a.c / a.groups; ++c) {
    for (int64_t i = 0; i < w.kernel_h; ++i) {
      for (int64_t j = 0; j < w.kernel_w; ++j, ++k) {
        offsets[k] = c * p.plane + i * w.dilation_h * p.width + j * w.dilation_w;
      }
    }
  }
}

// out[r] = bias[r] + Σ_k weights[k][r]·image[offsets[k] …], two vectors of pixels.
template <typename V, int kRows>
void conv_tile(const typename V::Element* image, const int64_t* offsets, int64_t taps,
               const typename V::Element* weights, const typename V::Element* bias,
               typename V::Element* out) {
  V sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sums[r][v] = V::set(bias[r]);
  }
  for (int64_t k = 0; k < taps; ++k, weights += kRows) {
    const auto* from = image + offsets[k];
    V pixels[kVectors];
    for (int v = 0; v < kVectors; ++v) pixels[v] = V::load(from + v * V::width);
    for (int r = 0; r < kRows; ++r) {
      const V weight = V::set(weights[r]);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = fma(weight, pixels[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sums[r][v].store(out + (r * kVectors + v) * V::width);
  }
}

// sums[r] += Σ_q image[offsets[r] + q]·gradients[q], two vectors of channels.
template <typename V, int kRows>
void slope_tile(const typename V::Element* image, const int64_t* offsets, int64_t pixels,
                const typename V::Element* gradients, typename V::Element* total) {
  V sums[kRows][kVectors];
  const typename V::Element* from[kRows];
  for (int r = 0; r < kRows; ++r) {
    from[r] = image + offsets[r];
    for (int v = 0; v < kVectors; ++v) sums[r][v] = V::load(total + (r * kVectors + v) * V::width);
  }
  for (int64_t q = 0; q < pixels; ++q, gradients += kVectors * V::width) {
    V slopes[kVectors];
    for (int v = 0; v < kVectors; ++v) slopes[v] = V::load(gradients + v * V::width);
    for (int r = 0; r < kRows; ++r) {
      const V pixel = V::set(from[r][q]);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = fma(pixel, slopes[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sums[r][v].store(total + (r * kVectors + v) * V::width);
  }
}

template <typename V>
using ConvTile = void (*)(const typename V::Element*, const int64_t*, int64_t, const typename V::Element*,
                          const typename V::Element*, typename V::Element*);
template <typename V>
using SlopeTile = void (*)(const typename V::Element*, const int64_t*, int64_t,
                           const typename V::Element*, typename V::Element*);

// The micro-kernels for `rows` rows.
template <typename V, int kRows>
ConvTile<V> conv_tile_of(int64_t rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return conv_tile_of<V, kRows - 1>(rows);
  }
  return conv_tile<V, kRows>;
}
template <typename V, int kRows>
SlopeTile<V> slope_tile_of(int64_t rows) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return slope_tile_of<V, kRows - 1>(rows);
  }
  return slope_tile<V, kRows>;
}

template <typename T>
T* take(Workspace& workspace, int64_t count) {
  return static_cast<T*>(workspace.take_bytes(static_cast<size_t>(count) * sizeof(T)));
}

// The runs of a tile's pixels that are pixels of the output.
struct Runs {
  int64_t count = 0;
  int64_t from[64], to[64], length[64];

  void find(const Parts& p, int64_t rows, int64_t q, int64_t pixels) {
    count = 0;
    int64_t row = q / p.width, col = q % p.width;
    for (int64_t i = 0; i < pixels && row < rows; ++row, col = 0) {
      const int64_t run = least(pixels - i, p.width - col);
      if (col < p.ow) {
        from[count] = i;
        to[count] = row * p.ow + col;
        length[count++] = least(run, p.ow - col);
      }
      i += run;
    }
  }
};

template <typename V, int kMostRows>
Status direct_conv(Context& context, const DirectConvArgs& a) {
  using T = typename V::Element;
  constexpr int64_t kTile = kVectors * V::width;
  static_assert(kTile <= 64);
  const Window& w = a.window;
  const Parts p(a);
  const int64_t kernel = w.kernel_h * w.kernel_w, inputs = a.c / a.groups, outputs = a.o / a.groups;
  const int64_t taps = inputs * kernel;
  const int64_t rows = up(outputs, up(outputs, kMostRows)), tiles = up(outputs, rows);
  const ConvTile<V> tile = conv_tile_of<V, kMostRows>(rows);
  const Workspace::Scope scope(context.workspace);
  auto* offsets = take<int64_t>(context.workspace, taps);
  fill_offsets(a, p, offsets);
  T* weights = take<T>(context.workspace, a.groups * tiles * taps * rows);
  T* bias = take<T>(context.workspace, a.groups * tiles * rows);
  context.parallel(a.groups * tiles, [&](int64_t index) {
    const int64_t g = index / tiles, first = index % tiles * rows;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t o = first + r;
      const bool real = o < outputs;
      bias[index * rows + r] =
          real && a.bias != nullptr ? static_cast<const T*>(a.bias)[g * outputs + o] : T(0);
      for (int64_t k = 0; k < taps; ++k) {
        const int64_t at = a.transposed
                               ? ((g * inputs + k / kernel) * outputs + o) * kernel + kernel - 1 - k % kernel
                               : (g * outputs + o) * taps + k;
        weights[(index * taps + k) * rows + r] = real ? static_cast<const T*>(a.weight)[at] : T(0);
      }
    }
  });
  context.parallel(a.n * p.count, [&](int64_t task) {
    const int64_t image = task / p.count, part = task % p.count, height = p.rows_of(part);
    Workspace& local = Workspace::local();
    const Workspace::Scope inner(local);
    T* buffer = take<T>(local, a.c * p.plane + kTile);
    T* out = take<T>(local, rows * kTile);
    fill_buffer(a, p, image, part, buffer);
    for (int64_t i = 0; i < kTile; ++i) buffer[a.c * p.plane + i] = 0;
    Runs runs;
    const int64_t last = (height - 1) * p.width + p.ow;
    for (int64_t g = 0; g < a.groups; ++g) {
      for (int64_t q = 0; q < last; q += kTile) {
        runs.find(p, height, q, kTile);
        for (int64_t t = 0; t < tiles; ++t) {
          const int64_t index = g * tiles + t;
          tile(buffer + g * inputs * p.plane + q, offsets, taps, weights + index * taps * rows,
               bias + index * rows, out);
          const int64_t real = least(rows, outputs - t * rows);
          for (int64_t r = 0; r < real; ++r) {
            T* y = static_cast<T*>(a.y) +
                   ((image * a.o + g * outputs + t * rows + r) * p.oh + part * p.rows) * p.ow;
            for (int64_t run = 0; run < runs.count; ++run) {
              const T* from = out + r * kTile + runs.from[run];
              T* to = y + runs.to[run];
              for (int64_t i = 0; i < runs.length[run]; i += V::width) {
                const V sum = V::load(from + i, runs.length[run] - i);
                (a.relu ? max(V::zero(), sum) : sum).store(to + i, runs.length[run] - i);
              }
            }
          }
        }
      }
    }
  });
  return {};
}

// The gradients of a group's outputs in a part, [tile][pixel][lane], zeros where no output is.
template <typename V>
void turn_gradients(const DirectConvArgs& a, const Parts& p, int64_t image, int64_t part, int64_t g,
                    typename V::Element* turned) {
  using T = typename V::Element;
  constexpr int64_t kTile = kVectors * V::width;
  const int64_t outputs = a.o / a.groups, tiles = up(outputs, kTile), rows = p.rows_of(part);
  const int64_t pixels = rows * p.width;
  for (int64_t t = 0; t < tiles; ++t) {
    for (int64_t block = 0; block < kTile; block += V::width) {
      const int64_t first = t * kTile + block;
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t col = 0; col < p.width; col += V::width) {
          V square[V::width];
          const int64_t real = least(V::width, p.ow - col);
          for (int64_t l = 0; l < V::width; ++l) {
            const T* from = static_cast<const T*>(a.y) +
                            ((image * a.o + g * outputs + first + l) * p.oh + part * p.rows + row) * p.ow;
            square[l] = first + l < outputs && real > 0 ? V::load(from + col, real) : V::zero();
          }
          transpose(square);
          T* to = turned + (t * pixels + row * p.width + col) * kTile + block;
          const int64_t kept = least(V::width, p.width - col);
          for (int64_t i = 0; i < kept; ++i) square[i].store(to + i * kTile);
        }
      }
    }
  }
}

template <typename V, int kMostRows>
Status direct_conv_weight(Context& context, const DirectConvArgs& a) {
  using T = typename V::Element;
  constexpr int64_t kTile = kVectors * V::width;
  const Parts p(a);
  const int64_t inputs = a.c / a.groups, outputs = a.o / a.groups;
  const int64_t taps = inputs * a.window.kernel_h * a.window.kernel_w;
  const int64_t rows = up(taps, up(taps, kMostRows)), tap_tiles = up(taps, rows);
  const int64_t tiles = up(outputs, kTile);
  const SlopeTile<V> tile = slope_tile_of<V, kMostRows>(rows);
  // Every share of the images has sums of its own, added up in order at the end.
  const int64_t units = a.n * p.count, shares = least(units, kEnoughParts);
  const int64_t size = a.groups * tiles * tap_tiles * rows * kTile;
  const Workspace::Scope scope(context.workspace);
  auto* offsets = take<int64_t>(context.workspace, tap_tiles * rows);
  fill_offsets(a, p, offsets);
  for (int64_t k = taps; k < tap_tiles * rows; ++k) offsets[k] = offsets[taps - 1];
  T* sums = take<T>(context.workspace, shares * size);
  context.parallel(shares, [&](int64_t share) {
    T* mine = sums + share * size;
    for (int64_t i = 0; i < size; ++i) mine[i] = 0;
    Workspace& local = Workspace::local();
    const Workspace::Scope inner(local);
    T* buffer = take<T>(local, a.c * p.plane + p.width);
    T* turned = take<T>(local, tiles * p.rows * p.width * kTile);
    for (int64_t i = 0; i < p.width; ++i) buffer[a.c * p.plane + i] = 0;
    for (int64_t unit = share * units / shares; unit < (share + 1) * units / shares; ++unit) {
      const int64_t image = unit / p.count, part = unit % p.count;
      const int64_t pixels = p.rows_of(part) * p.width;
      fill_buffer(a, p, image, part, buffer);
      for (int64_t g = 0; g < a.groups; ++g) {
        turn_gradients<V>(a, p, image, part, g, turned);
        for (int64_t q = 0; q < pixels; q += kPixels) {
          for (int64_t t = 0; t < tiles; ++t) {
            for (int64_t k = 0; k < tap_tiles; ++k) {
              tile(buffer + g * inputs * p.plane + q, offsets + k * rows, least(kPixels, pixels - q),
                   turned + (t * pixels + q) * kTile,
                   mine + (((g * tiles + t) * tap_tiles + k) * rows) * kTile);
            }
          }
        }
      }
    }
  });
  context.parallel(a.o, [&](int64_t o) {
    const int64_t g = o / outputs, lane = o % outputs % kTile, t = o % outputs / kTile;
    T* out = static_cast<T*>(a.dweight) + o * taps;
    for (int64_t k = 0; k < taps; ++k) {
      const T* from = sums + ((g * tiles + t) * tap_tiles * rows + k) * kTile + lane;
      T total = 0;
      for (int64_t share = 0; share < shares; ++share) total += from[share * size];
      out[k] = total;
    }
  });
  return {};
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#include "cpu/conv/depthwise.inl"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

inline bool is_depthwise(const DirectConvArgs& a) { return a.groups == a.c && a.c == a.o; }

template <typename V>
Status any_conv(Context& context, const DirectConvArgs& a) {
  return is_depthwise(a) ? depthwise_conv<V>(context, a) : direct_conv<V, kTileRows>(context, a);
}
template <typename V>
Status any_conv_weight(Context& context, const DirectConvArgs& a) {
  return is_depthwise(a) ? depthwise_conv_weight<V>(context, a) : direct_conv_weight<V, kTileRows>(context, a);
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_conv_, PALIMPSEST_LEVEL)(KernelTable& table) {
  using namespace PALIMPSEST_LEVEL;
  table.conv.direct = [](Context& c, const DirectConvArgs& a) {
    return a.dtype == DType::f64 ? any_conv<VecF64>(c, a) : any_conv<VecF32>(c, a);
  };
  table.conv.direct_weight = [](Context& c, const DirectConvArgs& a) {
    return a.dtype == DType::f64 ? any_conv_weight<VecF64>(c, a) : any_conv_weight<VecF32>(c, a);
  };
}

}  // namespace palimpsest::cpu
