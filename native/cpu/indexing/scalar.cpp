// Gather, scatter and nonzero for every level. Floor: the index and each picked entry read once, each
// result written once; whole slices move at copy bandwidth, single entries at the memory's latency.
// Wider vectors bring nothing (AVX-512 gathers load a cache line an entry as these loops do), so
// there is one variant. Work is cut by shape alone; a scatter's tasks own disjoint parts of `out`
// and go through the index in order, so that sums have the same bits for any number of threads.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <string>

#include "cpu/walk.h"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace {

constexpr int64_t kGrain = 16384;  // entries a task takes
constexpr int64_t kBlock = 64;     // columns that a scatter's task owns
constexpr int64_t kAheadBytes = 8192;  // of a row, at most, asked for before the row ahead of it is read

// A view whose extent along `axis` is the index's and that does not move along it.
View frozen(const View& view, int axis, int64_t extent) {
  View result = view;
  result.shape[axis] = extent;
  result.strides[axis] = 0;
  return result;
}

Status check_index(Context& context, const View& index, int64_t extent) {
  // Axes along which the index does not change are looked at once.
  View distinct = index;
  for (int i = 0; i < index.rank; ++i) {
    if (index.strides[i] == 0 && index.shape[i] > 0) distinct.shape[i] = 1;
  }
  const View* views[] = {&distinct};
  const Walk walk = make_walk(views, 1);
  if (walk.size == 0) return {};
  const auto* data = index.as<const int32_t>();
  const int64_t inner = walk.inner();
  const int64_t stride = walk.strides[0][walk.rank - 1];
  std::atomic<bool> good{true};
  std::atomic<int32_t> culprit{0};
  const auto check = [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t at;
      walk.row(row, &at);
      for (int64_t i = 0; i < inner; ++i) {
        const int32_t value = data[at + i * stride];
        if (value < 0 || value >= extent) {
          good.store(false);
          culprit.store(value);
          return;
        }
      }
    }
  };
  context.parallel_chunks(walk.outer(), std::max<int64_t>(1, 4 * kGrain / inner), check);
  if (good.load()) return {};
  const std::string range = extent == 0 ? "of an axis without entries"
                                        : "in [0, " + std::to_string(extent - 1) + "]";
  return {Code::argument, "expected an 'index' (indices) " + range + " but got " + std::to_string(culprit.load())};
}

// ---- gather ----------------------------------------------------------------------------------------

template <typename T>
void gather_entries(Context& context, const GatherArgs& args) {
  const View source = frozen(args.in, args.axis, args.out.shape[args.axis]);
  const View* views[] = {&args.out, &args.index, &source};
  const Walk walk = make_walk(views, 3);
  if (walk.size == 0) return;
  const int last = walk.rank - 1;
  const int64_t inner = walk.inner();
  const int64_t to = walk.strides[0][last], by = walk.strides[1][last], from = walk.strides[2][last];
  const int64_t step = args.in.strides[args.axis];
  T* out = args.out.as<T>();
  const auto* index = args.index.as<const int32_t>();
  const T* in = args.in.as<const T>();
  const int64_t pieces = (inner + kGrain - 1) / kGrain;
  const int64_t rows = pieces > 1 ? 1 : std::max<int64_t>(1, kGrain / inner);
  // Rows lie anywhere: while one is read, the next is on its way from memory. What a row reads is one
  // run of the source, its slice or the whole line that its entries are picked from.
  const int64_t run = by == 0 ? (from == 1 ? inner : 0) : (step == 1 && from == 0 ? args.in.shape[args.axis] : 0);
  const auto ask = [&](const int64_t* at) {
    const T* next = in + at[2] + (by == 0 ? index[at[1]] * step : 0);
    const int64_t bytes = std::min(run * static_cast<int64_t>(sizeof(T)), kAheadBytes);
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(reinterpret_cast<const char*>(next) + i);
  };
  context.parallel_chunks(walk.outer() * pieces, rows, [&](int64_t begin, int64_t end) {
    int64_t at[kMaxOperands], ahead[kMaxOperands];
    walk.row(begin / pieces, ahead);
    for (int64_t task = begin; task < end; ++task) {
      std::copy_n(ahead, kMaxOperands, at);
      if (task + 1 < end) {
        walk.row((task + 1) / pieces, ahead);
        if (run > 0 && pieces == 1) ask(ahead);
      }
      const int64_t first = task % pieces * kGrain;
      const int64_t n = std::min(kGrain, inner - first);
      T* y = out + at[0] + first * to;
      const int32_t* k = index + at[1] + first * by;
      const T* x = in + at[2] + first * from;
      if (by == 0) {
        const T* slice = x + *k * step;
        if (to == 1 && from == 1) {
          std::memcpy(y, slice, static_cast<size_t>(n) * sizeof(T));
        } else {
          for (int64_t i = 0; i < n; ++i) y[i * to] = slice[i * from];
        }
      } else if (to == 1 && by == 1 && from == 0 && step == 1) {  // a line in another order
        for (int64_t i = 0; i < n; ++i) y[i] = x[k[i]];
      } else {
        for (int64_t i = 0; i < n; ++i) y[i * to] = x[i * from + k[i * by] * step];
      }
    }
  });
}

Status gather(Context& context, const GatherArgs& args) {
  PALIMPSEST_TRY(check_index(context, args.index, args.in.shape[args.axis]));
  switch (size_of(args.out.dtype)) {
    case 8: gather_entries<uint64_t>(context, args); break;
    case 4: gather_entries<uint32_t>(context, args); break;
    case 2: gather_entries<uint16_t>(context, args); break;
    default: gather_entries<uint8_t>(context, args); break;
  }
  return {};
}

// ---- scatter ---------------------------------------------------------------------------------------

inline double widened(double x) { return x; }
inline float widened(float x) { return x; }
inline float widened(BFloat16 x) { return to_float(x); }
inline int32_t widened(int32_t x) { return x; }
inline int32_t widened(uint8_t x) { return x; }

template <typename T, typename W>
inline T narrowed(W x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return to_bf16(x);
  } else {
    return static_cast<T>(x);
  }
}

template <typename W>
inline bool is_nan(W x) {
  return x != x;
}

// Integers wrap around.
template <typename W>
inline W plus(W a, W b) {
  if constexpr (std::is_integral_v<W>) {
    return static_cast<W>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
  } else {
    return a + b;
  }
}
template <typename W>
inline W times(W a, W b) {
  if constexpr (std::is_integral_v<W>) {
    return static_cast<W>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b));
  } else {
    return a * b;
  }
}

template <Scatter kMode, typename T>
inline T merged(T old, T value) {
  if constexpr (kMode == Scatter::assign) {
    return value;
  } else {
    const auto a = widened(old);
    const auto b = widened(value);
    if constexpr (kMode == Scatter::add) return narrowed<T>(plus(a, b));
    if constexpr (kMode == Scatter::multiply) return narrowed<T>(times(a, b));
    if constexpr (kMode == Scatter::maximum) return is_nan(a) || a >= b ? old : value;
    if constexpr (kMode == Scatter::minimum) return is_nan(a) || a <= b ? old : value;
  }
}

template <typename T, Scatter kMode>
void scatter_entries(Context& context, const ScatterArgs& args) {
  const int axis = args.axis;
  const int64_t count = args.src.shape[axis];
  // Everything but the axis, one entry along it.
  View target = frozen(args.out, axis, 1);
  View index = frozen(args.index, axis, 1);
  View source = frozen(args.src, axis, 1);
  const View* views[] = {&target, &index, &source};
  const Walk walk = make_walk(views, 3);
  if (walk.size == 0 || count == 0) return;
  const int last = walk.rank - 1;
  const int64_t inner = walk.inner();
  const int64_t to = walk.strides[0][last], by = walk.strides[1][last], from = walk.strides[2][last];
  const int64_t out_step = args.out.strides[axis], index_step = args.index.strides[axis],
                src_step = args.src.strides[axis];
  const int64_t pieces = (inner + kBlock - 1) / kBlock;
  const int64_t grain = std::max<int64_t>(1, kGrain / (std::min(inner, kBlock) * count));
  context.parallel_chunks(walk.outer() * pieces, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      int64_t at[kMaxOperands];
      walk.row(task / pieces, at);
      const int64_t first = task % pieces * kBlock;
      const int64_t n = std::min(kBlock, inner - first);
      T* out = args.out.as<T>() + at[0] + first * to;
      const int32_t* k = args.index.as<const int32_t>() + at[1] + first * by;
      const T* x = args.src.as<const T>() + at[2] + first * from;
      for (int64_t j = 0; j < count; ++j, k += index_step, x += src_step) {
        if (by == 0) {
          T* y = out + *k * out_step;
          if (to == 1 && from == 1) {
            for (int64_t i = 0; i < n; ++i) y[i] = merged<kMode>(y[i], x[i]);
          } else {
            for (int64_t i = 0; i < n; ++i) y[i * to] = merged<kMode>(y[i * to], x[i * from]);
          }
        } else {
          for (int64_t i = 0; i < n; ++i) {
            T& y = out[i * to + k[i * by] * out_step];
            y = merged<kMode>(y, x[i * from]);
          }
        }
      }
    }
  });
}

template <typename T>
void scatter_typed(Context& context, const ScatterArgs& args) {
  switch (args.mode) {
    case Scatter::assign: return scatter_entries<T, Scatter::assign>(context, args);
    case Scatter::add: return scatter_entries<T, Scatter::add>(context, args);
    case Scatter::multiply: return scatter_entries<T, Scatter::multiply>(context, args);
    case Scatter::maximum: return scatter_entries<T, Scatter::maximum>(context, args);
    case Scatter::minimum: return scatter_entries<T, Scatter::minimum>(context, args);
  }
}

Status scatter(Context& context, const ScatterArgs& args) {
  PALIMPSEST_TRY(check_index(context, args.index, args.out.shape[args.axis]));
  switch (args.out.dtype) {
    case DType::f32: scatter_typed<float>(context, args); break;
    case DType::f64: scatter_typed<double>(context, args); break;
    case DType::bf16: scatter_typed<BFloat16>(context, args); break;
    case DType::i32: scatter_typed<int32_t>(context, args); break;
    case DType::u8:
    case DType::boolean: scatter_typed<uint8_t>(context, args); break;
  }
  return {};
}

// ---- nonzero ---------------------------------------------------------------------------------------

template <typename T>
inline bool is_set(T x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return (x.bits & 0x7fff) != 0;
  } else {
    return x != T(0);
  }
}

template <typename T>
void find(Context& context, const T* x, int64_t n, int32_t* positions, int64_t& count) {
  constexpr int64_t kChunk = 65536;
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  const Workspace::Scope scope(Workspace::local());
  auto* counts = Workspace::local().take<int64_t>(chunks + 1);
  context.parallel_chunks(n, kChunk, [&](int64_t begin, int64_t end) {
    int64_t found = 0;
    for (int64_t i = begin; i < end; ++i) found += is_set(x[i]) ? 1 : 0;
    counts[begin / kChunk] = found;
  });
  count = 0;
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t found = counts[c];
    counts[c] = count;
    count += found;
  }
  if (positions == nullptr) return;
  context.parallel_chunks(n, kChunk, [&](int64_t begin, int64_t end) {
    int32_t* to = positions + counts[begin / kChunk];
    for (int64_t i = begin; i < end; ++i) {
      if (is_set(x[i])) *to++ = static_cast<int32_t>(i);
    }
  });
}

Status nonzero(Context& context, const View& in, int32_t* positions, int64_t& count) {
  const int64_t n = in.size();
  if (n > INT32_MAX) return {Code::argument, "positions of more than 2^31 entries do not fit int32"};
  switch (in.dtype) {
    case DType::f32: find(context, in.as<const float>(), n, positions, count); break;
    case DType::f64: find(context, in.as<const double>(), n, positions, count); break;
    case DType::bf16: find(context, in.as<const BFloat16>(), n, positions, count); break;
    case DType::i32: find(context, in.as<const int32_t>(), n, positions, count); break;
    case DType::u8:
    case DType::boolean: find(context, in.as<const uint8_t>(), n, positions, count); break;
  }
  return {};
}

}  // namespace

void fill_indexing_scalar(KernelTable& table) { table.indexing = {gather, scatter, nonzero}; }

}  // namespace palimpsest::cpu
