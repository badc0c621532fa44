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

constexpr int64_t kBatchElements = 1 << 20;  // at most this many elements are batched …
constexpr int64_t kDeviceBatchElements = 1 << 23;  // … and on a device

// NorMuon (arXiv 2510.05491): neurons of o are divided by the root of their running mean square, and
// the whole is brought to o's Frobenius norm, or to p.norm. Only factors are computed here: o is not
// touched. `squares` of the neurons become the factors.
NeuronFactorArgs factors_of(const MuonArgs& args, const MuonParameter& p, float* second_moment, float* squares) {
  const int64_t neurons = args.columns ? p.cols : p.rows;
  const int64_t inputs = args.columns ? p.rows : p.cols;
  return {neurons, inputs, squares, second_moment, squares, args.beta2, args.row_eps, p.norm, args.grad_scale.at};
}

// The squares of the neurons of `matrices` stacked matrices.
Status neuron_squares(Context& context, const MuonArgs& args, int64_t matrices, int64_t rows, int64_t cols,
                      const float* o, float* squares) {
  const View in = contiguous_view(o, {matrices, rows, cols});
  const View out = args.columns ? contiguous_view(squares, {matrices, 1, cols})
                                : contiguous_view(squares, {matrices, rows, 1});
  return context.kernels.reduce.reduce(
      context, {Reduction::sum_of_squares, out, in, args.columns ? 0b010u : 0b100u});
}

NewtonSchulzArgs iteration_of(const Context& context, const MuonArgs& args, const MuonParameter& shape, int64_t count) {
  NewtonSchulzArgs ns;
  ns.x = row_major(static_cast<float*>(nullptr), shape.rows, shape.cols);
  ns.out = ns.x;
  ns.batch = count * shape.batch;
  ns.steps = args.steps.data();
  ns.step_count = static_cast<int>(args.steps.size());
  ns.compute = args.compute;
  ns.eps = args.eps;
  ns.norm_factor = args.norm_factor;
  ns.normalization = args.normalization;
  // Gradients are finite, and so is their average. A device is not waited for to see that.
  ns.allow_nonfinite = context.access != nullptr;
  return ns;
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
  const bool normalised = shape.second_moment != nullptr;
  auto* factors = normalised ? context.workspace.take<float>(count * shape.batch * neurons) : nullptr;
  std::vector<MomentumTensor> list(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    list[static_cast<size_t>(i)] = {each, members[i]->g, members[i]->momentum, u + i * each, members[i]->step};
  }
  context.kernels.optim.momentum(
      context, {args.state, args.momentum, args.fresh, args.grad_scale, args.nesterov}, list.data(), count);
  NewtonSchulzArgs ns = iteration_of(context, args, shape, count);
  ns.x.data = ns.out.data = u;
  PALIMPSEST_TRY(orthogonalize(context, ns));
  if (normalised) {
    PALIMPSEST_TRY(neuron_squares(context, args, count * shape.batch, shape.rows, shape.cols, u, factors));
  }
  std::vector<NeuronFactorArgs> neurons_of;
  std::vector<DecayedUpdateArgs> updates;
  for (int64_t i = 0; i < count; ++i) {
    const MuonParameter& p = *members[i];
    for (int64_t b = 0; b < p.batch; ++b) {
      const float* o = u + i * each + b * matrix;
      DecayedUpdateArgs update{p.rows,  p.cols,  p.p + b * matrix, o,             nullptr,
                               nullptr, p.scale, args.decay,       args.cautious, args.grad_scale.at};
      if (normalised) {
        float* own = factors + (i * p.batch + b) * neurons;
        neurons_of.push_back(factors_of(args, p, p.second_moment + b * neurons, own));
        (args.columns ? update.col_scale : update.row_scale) = own;
      }
      updates.push_back(update);
    }
  }
  const OptimKernels& kernels = context.kernels.optim;
  if (kernels.neuron_factors_each != nullptr) {
    PALIMPSEST_TRY(kernels.neuron_factors_each(context, neurons_of.data(), static_cast<int64_t>(neurons_of.size())));
  } else {
    for (const NeuronFactorArgs& one : neurons_of) PALIMPSEST_TRY(kernels.neuron_factors(context, one));
  }
  if (kernels.decayed_updates != nullptr) {
    kernels.decayed_updates(context, updates.data(), static_cast<int64_t>(updates.size()));
  } else {
    for (const DecayedUpdateArgs& update : updates) kernels.decayed_update(context, update);
  }
  return {};
}

// What a group takes at most; kernels' own needs are small.
size_t group_bytes(const Context& context, const MuonArgs& args, const MuonParameter& shape, int64_t count) {
  const int64_t own = count * shape.batch * (shape.rows * shape.cols + shape.rows + shape.cols);
  return static_cast<size_t>(own) * sizeof(float) +
         newton_schulz_bytes(iteration_of(context, args, shape, count)) + (size_t{1} << 20);
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

namespace {

// Parameters `first` … of `order` that are stepped together.
struct Batch {
  size_t first;
  int64_t count;
};

std::vector<Batch> batches_of(const Context& context, const MuonArgs& args, std::vector<const MuonParameter*>& order) {
  const auto shape = [](const MuonParameter* p) { return std::tuple(p->batch, p->rows, p->cols); };
  order.reserve(args.parameters.size());
  for (const MuonParameter& p : args.parameters) {
    if (p.batch * p.rows * p.cols > 0) order.push_back(&p);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](auto* a, auto* b) { return shape(a) < shape(b); });
  // A device's multiprocessors want more at a time.
  const int64_t limit = context.access == nullptr ? kBatchElements : kDeviceBatchElements;
  std::vector<Batch> batches;
  for (size_t first = 0; first < order.size();) {
    const MuonParameter& p = *order[first];
    const int64_t each = p.batch * p.rows * p.cols;
    size_t last = first + 1;
    while (last < order.size() && shape(order[first]) == shape(order[last]) &&
           static_cast<int64_t>(last - first + 1) * each <= limit) {
      ++last;
    }
    batches.push_back({first, static_cast<int64_t>(last - first)});
    first = last;
  }
  return batches;
}

}  // namespace

size_t muon_bytes(const Context& context, const MuonArgs& args) {
  std::vector<const MuonParameter*> order;
  size_t most = 0;
  for (const auto& [first, count] : batches_of(context, args, order)) {
    most = std::max(most, group_bytes(context, args, *order[first], count));
  }
  return most;
}

Status muon_step(Context& context, const MuonArgs& args) {
  std::vector<const MuonParameter*> order;
  const std::vector<Batch> batches = batches_of(context, args, order);
  // A device runs out of memory before anything is changed, or not at all.
  if (context.access != nullptr) context.workspace.reserve(muon_bytes(context, args));
  for (const auto& [first, count] : batches) {
    PALIMPSEST_TRY(step_group(context, args, order.data() + first, count));
  }
  return {};
}

}  // namespace palimpsest
