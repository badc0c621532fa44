// Floor: one read of all gradients (4 bytes a parameter), then what the groups' steps move. Of gradients
// under sparse masks the first look keeps what is on, and the step needs no second one.

#include "palimpsest/ops/optimizer.h"

#include <cmath>
#include <string>

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest {
namespace {

// Above this part of its entries a gradient is read again: keeping it would save little, and scratch
// memory stays below a byte a parameter.
constexpr int64_t kSparse = 4;

double clip(double norm, double limit) { return norm > limit ? limit / (norm + 1e-6) : 1; }

}  // namespace

Status optimizer_step(Context& context, const std::vector<OptimizerGroup>& groups, double max_norm,
                      double& norm) {
  std::vector<GradientTensor> all;
  for (const OptimizerGroup& group : groups) {
    all.insert(all.end(), group.gradients.begin(), group.gradients.end());
  }
  if (context.access != nullptr) {
    // What the elementwise rules take: a device runs out of memory before anything is changed.
    size_t entries = 0;
    for (const GradientTensor& gradient : all) entries += static_cast<size_t>(gradient.n);
    context.workspace.reserve(entries / 512 + 64 * all.size() + (size_t{1} << 16));
  }
  const Workspace::Scope scope(context.workspace);
  for (GradientTensor& gradient : all) {
    if (gradient.mask == nullptr || gradient.on > gradient.n / kSparse) continue;
    if (!context.kernels.optim.keeps_compact) break;
    gradient.compact = context.workspace.take<float>(gradient.on);
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
        const bool finite = std::isfinite(squares[at]);
        return {Code::numerical, "the gradient of parameter " + std::to_string(at) +
                                     (finite ? " is too large" : " holds NaN or Inf") +
                                     "; no parameter was changed"};
      }
    }
    scales.push_back(scale);
  }
  const GradientTensor* own = all.data();
  for (size_t i = 0; i < groups.size(); ++i) {
    if (context.aborted()) return {Code::aborted, "aborted"};
    PALIMPSEST_TRY(groups[i].step(context, scales[i], own));
    own += groups[i].gradients.size();
  }
  return {};
}

}  // namespace palimpsest
