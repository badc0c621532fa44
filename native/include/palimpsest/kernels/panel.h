// Products of a large matrix and a narrow panel: the large one is streamed once from memory, as it
// lies, while the panel stays in cache.
#pragma once

#include <cstdint>

#include "palimpsest/status.h"

namespace palimpsest {

class Context;

// Panels are row-major with `width` columns a row; width is a multiple of kPanelUnit and at most
// kPanelWidth. A is rows × cols, row-major, unit column stride. T is float or double.
inline constexpr int64_t kPanelUnit = 16;
inline constexpr int64_t kPanelWidth = 96;

template <typename T>
struct PanelKernels {
  // y [rows × width] = A · p [cols × width].
  void (*multiply)(Context&, const T* a, int64_t stride, int64_t rows, int64_t cols, const T* p,
                   int64_t width, T* y);
  // z [cols × width] = Aᵀ · q [rows × width].
  void (*multiply_transposed)(Context&, const T* a, int64_t stride, int64_t rows, int64_t cols,
                              const T* q, int64_t width, T* z);
  // The same to 16 bits, where the device is faster at that; else null.
  void (*rough_multiply)(Context&, const T* a, int64_t stride, int64_t rows, int64_t cols, const T* p,
                         int64_t width, T* y) = nullptr;
  void (*rough_multiply_transposed)(Context&, const T* a, int64_t stride, int64_t rows, int64_t cols,
                                    const T* q, int64_t width, T* z) = nullptr;
  // g [width × width] = yᵀ·y, summed in double; only the lower triangle is written.
  void (*gram)(Context&, const T* y, int64_t rows, int64_t width, double* g);
  // y ← y · w [width × width] in place; rounded once from sums in T.
  void (*transform)(Context&, T* y, int64_t rows, int64_t width, const T* w);
};

}  // namespace palimpsest
