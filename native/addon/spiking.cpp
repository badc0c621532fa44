// Bindings of spiking neurons.

#include "addon/bindings.h"
#include "addon/dense.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {
namespace {

// decay, threshold, hardReset
void read_numbers(Call& call, LifArgs& args) {
  call.read(args.decay, args.threshold, args.hard_reset);
}

// lif(x, potentials, spikes, state); then decay, threshold, hardReset
auto lif(Call& call) {
  const View x = dense(call, "x", Access::read, 2);
  LifArgs args{};
  args.dtype = x.dtype;
  args.time = x.shape[0];
  args.n = x.shape[1];
  args.x = x.data;
  args.potentials = dense_like(call, "potentials", Access::write, x).data;
  args.spikes = dense_like(call, "spikes", Access::write, x).data;
  args.state = vector_of(call.view("state", Access::update), "state", x.dtype, args.n);
  read_numbers(call, args);
  return [args](Context& context) { return context.kernels.spiking.lif(context, args); };
}

// lifBackward(potentials, dspikes, dx); then decay, threshold, hardReset, surrogate, alpha, detached
auto lif_backward(Call& call) {
  const View potentials = dense(call, "potentials", Access::read, 2);
  LifBackwardArgs args{};
  args.forward.dtype = potentials.dtype;
  args.forward.time = potentials.shape[0];
  args.forward.n = potentials.shape[1];
  args.forward.potentials = potentials.data;
  args.dspikes = dense_like(call, "dspikes", Access::read, potentials).data;
  args.dx = dense_like(call, "dx", Access::write, potentials).data;
  read_numbers(call, args.forward);
  args.surrogate = call.choice("surrogate", Surrogate::rectangle);
  call.read(args.alpha, args.detached);
  return [args](Context& context) { return context.kernels.spiking.lif_backward(context, args); };
}

}  // namespace

void register_spiking(Exports& exports) {
  exports.add<lif>("lif");
  exports.add<lif_backward>("lifBackward");
}

}  // namespace palimpsest::addon
