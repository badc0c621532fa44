// Matrices for kernels that take views.
#pragma once

#include "palimpsest/view.h"

namespace palimpsest {

// A matrix as a view; of a batch the first.
inline View view_of(const Matrix& m) {
  View view;
  view.data = m.data;
  view.dtype = m.dtype;
  view.rank = 2;
  view.shape[0] = m.rows;
  view.shape[1] = m.cols;
  view.strides[0] = m.row_stride;
  view.strides[1] = m.col_stride;
  return view;
}

}  // namespace palimpsest
