// Bindings of optimizer steps. Each takes lists of parameters of one group: contiguous float32.
// Whoever calls has looked for NaN and Inf over all groups before.

#include "addon/bindings.h"
#include "palimpsest/ops/muon.h"

namespace palimpsest::addon {
namespace {

// A list whose entries are contiguous float32 and as long as those of `like`.
std::vector<View> flat_list(Call& call, const char* name, Access access,
                            const std::vector<View>* like = nullptr) {
  std::vector<View> list = call.views(name, access);
  if (like != nullptr && !list.empty() && list.size() != like->size()) {
    refuse(Code::shape, std::string("'") + name + "' must have one entry a parameter");
  }
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i].dtype != DType::f32 || !list[i].contiguous()) {
      refuse(Code::dtype, std::string("'") + name + "' must be contiguous float32");
    }
    if (like != nullptr && list[i].size() != (*like)[i].size()) {
      refuse(Code::shape, std::string("'") + name + "' must be as long as its parameter");
    }
  }
  return list;
}

float* at(const std::vector<View>& list, size_t i) {
  return list.empty() ? nullptr : list[i].as<float>();
}

// sgd(params, grads, buffers | []); then lr, momentum, dampening, weightDecay, gradScale, nesterov,
// maximize, first
auto sgd(Call& call) {
  auto params = flat_list(call, "params", Access::update);
  auto grads = flat_list(call, "grads", Access::read, &params);
  auto buffers = flat_list(call, "buffers", Access::update, &params);
  SgdArgs args{};
  args.lr = call.number();
  args.momentum = call.number();
  args.dampening = call.number();
  args.weight_decay = call.number();
  args.grad_scale = call.number();
  args.nesterov = call.flag();
  args.maximize = call.flag();
  args.first = call.flag();
  return [=](Context& context) -> Status {
    for (size_t i = 0; i < params.size(); ++i) {
      SgdArgs one = args;
      one.n = params[i].size();
      one.p = at(params, i);
      one.g = at(grads, i);
      one.buffer = at(buffers, i);
      context.kernels.optim.sgd(context, one);
    }
    return {};
  };
}

// adamw(params, grads, m, v, vMax | []); then lr, beta1, beta2, eps, weightDecay, gradScale, step,
// decoupled, maximize
auto adamw(Call& call) {
  auto params = flat_list(call, "params", Access::update);
  auto grads = flat_list(call, "grads", Access::read, &params);
  auto m = flat_list(call, "m", Access::update, &params);
  auto v = flat_list(call, "v", Access::update, &params);
  auto v_max = flat_list(call, "vMax", Access::update, &params);
  if (m.size() != params.size() || v.size() != params.size()) {
    refuse(Code::shape, "'m' and 'v' must have one entry a parameter");
  }
  AdamWArgs args{};
  args.lr = call.number();
  args.beta1 = call.number();
  args.beta2 = call.number();
  args.eps = call.number();
  args.weight_decay = call.number();
  args.grad_scale = call.number();
  args.step = call.integer("step", 1, int64_t{1} << 52);
  args.decoupled = call.flag();
  args.maximize = call.flag();
  return [=](Context& context) -> Status {
    for (size_t i = 0; i < params.size(); ++i) {
      AdamWArgs one = args;
      one.n = params[i].size();
      one.p = at(params, i);
      one.g = at(grads, i);
      one.m = at(m, i);
      one.v = at(v, i);
      one.v_max = at(v_max, i);
      context.kernels.optim.adamw(context, one);
    }
    return {};
  };
}

// lion(params, grads, m); then lr, beta1, beta2, weightDecay, gradScale
auto lion(Call& call) {
  auto params = flat_list(call, "params", Access::update);
  auto grads = flat_list(call, "grads", Access::read, &params);
  auto m = flat_list(call, "m", Access::update, &params);
  if (m.size() != params.size()) refuse(Code::shape, "'m' must have one entry a parameter");
  LionArgs args{};
  args.lr = call.number();
  args.beta1 = call.number();
  args.beta2 = call.number();
  args.weight_decay = call.number();
  args.grad_scale = call.number();
  return [=](Context& context) -> Status {
    for (size_t i = 0; i < params.size(); ++i) {
      LionArgs one = args;
      one.n = params[i].size();
      one.p = at(params, i);
      one.g = at(grads, i);
      one.m = at(m, i);
      context.kernels.optim.lion(context, one);
    }
    return {};
  };
}

// muon(params, grads, momentum, secondMoment | []) over views [batch, rows, cols]; then decay,
// momentum, fresh, nesterov, beta2, rowEps, gradScale, cautious, compute, eps, normFactor, the number
// of steps with a, b, c each, and one scale a parameter
auto muon(Call& call) {
  auto params = flat_list(call, "params", Access::update);
  auto grads = flat_list(call, "grads", Access::read, &params);
  auto momentum = flat_list(call, "momentum", Access::update, &params);
  auto second = call.views("secondMoment", Access::update);
  MuonArgs args{};
  args.decay = call.number();
  args.momentum = call.number();
  args.fresh = call.number();
  args.nesterov = call.flag();
  args.beta2 = call.number();
  args.row_eps = call.number();
  args.grad_scale = call.number();
  args.cautious = call.flag();
  args.compute = call.choice("compute", Compute::bf16);
  args.eps = call.number();
  args.norm_factor = call.number();
  const auto steps = static_cast<size_t>(call.integer("steps", 0, 1000));
  for (size_t i = 0; i < steps; ++i) {
    const double a = call.number();
    const double b = call.number();
    const double c = call.number();
    args.steps.push_back({a, b, c});
  }
  if (momentum.size() != params.size() || (!second.empty() && second.size() != params.size())) {
    refuse(Code::shape, "'momentum' and 'secondMoment' must have one entry a parameter");
  }
  for (size_t i = 0; i < params.size(); ++i) {
    const View& p = params[i];
    if (p.rank != 3) refuse(Code::shape, "'params' must be views [batch, rows, cols]");
    if (!second.empty() && (second[i].dtype != DType::f32 || !second[i].contiguous() ||
                            second[i].size() != p.shape[0] * p.shape[1])) {
      refuse(Code::shape, "'secondMoment' must hold one float32 a row");
    }
    args.parameters.push_back({p.as<float>(), at(grads, i), at(momentum, i), at(second, i),
                               p.shape[0], p.shape[1], p.shape[2], call.number()});
  }
  return [args](Context& context) { return muon_step(context, args); };
}

// orthogonalize(x, out) over rank 2 or 3; then compute, method, eps, normFactor, allowNonFinite, and
// the number of steps with a, b, c each
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
  args.eps = call.number();
  args.norm_factor = call.number();
  args.allow_nonfinite = call.flag();
  std::vector<Quintic> steps;
  const auto count = static_cast<size_t>(call.integer("steps", 0, 1000));
  for (size_t i = 0; i < count; ++i) {
    const double a = call.number();
    const double b = call.number();
    const double c = call.number();
    steps.push_back({a, b, c});
  }
  return [args, steps](Context& context) {
    NewtonSchulzArgs with_steps = args;
    with_steps.steps = steps.data();
    with_steps.step_count = static_cast<int>(steps.size());
    return palimpsest::orthogonalize(context, with_steps);
  };
}

}  // namespace

void register_optim(Exports& exports) {
  exports.add_with_async<sgd>("sgd");
  exports.add_with_async<adamw>("adamw");
  exports.add_with_async<lion>("lion");
  exports.add_with_async<muon>("muon");
  exports.add_with_async<orthogonalize>("orthogonalize");
}

}  // namespace palimpsest::addon
