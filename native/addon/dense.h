// Reading contiguous arguments whose dtype and shape must agree.
#pragma once

#include <string>

#include "addon/call.h"

namespace palimpsest::addon {

inline void check(bool good, const char* what) {
  if (!good) refuse(Code::shape, what);
}

// A contiguous float32 or float64 view of `rank` axes.
inline View dense(Call& call, const char* name, Access access, int rank) {
  const View view = call.view(name, access);
  if (view.rank != rank || !view.contiguous()) {
    refuse(Code::shape,
           std::string("'") + name + "' must be contiguous and of rank " + std::to_string(rank));
  }
  if (view.dtype != DType::f32 && view.dtype != DType::f64) {
    refuse(Code::dtype, std::string("'") + name + "' must be float32 or float64");
  }
  return view;
}

// The same, with the shape and dtype of `like`.
inline View dense_like(Call& call, const char* name, Access access, const View& like) {
  const View view = dense(call, name, access, like.rank);
  bool same = view.dtype == like.dtype;
  for (int i = 0; i < view.rank; ++i) same = same && view.shape[i] == like.shape[i];
  if (!same) refuse(Code::shape, std::string("'") + name + "' must have the shape and dtype of the input");
  return view;
}

// The memory of a contiguous vector of `length` values; null for a view that was null.
inline void* vector_of(const View& view, const char* name, DType dtype, int64_t length) {
  if (view.data == nullptr) return nullptr;
  if (view.rank != 1 || view.shape[0] != length || !view.contiguous() || view.dtype != dtype) {
    refuse(Code::shape, std::string("'") + name + "' must be a contiguous vector of " +
                            std::to_string(length) + " values of " + name_of(dtype));
  }
  return view.data;
}

}  // namespace palimpsest::addon
