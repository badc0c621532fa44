// The probes, for a level that has VecF32, VecF64 and, in this file's includer, `stream(p, v)`: a
// store that goes past the caches where the level has one.

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

// Chains of dependent multiply-adds: enough to hide the latency of two units that take 4 or 5 cycles.
constexpr int kChains = 12;

template <typename Vec>
double multiply_add(int64_t repetitions) {
  using T = typename Vec::Element;
  // Volatile, so that the compiler knows neither factor; the values tend to 2 and stay normal.
  const volatile T half = T(0.5);
  const Vec a = Vec::set(half);
  const Vec b = Vec::set(T(1));
  Vec x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = Vec::set(T(i));
  for (int64_t r = 0; r < repetitions; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) x[i] = fma(x[i], a, b);
  }
  double total = 0;
  for (int i = 0; i < kChains; ++i) total += static_cast<double>(sum(x[i]));
  return total;
}

// The time of a task should be long against the pool's wake-up: 4096 rounds are some 10 μs.
constexpr int64_t kRounds = 4096;

template <typename Vec>
Status arithmetic(Context& context, const ProbeArgs& args) {
  context.parallel(kProbeTasks, [&](int64_t task) {
    args.sink[task] = multiply_add<Vec>(kRounds * args.repetitions);
  });
  return {};
}

template <typename Vec>
constexpr ArithmeticProbe arithmetic_probe() {
  return {arithmetic<Vec>, 2 * Vec::width * kChains * kRounds};
}

// Bodies for a piece of [begin, end) whose length is a multiple of the unrolled step; the rest is
// done one by one.
constexpr int kUnrolled = 4;

template <typename Body, typename Single>
void sweep(int64_t begin, int64_t end, const Body& body, const Single& single) {
  constexpr int64_t kStep = kUnrolled * VecF32::width;
  int64_t i = begin;
  for (; i + kStep <= end; i += kStep) {
#pragma GCC unroll 4
    for (int u = 0; u < kUnrolled; ++u) body(i + u * VecF32::width, u);
  }
  for (; i < end; ++i) single(i);
}

// The first element from which on `p` is aligned for a streaming store.
inline int64_t aligned_from(const float* p, int64_t begin, int64_t end) {
  constexpr uintptr_t kMask = VecF32::width * sizeof(float) - 1;
  while (begin < end && (reinterpret_cast<uintptr_t>(p + begin) & kMask) != 0) ++begin;
  return begin;
}

Status copy(Context& context, const ProbeArgs& args) {
  const float* from = args.from;
  float* to = args.to;
  for (int64_t r = 0; r < args.repetitions; ++r) {
    context.parallel_chunks(args.n, kProbePiece, [&](int64_t begin, int64_t end) {
      const int64_t start = aligned_from(to, begin, end);
      for (int64_t i = begin; i < start; ++i) to[i] = from[i];
      sweep(start, end, [&](int64_t i, int) { stream(to + i, VecF32::load(from + i)); },
            [&](int64_t i) { to[i] = from[i]; });
    });
  }
  return {};
}

Status write(Context& context, const ProbeArgs& args) {
  float* to = args.to;
  for (int64_t r = 0; r < args.repetitions; ++r) {
    context.parallel_chunks(args.n, kProbePiece, [&](int64_t begin, int64_t end) {
      const int64_t start = aligned_from(to, begin, end);
      for (int64_t i = begin; i < start; ++i) to[i] = 1;
      sweep(start, end, [&](int64_t i, int) { stream(to + i, VecF32::set(1)); },
            [&](int64_t i) { to[i] = 1; });
    });
  }
  return {};
}

Status read(Context& context, const ProbeArgs& args) {
  const float* from = args.from;
  for (int64_t r = 0; r < args.repetitions; ++r) {
    context.parallel_chunks(args.n, kProbePiece, [&](int64_t begin, int64_t end) {
      VecF32 sums[kUnrolled];
      for (VecF32& s : sums) s = VecF32::zero();
      float rest = 0;
      sweep(begin, end, [&](int64_t i, int u) { sums[u] = sums[u] + VecF32::load(from + i); },
            [&](int64_t i) { rest += from[i]; });
      args.sink[begin / kProbePiece] =
          static_cast<double>(rest + sum((sums[0] + sums[1]) + (sums[2] + sums[3])));
    });
  }
  return {};
}

void fill(KernelTable& table) {
  table.probe.fma_f32 = arithmetic_probe<VecF32>();
  table.probe.fma_f64 = arithmetic_probe<VecF64>();
  table.probe.copy = copy;
  table.probe.read = read;
  table.probe.write = write;
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
