// Running sums, products, maxima and minima. Floor: each element read and written once. A task owns
// columns that lie beside each other, so that rows of them are read as they lie; a single long line
// is cut into chunks whose totals are combined first, by its length alone.

#include <algorithm>
#include <type_traits>

#include "cpu/reduce/rows.h"
#include "cpu/walk.h"
#include "palimpsest/context.h"

namespace palimpsest::cpu {
namespace {

constexpr int64_t kColumns = 64;
constexpr int64_t kChunk = 65536;
constexpr int64_t kGrain = 16384;

template <typename T>
using Accumulator = std::conditional_t<std::is_integral_v<T>, uint32_t, double>;

template <typename T>
Accumulator<T> load(T x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return to_float(x);
  } else {
    return static_cast<Accumulator<T>>(x);
  }
}

template <typename T>
T store(Accumulator<T> x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return to_bf16(static_cast<float>(x));
  } else {
    return static_cast<T>(x);
  }
}

template <typename T, Cumulative kOp>
Accumulator<T> join(Accumulator<T> total, Accumulator<T> x) {
  // Integers are compared as they are, and added and multiplied where wrapping is defined.
  using C = std::conditional_t<std::is_integral_v<T>, int32_t, double>;
  const auto a = static_cast<C>(total);
  const auto b = static_cast<C>(x);
  if constexpr (kOp == Cumulative::sum) return total + x;
  if constexpr (kOp == Cumulative::prod) return total * x;
  if constexpr (kOp == Cumulative::max) return b != b || (b > a && a == a) ? x : total;
  if constexpr (kOp == Cumulative::min) return b != b || (b < a && a == a) ? x : total;
}

template <typename T, Cumulative kOp>
void scan(Context& context, const CumulativeArgs& args) {
  const int axis = args.axis;
  const int64_t n = args.in.shape[axis];
  View out = args.out;
  View in = args.in;
  out.shape[axis] = in.shape[axis] = 1;
  const View* views[] = {&out, &in};
  const Walk walk = make_walk(views, 2);
  if (walk.size == 0 || n == 0) return;
  const int64_t turn = args.reverse ? n - 1 : 0;
  const int64_t sign = args.reverse ? -1 : 1;
  const T* from = in.as<const T>() + turn * in.strides[axis];
  T* to = out.as<T>() + turn * out.strides[axis];
  const int64_t in_step = sign * in.strides[axis];
  const int64_t out_step = sign * out.strides[axis];

  if (walk.size == 1 && n > kChunk) {
    const int64_t chunks = (n + kChunk - 1) / kChunk;
    const Workspace::Scope scope(Workspace::local());
    auto* totals = Workspace::local().take<Accumulator<T>>(chunks);
    context.parallel_chunks(n, kChunk, [&](int64_t begin, int64_t end) {
      auto total = load(from[begin * in_step]);
      for (int64_t i = begin + 1; i < end; ++i) total = join<T, kOp>(total, load(from[i * in_step]));
      totals[begin / kChunk] = total;
    });
    for (int64_t c = 1; c < chunks; ++c) totals[c] = join<T, kOp>(totals[c - 1], totals[c]);
    context.parallel_chunks(n, kChunk, [&](int64_t begin, int64_t end) {
      const int64_t c = begin / kChunk;
      auto total = load(from[begin * in_step]);
      if (c > 0) total = join<T, kOp>(totals[c - 1], total);
      to[begin * out_step] = store<T>(total);
      for (int64_t i = begin + 1; i < end; ++i) {
        total = join<T, kOp>(total, load(from[i * in_step]));
        to[i * out_step] = store<T>(total);
      }
    });
    return;
  }

  const int last = walk.rank - 1;
  const int64_t inner = walk.inner();
  const int64_t beside_out = walk.strides[0][last];
  const int64_t beside_in = walk.strides[1][last];
  const int64_t pieces = (inner + kColumns - 1) / kColumns;
  const int64_t grain = std::max<int64_t>(1, kGrain / (std::min(inner, kColumns) * n));
  context.parallel_chunks(walk.outer() * pieces, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      int64_t at[kMaxOperands];
      walk.row(task / pieces, at);
      const int64_t first = task % pieces * kColumns;
      const int64_t columns = std::min(kColumns, inner - first);
      const T* x = from + at[1] + first * beside_in;
      T* y = to + at[0] + first * beside_out;
      Accumulator<T> totals[kColumns];
      for (int64_t c = 0; c < columns; ++c) {
        totals[c] = load(x[c * beside_in]);
        y[c * beside_out] = store<T>(totals[c]);
      }
      for (int64_t i = 1; i < n; ++i) {
        x += in_step;
        y += out_step;
        for (int64_t c = 0; c < columns; ++c) {
          totals[c] = join<T, kOp>(totals[c], load(x[c * beside_in]));
          y[c * beside_out] = store<T>(totals[c]);
        }
      }
    }
  });
}

template <typename T>
void scan_typed(Context& context, const CumulativeArgs& args) {
  switch (args.op) {
    case Cumulative::sum: return scan<T, Cumulative::sum>(context, args);
    case Cumulative::prod: return scan<T, Cumulative::prod>(context, args);
    case Cumulative::max: return scan<T, Cumulative::max>(context, args);
    case Cumulative::min: return scan<T, Cumulative::min>(context, args);
  }
}

}  // namespace

Status cumulative(Context& context, const CumulativeArgs& args) {
  switch (args.in.dtype) {
    case DType::f32: scan_typed<float>(context, args); break;
    case DType::f64: scan_typed<double>(context, args); break;
    case DType::bf16: scan_typed<BFloat16>(context, args); break;
    case DType::i32: scan_typed<int32_t>(context, args); break;
    case DType::u8:
    case DType::boolean: scan_typed<uint8_t>(context, args); break;
  }
  return {};
}

}  // namespace palimpsest::cpu
