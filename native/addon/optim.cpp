// Bindings of optimizer steps and of orthogonalize.

#include <string>

#include "addon/bindings.h"
#include "addon/masks.h"
#include "palimpsest/ops/dion.h"
#include "palimpsest/ops/muon.h"
#include "palimpsest/ops/optimizer.h"

namespace palimpsest::addon {
namespace {

struct Step {
  std::function<Status(Context&, const GradScale&, const GradientTensor*)> run;
  std::function<size_t(const Context&)> scratch_bytes;
};

std::vector<Quintic> read_steps(Call& call) {
  std::vector<Quintic> steps;
  const auto count = static_cast<size_t>(call.integer("steps", 0, 1000));
  for (size_t i = 0; i < count; ++i) {
    const double a = call.number();
    const double b = call.number();
    const double c = call.number();
    steps.push_back({a, b, c});
  }
  return steps;
}

constexpr int64_t kLargest = int64_t{1} << 40;

// batch, rows, cols of a parameter of n values.
void read_matrices(Call& call, int64_t n, int64_t& batch, int64_t& rows, int64_t& cols) {
  batch = call.integer("batch", 0, kLargest);
  rows = call.integer("rows", 0, kLargest);
  cols = call.integer("cols", 0, kLargest);
  const double size =
      static_cast<double>(batch) * static_cast<double>(rows) * static_cast<double>(cols);
  if (size != static_cast<double>(n)) {
    refuse(Code::shape, "batch · rows · cols must be the parameter's size");
  }
}

// Hands out a group's buffers in the order in which lib/optim/optimizer.ts lists them: its parameters,
// then for each kind of state one buffer a parameter.
class Group {
 public:
  Group(Call& call, const std::vector<View>& grads, const std::vector<View>& buffers, size_t& grad,
        size_t& buffer)
      : call_(call), buffers_(buffers), buffer_(buffer) {
    count = static_cast<size_t>(call.integer("parameters", 0, 1 << 24));
    state = call.choice<DType>("stateDtype", DType::boolean);
    if (state != DType::f32 && state != DType::bf16) {
      refuse(Code::dtype, "state must be float32 or bfloat16");
    }
    if (grad + count > grads.size()) refuse(Code::shape, "'grads' has too few entries");
    for (size_t i = 0; i < count; ++i, ++grad) {
      check(grads[grad], "grads", DType::f32, grads[grad].size());
      gradients.push_back({grads[grad].size(), grads[grad].as<const float>()});
    }
    for (size_t i = 0; i < count; ++i) {
      parameters.push_back(static_cast<float*>(take(DType::f32, gradients[i].n).data));
    }
    masked = call.flag();
    for (size_t i = 0; i < count; ++i) {
      lengths.push_back(gradients[i].n);
      if (!masked) continue;
      const View& view = any();
      const int64_t on = call.integer("entries that are on", 0, gradients[i].n);
      // No bytes: this parameter has no mask.
      if (view.size() == 0) continue;
      gradients[i].mask = mask_of(view, "masks", gradients[i].n);
      lengths[i] = gradients[i].on = on;
      if (call.device() == nullptr && count_bits(gradients[i].mask, gradients[i].n) != on) {
        refuse(Code::argument, "a mask does not have as many bits as was said");
      }
    }
  }

  // One state buffer a parameter, as long as it.
  std::vector<void*> states() {
    std::vector<void*> list;
    for (size_t i = 0; i < count; ++i) list.push_back(next<void>(i, state));
    return list;
  }
  // Null for all where `present` is false.
  std::vector<void*> states_if(bool present) {
    return present ? states() : std::vector<void*>(count, nullptr);
  }
  // A buffer of its own length.
  View take(DType dtype, int64_t length) {
    const View& view = any();
    check(view, "buffers", dtype, length);
    return view;
  }
  int64_t step() { return call_.integer("step", 1, int64_t{1} << 52); }

  size_t count;
  DType state;
  std::vector<GradientTensor> gradients;
  std::vector<float*> parameters;
  // Whether a parameter has a mask, and how many values each one's state holds.
  bool masked = false;
  std::vector<int64_t> lengths;

 private:
  const View& any() {
    if (buffer_ >= buffers_.size()) refuse(Code::shape, "'buffers' has too few entries");
    return buffers_[buffer_++];
  }
  static void check(const View& view, const char* name, DType dtype, int64_t length) {
    if (view.dtype != dtype || !view.contiguous() || view.size() != length) {
      refuse(Code::shape, std::string("'") + name + "' must hold " + std::to_string(length) +
                              " contiguous " + name_of(dtype));
    }
  }
  template <typename T>
  T* next(size_t i, DType dtype) {
    return static_cast<T*>(take(dtype, lengths[i]).data);
  }

  Call& call_;
  const std::vector<View>& buffers_;
  size_t& buffer_;
};

// The step of a rule whose kernel takes a list of tensors.
template <typename Kernel, typename Args, typename Tensor>
Step over(Kernel OptimKernels::*kernel, Args args, std::vector<Tensor> list) {
  return {[kernel, args, list = std::move(list)](Context& context, const GradScale& scale,
                                                 const GradientTensor* gradients) mutable -> Status {
    args.grad_scale = scale;
    for (size_t i = 0; i < list.size(); ++i) list[i].compact = gradients[i].compact;
    (context.kernels.optim.*kernel)(context, args, list.data(), static_cast<int64_t>(list.size()));
    return {};
  }, {}};
}

// lr, momentum, dampening, weightDecay, nesterov, maximize; a step a parameter
Step sgd(Call& call, Group& group) {
  SgdArgs args{};
  args.state = group.state;
  call.read(args.lr, args.momentum, args.dampening, args.weight_decay, args.nesterov,
            args.maximize);
  const auto buffers = group.states_if(args.momentum != 0);
  std::vector<SgdTensor> list;
  for (size_t i = 0; i < group.count; ++i) {
    const GradientTensor& x = group.gradients[i];
    list.push_back({x.n, group.parameters[i], x.g, buffers[i], group.step(), x.mask});
  }
  return over(&OptimKernels::sgd, args, std::move(list));
}

// lr, beta1, beta2, eps, weightDecay, amsgrad, decoupled, maximize; a step a parameter
Step adamw(Call& call, Group& group) {
  AdamWArgs args{};
  args.state = group.state;
  call.read(args.lr, args.beta1, args.beta2, args.eps, args.weight_decay);
  const bool amsgrad = call.flag();
  call.read(args.decoupled, args.maximize);
  const auto m = group.states();
  const auto v = group.states();
  const auto v_max = group.states_if(amsgrad);
  std::vector<AdamWTensor> list;
  for (size_t i = 0; i < group.count; ++i) {
    const GradientTensor& x = group.gradients[i];
    list.push_back({x.n, group.parameters[i], x.g, m[i], v[i], v_max[i], group.step(), x.mask});
  }
  return over(&OptimKernels::adamw, args, std::move(list));
}

// lr, beta1, beta2, weightDecay; a step a parameter
Step lion(Call& call, Group& group) {
  LionArgs args{};
  args.state = group.state;
  call.read(args.lr, args.beta1, args.beta2, args.weight_decay);
  const auto m = group.states();
  std::vector<LionTensor> list;
  for (size_t i = 0; i < group.count; ++i) {
    const GradientTensor& x = group.gradients[i];
    list.push_back({x.n, group.parameters[i], x.g, m[i], group.step(), x.mask});
  }
  return over(&OptimKernels::lion, args, std::move(list));
}

// decay, momentum, fresh, nesterov, normalised, beta2, rowEps, cautious, columns, compute, eps,
// normFactor, normalization, the number of steps with a, b, c each; then for each parameter step, batch,
// rows, cols, the number of row blocks with their sizes, and scale and norm for each block (one where unsplit)
Step muon(Call& call, Group& group) {
  MuonArgs args{};
  args.state = group.state;
  call.read(args.decay, args.momentum, args.fresh, args.nesterov);
  const bool normalised = call.flag();
  call.read(args.beta2, args.row_eps, args.cautious, args.columns);
  args.compute = call.choice("compute", Compute::bf16);
  call.read(args.eps, args.norm_factor);
  args.normalization = call.choice("normalization", Normalization::aol);
  args.steps = read_steps(call);
  const auto momentum = group.states();
  for (size_t i = 0; i < group.count; ++i) {
    MuonParameter p{};
    p.p = group.parameters[i];
    p.g = group.gradients[i].g;
    p.momentum = momentum[i];
    p.step = group.step();
    read_matrices(call, group.gradients[i].n, p.batch, p.rows, p.cols);
    if (normalised) {
      const int64_t neurons = p.batch * (args.columns ? p.cols : p.rows);
      p.second_moment = group.take(DType::f32, neurons).as<float>();
    }
    std::vector<int64_t> sizes(static_cast<size_t>(call.integer("splitSizes", 0, 1 << 16)));
    int64_t sum = 0;
    for (int64_t& size : sizes) sum += size = call.integer("splitSizes", 1, kLargest);
    if (!sizes.empty() && (sum != p.rows || args.columns)) {
      refuse(Code::shape, "'splitSizes' must sum to the rows of a matrix whose neurons are rows");
    }
    std::vector<std::pair<double, double>> factors;
    for (size_t k = 0; k < std::max<size_t>(1, sizes.size()); ++k) {
      const double scale = call.number();
      factors.emplace_back(scale, call.number());
    }
    auto blocks = sizes.empty() ? std::vector{p} : split_rows(p, sizes, args.state);
    for (size_t k = 0; k < blocks.size(); ++k) {
      std::tie(blocks[k].scale, blocks[k].norm) = factors[k % factors.size()];
      args.parameters.push_back(blocks[k]);
    }
  }
  return {[args](Context& context, const GradScale& scale, const GradientTensor*) mutable {
            args.grad_scale = scale;
            return muon_step(context, args);
          },
          [args](const Context& context) { return muon_bytes(context, args); }};
}

// decay, momentum, eps; then for each parameter step, batch, rows, cols, rank and scale
Step dion(Call& call, Group& group) {
  if (call.device() != nullptr) {
    refuse(Code::device, "Dion works on the CPU alone: bring its parameters there with to('cpu')");
  }
  DionArgs args{};
  args.state = group.state;
  call.read(args.decay, args.momentum, args.eps);
  const auto momentum = group.states();
  for (size_t i = 0; i < group.count; ++i) {
    DionParameter p{};
    p.p = group.parameters[i];
    p.g = group.gradients[i].g;
    p.momentum = momentum[i];
    p.step = group.step();
    read_matrices(call, group.gradients[i].n, p.batch, p.rows, p.cols);
    const int64_t width = std::min(p.rows, p.cols);
    p.rank = call.integer("rank", 0, width);
    p.q = group.take(DType::f32, p.batch * width * p.rank).as<float>();
    p.scale = call.number();
    args.parameters.push_back(p);
  }
  return {[args](Context& context, const GradScale& scale, const GradientTensor*) mutable {
            args.grad_scale = scale;
            return dion_step(context, args);
          },
          {}};
}

// In the order of the codes in lib/optim/.
constexpr Step (*kAlgorithms[])(Call&, Group&) = {sgd, adamw, lion, muon, dion};

// optimizerStep(grads, buffers, recorder or null): one step of all groups; then the largest global norm, the number of
// groups, and for each its algorithm, largest norm, and what Group and the algorithm read. Returns the
// global norm.
auto step(Call& call) {
  const auto grads = call.views("grads", Access::read);
  const auto buffers = call.views("buffers", Access::update);
  const std::shared_ptr<Recorder> recorder = call.optional_recorder();
  double* norm = call.result();
  const double max_norm = call.number();
  const int64_t count = call.integer("groups", 0, 1 << 20);
  std::vector<OptimizerGroup> groups;
  size_t grad = 0;
  size_t buffer = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t algorithm = call.integer("algorithm", 0, std::size(kAlgorithms) - 1);
    OptimizerGroup made;
    made.max_norm = call.number();
    Group group(call, grads, buffers, grad, buffer);
    constexpr int64_t kMaskable = 3;  // sgd, adamw, lion
    if (group.masked && algorithm >= kMaskable) refuse(Code::argument, "this rule takes no masks");
    Step rule = kAlgorithms[algorithm](call, group);
    made.step = std::move(rule.run);
    made.scratch_bytes = std::move(rule.scratch_bytes);
    made.gradients = std::move(group.gradients);
    groups.push_back(std::move(made));
  }
  return [groups, max_norm, norm, recorder](Context& context) {
    return optimizer_step(context, groups, max_norm, *norm, recorder.get());
  };
}

// fisher(values, grads) over lists: a gradient may hold several, one after the other; then keep, fresh
auto fisher(Call& call) {
  const auto values = call.views("values", Access::update);
  const auto grads = call.views("grads", Access::read);
  if (grads.size() != values.size()) refuse(Code::shape, "'grads' must have one entry a tensor");
  std::vector<FisherArgs> list;
  const double keep = call.number();
  const double fresh = call.number();
  for (size_t i = 0; i < values.size(); ++i) {
    const View& f = values[i];
    const View& g = grads[i];
    if (f.dtype != DType::f32 || g.dtype != DType::f32 || !f.contiguous() || !g.contiguous()) {
      refuse(Code::dtype, "'values' and 'grads' must be contiguous float32");
    }
    if (f.size() == 0) continue;
    if (g.size() % f.size() != 0) refuse(Code::shape, "'grads' must hold whole gradients");
    list.push_back({f.size(), g.size() / f.size(), g.as<const float>(), f.as<float>(), keep, fresh});
  }
  return [list](Context& context) -> Status {
    for (const FisherArgs& args : list) context.kernels.optim.fisher(context, args);
    return {};
  };
}

// orthogonalize(x, out) over rank 2 or 3; then compute, method, eps, normFactor, normalization,
// allowNonFinite, and the number of steps with a, b, c each
auto orthogonalize(Call& call) {
  const View x = call.view("x", Access::read);
  const View out = call.view("out", Access::write);
  const auto matrix = [](const View& v, const char* name) {
    if (v.rank != 2 && v.rank != 3) {
      refuse(Code::shape, std::string("'") + name + "' must have rank 2 or 3");
    }
    const int r = v.rank - 2;
    return Matrix{v.data,       v.dtype,          v.shape[r], v.shape[r + 1],
                  v.strides[r], v.strides[r + 1], r == 1 ? v.strides[0] : 0};
  };
  NewtonSchulzArgs args;
  args.x = matrix(x, "x");
  args.out = matrix(out, "out");
  args.batch = x.rank == 3 ? x.shape[0] : 1;
  if (x.rank != out.rank || (x.rank == 3 && x.shape[0] != out.shape[0])) {
    refuse(Code::shape, "'out' must have the shape of 'x'");
  }
  args.compute = call.choice("compute", Compute::bf16);
  args.method = call.choice("method", NewtonSchulzMethod::gram);
  call.read(args.eps, args.norm_factor);
  args.normalization = call.choice("normalization", Normalization::aol);
  call.read(args.allow_nonfinite);
  const std::vector<Quintic> steps = read_steps(call);
  return [args, steps](Context& context) {
    NewtonSchulzArgs with_steps = args;
    with_steps.steps = steps.data();
    with_steps.step_count = static_cast<int>(steps.size());
    return palimpsest::orthogonalize(context, with_steps);
  };
}

}  // namespace

void register_optim(Exports& exports) {
  exports.add_with_async<step>("optimizerStep");
  exports.add<fisher>("fisher");
  exports.add_with_async<orthogonalize>("orthogonalize");
}

}  // namespace palimpsest::addon
