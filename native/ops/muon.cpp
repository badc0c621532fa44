// Floor: the orthogonalizations' FLOPs; all else is one pass over p, g, momentum. Small matrices of
// one shape are orthogonalized as a batch, so that threads work on different ones.

#include "palimpsest/ops/muon.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest {
namespace {

constexpr int64_t kBatchElements = 1 << 20;  // at most this many elements are batched

// NorMuon (arXiv 2510.05491): neurons of o are divided by the root of their running mean square, and
// the whole is brought to o's Frobenius norm, or to p.norm. Only factors are computed here: o is not
// touched.
Status neuron_factors(Context& context, const MuonArgs& args, const MuonParameter& p,
                      const float* o, float* second_moment, float* factors) {
  const int64_t neurons = args.columns ? p.cols : p.rows;
  const int64_t inputs = args.columns ? p.rows : p.cols;
  const View in = contiguous_view(o, {p.rows, p.cols});
  const View out = args.columns ? contiguous_view(factors, {1, neurons})
                                : contiguous_view(factors, {neurons, 1});
  PALIMPSEST_TRY(context.kernels.reduce.reduce(
      context, {Reduction::sum_of_squares, out, in, args.columns ? 0b01u : 0b10u}));
  return context.kernels.optim.neuron_factors(
      context,
      {neurons, inputs, factors, second_moment, factors, args.beta2, args.row_eps, p.norm});
}

// Parameters of one shape, as one batch.
Status step_group(Context& context, const MuonArgs& args, const MuonParameter* const* members,
                  int64_t count) {
  const Workspace::Scope scope(context.workspace);
  const MuonParameter& shape = *members[0];
  const int64_t matrix = shape.rows * shape.cols;
  const int64_t each = shape.batch * matrix;
  const int64_t neurons = args.columns ? shape.cols : shape.rows;
  auto* u = context.workspace.take<float>(count * each);
  auto* factors = context.workspace.take<float>(neurons);
  std::vector<MomentumTensor> list(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    list[static_cast<size_t>(i)] = {each, members[i]->g, members[i]->momentum, u + i * each, members[i]->step};
  }
  context.kernels.optim.momentum(
      context, {args.state, args.momentum, args.fresh, args.grad_scale, args.nesterov}, list.data(), count);
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
  for (int64_t i = 0; i < count; ++i) {
    const MuonParameter& p = *members[i];
    for (int64_t b = 0; b < p.batch; ++b) {
      const float* o = u + i * each + b * matrix;
      DecayedUpdateArgs update{p.rows,  p.cols,  p.p + b * matrix, o,           nullptr,
                               nullptr, p.scale, args.decay,       args.cautious};
      if (p.second_moment != nullptr) {
        PALIMPSEST_TRY(
            neuron_factors(context, args, p, o, p.second_moment + b * neurons, factors));
        (args.columns ? update.col_scale : update.row_scale) = factors;
      }
      context.kernels.optim.decayed_update(context, update);
    }
  }
  return {};
}

}  // namespace

std::vector<MuonParameter> split_rows(const MuonParameter& fused, const std::vector<int64_t>& sizes,
                                      DType state) {
  std::vector<MuonParameter> blocks;
  for (int64_t b = 0; b < fused.batch; ++b) {
    int64_t row = b * fused.rows;
    for (const int64_t rows : sizes) {
      MuonParameter block = fused;
      const int64_t offset = row * fused.cols;
      block.p += offset;
      block.g += offset;
      block.momentum =
          static_cast<std::byte*>(fused.momentum) + static_cast<size_t>(offset) * size_of(state);
      if (fused.second_moment != nullptr) block.second_moment += row;
      block.batch = 1;
      block.rows = rows;
      blocks.push_back(block);
      row += rows;
    }
  }
  return blocks;
}

Status muon_step(Context& context, const MuonArgs& args) {
  const auto shape = [](const MuonParameter* p) { return std::tuple(p->batch, p->rows, p->cols); };
  std::vector<const MuonParameter*> order;
  order.reserve(args.parameters.size());
  for (const MuonParameter& p : args.parameters) {
    if (p.batch * p.rows * p.cols > 0) order.push_back(&p);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](auto* a, auto* b) { return shape(a) < shape(b); });
  for (size_t first = 0; first < order.size();) {
    const MuonParameter& p = *order[first];
    const int64_t each = p.batch * p.rows * p.cols;
    size_t last = first + 1;
    while (last < order.size() && shape(order[first]) == shape(order[last]) &&
           static_cast<int64_t>(last - first + 1) * each <= kBatchElements) {
      ++last;
    }
    PALIMPSEST_TRY(
        step_group(context, args, order.data() + first, static_cast<int64_t>(last - first)));
    first = last;
  }
  return {};
}

}  // namespace palimpsest
