// Bindings of normalisation.

#include "addon/bindings.h"
#include "addon/dense.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {
namespace {

// dy, dx | null, dweight | null, dbias | null; weights have `length` values.
template <typename Args>
void read_gradients(Call& call, const View& x, int64_t length, Args& args) {
  args.dy = dense_like(call, "dy", Access::read, x).data;
  const View dx = call.optional_view("dx", Access::write);
  check(dx.data == nullptr || (dx.contiguous() && dx.dtype == x.dtype && dx.size() == x.size()),
        "'dx' must have the shape and dtype of the input");
  args.dx = dx.data;
  args.dweight = vector_of(call.optional_view("dweight", Access::write), "dweight", x.dtype, length);
  args.dbias = vector_of(call.optional_view("dbias", Access::write), "dbias", x.dtype, length);
}

// weight | null, bias | null of `length` values, y (forward only).
template <typename Args>
void read_affine(Call& call, bool backward, const View& x, int64_t length, Args& args) {
  args.weight = vector_of(call.optional_view("weight", Access::read), "weight", x.dtype, length);
  args.bias = vector_of(call.optional_view("bias", Access::read), "bias", x.dtype, length);
  if (!backward) args.y = dense_like(call, "y", Access::write, x).data;
}

// x, weight | null, bias | null, y (forward only), mean | null, rstd; then eps
RowNormArgs read_rows(Call& call, bool backward, View& x) {
  const Access saved = backward ? Access::read : Access::write;
  x = dense(call, "x", Access::read, 2);
  RowNormArgs args{};
  args.dtype = x.dtype;
  args.rows = x.shape[0];
  args.width = x.shape[1];
  args.x = x.data;
  read_affine(call, backward, x, args.width, args);
  args.mean = vector_of(call.optional_view("mean", saved), "mean", x.dtype, args.rows);
  args.rstd = vector_of(call.view("rstd", saved), "rstd", x.dtype, args.rows);
  args.centered = args.mean != nullptr;
  args.eps = call.number();
  return args;
}

// rowNorm(x, weight | null, bias | null, y, mean | null, rstd); a mean centers the rows
auto rows(Call& call) {
  View x;
  const RowNormArgs args = read_rows(call, false, x);
  return [args](Context& context) { return context.kernels.norm.rows(context, args); };
}

// rowNormBackward(x, weight | null, null, mean | null, rstd, dy, dx | null, dweight | null,
// dbias | null); eps stands after rstd
auto rows_backward(Call& call) {
  View x;
  RowNormBackwardArgs args{};
  args.forward = read_rows(call, true, x);
  read_gradients(call, x, args.forward.width, args);
  return [args](Context& context) { return context.kernels.norm.rows_backward(context, args); };
}

// x, weight | null, bias | null, y (forward only), mean, variance; then batch, eps
BatchNormArgs read_batch(Call& call, bool backward, View& x) {
  x = dense(call, "x", Access::read, 3);
  BatchNormArgs args{};
  args.dtype = x.dtype;
  args.n = x.shape[0];
  args.channels = x.shape[1];
  args.inner = x.shape[2];
  args.x = x.data;
  read_affine(call, backward, x, args.channels, args);
  const Access saved = backward ? Access::read : Access::update;
  args.mean = vector_of(call.view("mean", saved), "mean", x.dtype, args.channels);
  args.variance = vector_of(call.view("variance", saved), "variance", x.dtype, args.channels);
  call.read(args.batch, args.eps);
  check(!args.batch || args.n * args.inner > 0, "batch norm needs at least one value a channel");
  return args;
}

// batchNorm(x, weight | null, bias | null, y, mean, variance): written where the statistics are the
// batch's
auto batch(Call& call) {
  View x;
  const BatchNormArgs args = read_batch(call, false, x);
  return [args](Context& context) { return context.kernels.norm.batch(context, args); };
}

// batchNormBackward(x, weight | null, null, mean, variance, dy, dx | null, dweight | null,
// dbias | null); batch and eps stand after the variance
auto batch_backward(Call& call) {
  View x;
  BatchNormBackwardArgs args{};
  args.forward = read_batch(call, true, x);
  read_gradients(call, x, args.forward.channels, args);
  return [args](Context& context) { return context.kernels.norm.batch_backward(context, args); };
}

}  // namespace

void register_norm(Exports& exports) {
  exports.add<rows>("rowNorm");
  exports.add<rows_backward>("rowNormBackward");
  exports.add<batch>("batchNorm");
  exports.add<batch_backward>("batchNormBackward");
}

}  // namespace palimpsest::addon
