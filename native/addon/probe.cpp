// The machine's limits, for benchmarks.

#include "addon/bindings.h"
#include "palimpsest/ops/probe.h"

namespace palimpsest::addon {
namespace {

// probe(from, to): the floating-point operations done or the bytes moved
// block: from, to, what, repetitions
auto probe(Call& call) {
  const View from = call.view("from", Access::read);
  const View to = call.view("to", Access::write);
  const auto what = call.choice("what", Probe::write);
  const int64_t repetitions = call.integer("repetitions", 0, int64_t{1} << 32);
  double* work = call.result();
  return [=](Context& context) {
    return palimpsest::probe(context, what, from, to, repetitions, *work);
  };
}

}  // namespace

void register_probe(Exports& exports) { exports.add<probe>("probe"); }

}  // namespace palimpsest::addon
