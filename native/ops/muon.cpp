// Floor: the orthogonalizations' FLOPs; all else is one pass over p, g, momentum. Small matrices of
// one shape are orthogonalized as a batch, so that threads work on different ones.

#include "palimpsest/ops/muon.h"

#include <cmath>
#include <string>

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest {
namespace {

constexpr int64_t kBatchElements = 1 << 20;  // at most this many elements are batched

Status check_gradients(Context& context, const MuonArgs& args) {
  for (size_t i = 0; i < args.parameters.size(); ++i) {
    const MuonParameter& p = args.parameters[i];
    bool finite = true;
    const View g = contiguous_view(p.g, {p.batch * p.rows * p.cols});
    PALIMPSEST_TRY(context.kernels.reduce.all_finite(context, g, finite));
    if (!finite) {
      return {Code::numerical, "the gradient of parameter " + std::to_string(i) + " holds NaN or Inf"};
    }
  }
  return {};
}

// NorMuon (arXiv 2510.05491): rows of o are divided by the root of their running mean square, and the
// whole is brought back to o's Frobenius norm. Only factors are computed here: o is not touched.
Status row_factors(Context& context, const MuonArgs& args, const float* o, int64_t rows,
                   int64_t cols, float* second_moment, float* factors) {
  const View in = contiguous_view(o, {rows, cols});
  const View out = contiguous_view(factors, {rows, 1});
  PALIMPSEST_TRY(
      context.kernels.reduce.reduce(context, {Reduction::sum_of_squares, out, in, 0b10}));
  double before = 0;
  double after = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const double squares = factors[r];
    const double mean = squares / static_cast<double>(cols);
    const double v = args.beta2 * second_moment[r] + (1 - args.beta2) * mean;
    second_moment[r] = static_cast<float>(v);
    const double factor = 1 / (std::sqrt(v) + args.row_eps);
    before += squares;
    after += squares * factor * factor;
    factors[r] = static_cast<float>(factor);
  }
  const double restore = after > 0 ? std::sqrt(before / after) : 0;
  for (int64_t r = 0; r < rows; ++r) {
    factors[r] = static_cast<float>(static_cast<double>(factors[r]) * restore);
  }
  return {};
}

// Parameters [first, last) of one shape, as one batch.
Status step_group(Context& context, const MuonArgs& args, size_t first, size_t last) {
  const Workspace::Scope scope(context.workspace);
  const MuonParameter& shape = args.parameters[first];
  const int64_t matrix = shape.rows * shape.cols;
  const int64_t each = shape.batch * matrix;
  const auto count = static_cast<int64_t>(last - first);
  auto* u = context.workspace.take<float>(count * each);
  auto* factors = context.workspace.take<float>(shape.rows);
  for (size_t i = first; i < last; ++i) {
    const MuonParameter& p = args.parameters[i];
    context.kernels.optim.momentum(
        context, {each, p.g, p.momentum, u + static_cast<int64_t>(i - first) * each, args.momentum,
                  args.fresh, args.grad_scale, args.nesterov});
  }
  NewtonSchulzArgs ns;
  ns.x = row_major(u, shape.rows, shape.cols);
  ns.out = ns.x;
  ns.batch = count * shape.batch;
  ns.steps = args.steps.data();
  ns.step_count = static_cast<int>(args.steps.size());
  ns.compute = args.compute;
  ns.eps = args.eps;
  ns.norm_factor = args.norm_factor;
  PALIMPSEST_TRY(orthogonalize(context, ns));
  for (size_t i = first; i < last; ++i) {
    const MuonParameter& p = args.parameters[i];
    for (int64_t b = 0; b < p.batch; ++b) {
      const float* o = u + static_cast<int64_t>(i - first) * each + b * matrix;
      DecayedUpdateArgs update{p.rows,  p.cols,     p.p + b * matrix, o,
                               nullptr, p.scale, args.decay,       args.cautious};
      if (p.second_moment != nullptr) {
        PALIMPSEST_TRY(row_factors(context, args, o, p.rows, p.cols, p.second_moment + b * p.rows,
                                   factors));
        update.row_scale = factors;
      }
      context.kernels.optim.decayed_update(context, update);
    }
  }
  return {};
}

}  // namespace

Status muon_step(Context& context, const MuonArgs& args) {
  PALIMPSEST_TRY(check_gradients(context, args));
  const auto same_shape = [&](size_t i, size_t j) {
    const MuonParameter& a = args.parameters[i];
    const MuonParameter& b = args.parameters[j];
    return a.batch == b.batch && a.rows == b.rows && a.cols == b.cols;
  };
  for (size_t first = 0; first < args.parameters.size();) {
    const MuonParameter& p = args.parameters[first];
    const int64_t each = p.batch * p.rows * p.cols;
    size_t last = first + 1;
    while (last < args.parameters.size() && same_shape(first, last) &&
           static_cast<int64_t>(last - first + 1) * each <= kBatchElements) {
      ++last;
    }
    PALIMPSEST_TRY(step_group(context, args, first, last));
    first = last;
  }
  return {};
}

}  // namespace palimpsest
