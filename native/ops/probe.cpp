#include "palimpsest/ops/probe.h"

#include <algorithm>

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest {
namespace {

struct Chosen {
  ProbeKernel run;
  double work_of_one;  // operations a task, or bytes an element
  bool memory;
};

Chosen choose(const ProbeKernels& kernels, Probe what) {
  const auto arithmetic = [](const ArithmeticProbe& p) {
    return Chosen{p.run, static_cast<double>(p.operations), false};
  };
  switch (what) {
    case Probe::fma_f32: return arithmetic(kernels.fma_f32);
    case Probe::fma_f64: return arithmetic(kernels.fma_f64);
    case Probe::dot_bf16: return arithmetic(kernels.dot_bf16);
    case Probe::copy: return {kernels.copy, 2 * sizeof(float), true};
    case Probe::read: return {kernels.read, sizeof(float), true};
    case Probe::write: return {kernels.write, sizeof(float), true};
  }
  return {};
}

bool fits(const View& view, int64_t n) {
  return view.dtype == DType::f32 && view.contiguous() && view.size() == n;
}

}  // namespace

Status probe(Context& context, Probe what, const View& from, const View& to, int64_t repetitions,
             double& work) {
  work = 0;
  if (repetitions < 0) return {Code::argument, "'repetitions' must not be negative"};
  const Chosen chosen = choose(context.kernels.probe, what);
  if (chosen.run == nullptr) return {};
  ProbeArgs args;
  args.repetitions = repetitions;
  if (chosen.memory) {
    args.n = from.size();
    if (!fits(from, args.n) || !fits(to, args.n)) {
      return {Code::shape, "a memory probe takes two contiguous float32 views of one size"};
    }
    args.from = from.as<const float>();
    args.to = to.as<float>();
  }
  const int64_t pieces = (args.n + kProbePiece - 1) / kProbePiece;
  const Workspace::Scope scope(context.workspace);
  args.sink = context.workspace.take<double>(std::max(pieces, kProbeTasks));
  const Status status = chosen.run(context, args);
  const auto units = static_cast<double>(chosen.memory ? args.n : kProbeTasks);
  if (status.ok()) work = chosen.work_of_one * units * static_cast<double>(repetitions);
  return status;
}

}  // namespace palimpsest
