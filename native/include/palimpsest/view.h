// A view: a pointer with a shape. It owns nothing.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "palimpsest/dtype.h"

namespace palimpsest {

inline constexpr int kMaxRank = 8;

// Strides count elements; 0 broadcasts, negative walks backwards. `data` is the address of element
// [0, …, 0]. Whoever makes a View has checked that every element it reaches lies in its buffer.
struct View {
  void* data = nullptr;
  DType dtype = DType::f32;
  int rank = 0;
  int64_t shape[kMaxRank] = {};
  int64_t strides[kMaxRank] = {};

  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }

  bool contiguous() const {
    int64_t expected = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (shape[i] != 1 && strides[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }

  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

// A row-major view of `data`.
template <typename T>
View contiguous_view(T* data, std::initializer_list<int64_t> shape) {
  View view;
  view.data = const_cast<void*>(static_cast<const void*>(data));
  view.dtype = dtype_of<std::remove_const_t<T>>;
  view.rank = static_cast<int>(shape.size());
  int i = 0;
  for (int64_t extent : shape) view.shape[i++] = extent;
  int64_t stride = 1;
  for (i = view.rank - 1; i >= 0; --i) {
    view.strides[i] = stride;
    stride *= view.shape[i];
  }
  return view;
}

// A matrix, or `batch` of them (the count stands in the kernel's arguments).
struct Matrix {
  void* data = nullptr;
  DType dtype = DType::f32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;
  int64_t col_stride = 1;
  int64_t batch_stride = 0;

  Matrix transposed() const {
    Matrix t = *this;
    t.rows = cols;
    t.cols = rows;
    t.row_stride = col_stride;
    t.col_stride = row_stride;
    return t;
  }
};

template <typename T>
Matrix row_major(T* data, int64_t rows, int64_t cols) {
  return {const_cast<void*>(static_cast<const void*>(data)), dtype_of<T>, rows, cols, cols, 1,
          rows * cols};
}

}  // namespace palimpsest
