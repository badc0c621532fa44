// Floor: one read of all gradients (4 bytes a parameter), then what the groups' steps move. Of gradients
// under sparse masks the first look keeps what is on, and the step needs no second one.

#include "palimpsest/ops/optimizer.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"
#include "palimpsest/recorder.h"

namespace palimpsest {
namespace {

// Above this part of its entries a gradient is read again: keeping it would save little, and scratch
// memory stays below a byte a parameter.
constexpr int64_t kSparse = 4;

double clip(double norm, double limit) { return norm > limit ? limit / (norm + 1e-6) : 1; }

Status not_finite(int64_t parameter, bool finite) {
  return {Code::numerical, "the gradient of parameter " + std::to_string(parameter) +
                               (finite ? " is too large" : " holds NaN or Inf") + "; no parameter was changed"};
}

// Whether the first look keeps a gradient's entries that are on.
bool kept(const Context& context, const GradientTensor& gradient) {
  return gradient.mask != nullptr && gradient.on <= gradient.n / kSparse && context.kernels.optim.keeps_compact;
}

// A device runs out of memory before anything is changed, or not at all.
void reserve(Context& context, const std::vector<OptimizerGroup>& groups, const std::vector<GradientTensor>& all) {
  if (context.access == nullptr) return;
  // What the elementwise rules and the sums take.
  size_t entries = 0;
  size_t compact = 0;
  for (const GradientTensor& gradient : all) {
    entries += static_cast<size_t>(gradient.n);
    if (kept(context, gradient)) compact += static_cast<size_t>(gradient.on) * sizeof(float);
  }
  const size_t own = compact + entries / 512 + 64 * (all.size() + groups.size()) + (size_t{1} << 16);
  size_t most = 0;
  for (const OptimizerGroup& group : groups) {
    if (group.scratch_bytes) most = std::max(most, group.scratch_bytes(context));
  }
  context.workspace.reserve(own + most);
}

// The whole step as work that starts kernels and waits for nothing.
Status recorded_step(const Context& caller, const std::vector<OptimizerGroup>& groups,
                     const std::vector<GradientTensor>& all, double max_norm, double& norm, Recorder& recorder) {
  std::vector<int64_t> ends;
  std::vector<double> max_norms;
  for (const OptimizerGroup& group : groups) {
    ends.push_back((ends.empty() ? 0 : ends.back()) + static_cast<int64_t>(group.gradients.size()));
    max_norms.push_back(group.max_norm);
  }
  const auto count = static_cast<int64_t>(groups.size());
  const auto work = [&](Context& context, double* answers) -> Status {
    const Workspace::Scope scope(context.workspace);
    reserve(context, groups, all);
    auto* const scales = context.workspace.take<double>(count);
    PALIMPSEST_TRY(context.kernels.optim.decide(
        context, {all.data(), static_cast<int64_t>(all.size()), ends.data(), max_norms.data(), count, max_norm,
                  scales, answers}));
    PALIMPSEST_TRY(recorder.answered());
    for (int64_t i = 0; i < count; ++i) {
      if (context.aborted()) return {Code::aborted, "aborted"};
      const OptimizerGroup& group = groups[static_cast<size_t>(i)];
      PALIMPSEST_TRY(group.step(context, {1, scales + i}, group.gradients.data()));
    }
    return {};
  };
  double answers[3];
  PALIMPSEST_TRY(recorder.run(caller, work, answers, 3));
  norm = answers[0];
  return answers[1] < 0 ? Status() : not_finite(static_cast<int64_t>(answers[1]), answers[2] != 0);
}

}  // namespace

Status optimizer_step(Context& context, const std::vector<OptimizerGroup>& groups, double max_norm,
                      double& norm, Recorder* recorder) {
  std::vector<GradientTensor> all;
  for (const OptimizerGroup& group : groups) {
    all.insert(all.end(), group.gradients.begin(), group.gradients.end());
  }
  if (recorder != nullptr && context.kernels.optim.decide != nullptr && !all.empty()) {
    return recorded_step(context, groups, all, max_norm, norm, *recorder);
  }
  reserve(context, groups, all);
  const Workspace::Scope scope(context.workspace);
  for (GradientTensor& gradient : all) {
    if (kept(context, gradient)) gradient.compact = context.workspace.take<float>(gradient.on);
  }
  std::vector<double> squares(all.size());
  context.kernels.optim.sum_of_squares(context, all.data(), static_cast<int64_t>(all.size()),
                                       squares.data());
  double total = 0;
  for (const double value : squares) total += value;
  norm = std::sqrt(total);
  const double global = clip(norm, max_norm);
  std::vector<double> scales;
  size_t at = 0;
  for (const OptimizerGroup& group : groups) {
    double sum = 0;
    for (size_t i = 0; i < group.gradients.size(); ++i) sum += squares[at + i];
    const double scale = global * clip(global * std::sqrt(sum), group.max_norm);
    for (size_t i = 0; i < group.gradients.size(); ++i, ++at) {
      const double largest = squares[at] * scale * scale;
      if (!(largest < static_cast<double>(std::numeric_limits<float>::max()))) {
        return not_finite(static_cast<int64_t>(at), std::isfinite(squares[at]));
      }
    }
    scales.push_back(scale);
  }
  const GradientTensor* own = all.data();
  for (size_t i = 0; i < groups.size(); ++i) {
    if (context.aborted()) return {Code::aborted, "aborted"};
    PALIMPSEST_TRY(groups[i].step(context, {scales[i]}, own));
    own += groups[i].gradients.size();
  }
  return {};
}

}  // namespace palimpsest
