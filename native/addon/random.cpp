// Bindings of random numbers. The block holds the views, then seed and position, then the rest.

#include "addon/bindings.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {
namespace {

constexpr int64_t kLimit = int64_t{1} << 53;

View flat(Call& call, const char* name, Access access) {
  const View view = call.view(name, access);
  if (!view.contiguous()) refuse(Code::shape, std::string("'") + name + "' must be contiguous");
  return view;
}

uint64_t position_of(Call& call, const char* name) {
  return static_cast<uint64_t>(call.integer(name, 0, kLimit));
}

RandomArgs read_random(Call& call) {
  const View out = flat(call, "out", Access::write);
  RandomArgs args{};
  args.dtype = out.dtype;
  args.n = out.size();
  args.out = out.data;
  args.seed = position_of(call, "seed");
  args.position = position_of(call, "position");
  return args;
}

RandomArgs read_floating(Call& call) {
  RandomArgs args = read_random(call);
  if (!is_floating(args.dtype)) refuse(Code::dtype, "'out' must be a floating type");
  call.read(args.a, args.b);
  return args;
}

// randomUniform(out); then seed, position, low, range
auto uniform(Call& call) {
  const RandomArgs args = read_floating(call);
  return [args](Context& context) { return context.kernels.random.uniform(context, args); };
}

// randomNormal(out); then seed, position, mean, deviation
auto normal(Call& call) {
  const RandomArgs args = read_floating(call);
  return [args](Context& context) { return context.kernels.random.normal(context, args); };
}

// randomIntegers(out); then seed, position, low, range
auto integers(Call& call) {
  RandomArgs args = read_random(call);
  if (args.dtype != DType::i32 && args.dtype != DType::f32 && args.dtype != DType::f64) {
    refuse(Code::dtype, "'out' must be int32, float32 or float64");
  }
  args.a = static_cast<double>(call.integer("low", -kLimit, kLimit));
  args.b = static_cast<double>(call.integer("range", 1, int64_t{1} << 32));
  return [args](Context& context) { return context.kernels.random.integers(context, args); };
}

// randomPermutation(out); then seed, position
auto permutation(Call& call) {
  const RandomArgs args = read_random(call);
  if (args.dtype != DType::i32) refuse(Code::dtype, "'out' must be int32");
  if (args.n > INT32_MAX) refuse(Code::shape, "'out' is too long for int32 numbers");
  return [args](Context& context) { return context.kernels.random.permutation(context, args); };
}

// dropout(x, y); then seed, position, threshold, scale
auto dropout(Call& call) {
  const View x = flat(call, "x", Access::read);
  const View y = flat(call, "y", Access::write);
  if (!is_floating(x.dtype) || y.dtype != x.dtype || y.size() != x.size()) {
    refuse(Code::dtype, "'x' and 'y' must be of one floating type and length");
  }
  DropoutArgs args{};
  args.dtype = x.dtype;
  args.n = x.size();
  args.x = x.data;
  args.y = y.data;
  args.seed = position_of(call, "seed");
  args.position = position_of(call, "position");
  args.threshold = static_cast<uint32_t>(call.integer("threshold", 0, int64_t{1} << 24));
  args.scale = call.number();
  return [args](Context& context) { return context.kernels.random.dropout(context, args); };
}

}  // namespace

void register_random(Exports& exports) {
  exports.add<uniform>("randomUniform");
  exports.add<normal>("randomNormal");
  exports.add<integers>("randomIntegers");
  exports.add<permutation>("randomPermutation");
  exports.add<dropout>("dropout");
}

}  // namespace palimpsest::addon
