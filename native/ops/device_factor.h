// QR, symmetric eigenvalues and the SVD of matrices in another device's memory, over the same table:
// nothing but a few numbers a matrix comes to the host. Arguments and results as in
// palimpsest/ops/decompositions.h; they have been checked for shape.
#pragma once

#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

template <typename T>
Status qr_on_device(Context& context, const Matrix& a, const Matrix& q, const Matrix& r);
template <typename T>
Status eigh_on_device(Context& context, const Matrix& a, void* values, const Matrix& v);
template <typename T>
Status svd_on_device(Context& context, const Matrix& a, const Matrix& u, void* values, const Matrix& vt);

}  // namespace palimpsest
