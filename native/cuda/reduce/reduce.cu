// Reductions. Floor: the input read once. Sums are kept in float64 in every thread, which memory-bound
// code has time for; work is cut by the shapes alone and merged in a fixed order, so that results
// repeat bit by bit. Three forms: a block an output (long rows), a warp an output (short rows), a thread
// an output (columns: neighbours in memory are neighbours in the warp).

#include <type_traits>

#include "core/dimensions.h"
#include "cuda/primitives.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kChunk = 16384;  // elements that one block takes of a row
constexpr int64_t kColumnChunk = 512;  // elements that one thread takes of a column

struct Axes : Dimensions {
  __host__ __device__ int64_t locate_in(int64_t index) const { return locate(in, index); }
  __host__ __device__ int64_t locate_out(int64_t index) const { return locate(out, index); }

 private:
  __host__ __device__ int64_t locate(const int64_t* strides, int64_t index) const {
    if (rank == 1) return index * strides[0];
    int64_t at = 0;
    for (int i = rank - 1; i >= 0; --i) {
      at += index % shape[i] * strides[i];
      index /= shape[i];
    }
    return at;
  }
};

struct Plan {
  Reduction op;
  const void* in;
  void* out;
  DType in_dtype, out_dtype;
  Axes kept, reduced;
};

// A partial result; the index counts for argmax and argmin alone.
struct Partial {
  double value;
  int64_t index;
};

__host__ __device__ inline double infinity() { return static_cast<double>(INFINITY); }

__host__ __device__ inline Partial start(Reduction op) {
  switch (op) {
    case Reduction::prod:
    case Reduction::all: return {1, 0};
    case Reduction::max: return {-infinity(), 0};
    case Reduction::min: return {infinity(), 0};
    case Reduction::argmax:
    case Reduction::argmin: return {0, -1};  // nothing seen
    default: return {0, 0};
  }
}

// `b` stands after `a`.
__host__ __device__ inline Partial merge(Reduction op, Partial a, Partial b) {
  switch (op) {
    case Reduction::prod: return {a.value * b.value, 0};
    case Reduction::all: return {a.value != 0 && b.value != 0 ? 1.0 : 0.0, 0};
    case Reduction::any: return {a.value != 0 || b.value != 0 ? 1.0 : 0.0, 0};
    case Reduction::max:
      return {b.value != b.value || (b.value > a.value && a.value == a.value) ? b.value : a.value, 0};
    case Reduction::min:
      return {b.value != b.value || (b.value < a.value && a.value == a.value) ? b.value : a.value, 0};
    case Reduction::argmax:
    case Reduction::argmin: {
      if (a.index < 0) return b;
      if (b.index < 0) return a;
      const bool a_nan = a.value != a.value;
      const bool b_nan = b.value != b.value;
      if (a_nan || b_nan) {
        if (a_nan && b_nan) return a.index < b.index ? a : b;
        return a_nan ? a : b;
      }
      if (a.value == b.value) return a.index < b.index ? a : b;
      return (op == Reduction::argmax) == (b.value > a.value) ? b : a;
    }
    default: return {a.value + b.value, 0};
  }
}

__host__ __device__ inline Partial element(Reduction op, double x, int64_t index) {
  switch (op) {
    case Reduction::sum_of_squares: return {x * x, 0};
    case Reduction::sum_of_magnitudes: return {x < 0 ? -x : x, 0};
    default: return {x, index};
  }
}

__device__ inline Partial shuffled(Partial p, int step) {
  return {__shfl_xor_sync(kAllLanes, p.value, step), __shfl_xor_sync(kAllLanes, p.index, step)};
}

// Merging is not symmetric where values tie and indices are unordered, but it is commutative for every
// operation (arg reductions compare indices), so that a butterfly gives all lanes the same.
__device__ inline Partial warp_merge(Reduction op, Partial p) {
  for (int step = 16; step > 0; step /= 2) p = merge(op, p, shuffled(p, step));
  return p;
}

__device__ inline void finish(const Plan& plan, int64_t output, Partial p) {
  double x = p.value;
  if (plan.op == Reduction::mean) x /= static_cast<double>(plan.reduced.size);
  if (plan.op == Reduction::argmax || plan.op == Reduction::argmin) x = static_cast<double>(p.index);
  const int64_t at = plan.kept.locate_out(output);
  // Sums of integers that leave the range are clamped, as on the CPU.
  if (plan.out_dtype == DType::i32) {
    const double c = x != x ? 0.0 : (x < -2147483648.0 ? -2147483648.0 : (x > 2147483647.0 ? 2147483647.0 : x));
    static_cast<int32_t*>(plan.out)[at] = static_cast<int32_t>(c);
  } else if (plan.out_dtype == DType::u8) {
    const double c = x != x ? 0.0 : (x < 0.0 ? 0.0 : (x > 255.0 ? 255.0 : x));
    static_cast<uint8_t*>(plan.out)[at] = static_cast<uint8_t>(c);
  } else {
    store_as<double>(plan.out, plan.out_dtype, at, x);
  }
}

// blockIdx.x: chunk of the row, blockIdx.y (and z): output. Writes partials where there are several
// chunks, else the result.
__global__ void __launch_bounds__(kThreads) block_rows(const Plan plan, int64_t chunks, Partial* partials) {
  __shared__ Partial of_warps[kThreads / 32];
  for (int64_t output = blockIdx.y; output < plan.kept.size; output += gridDim.y) {
    const int64_t base = plan.kept.locate_in(output);
    const int64_t begin = blockIdx.x * kChunk;
    const int64_t end = begin + kChunk < plan.reduced.size ? begin + kChunk : plan.reduced.size;
    Partial p = start(plan.op);
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
      const double x = load_as<double>(plan.in, plan.in_dtype, base + plan.reduced.locate_in(i));
      p = merge(plan.op, p, element(plan.op, x, i));
    }
    p = warp_merge(plan.op, p);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = p;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int w = 1; w < kThreads / 32; ++w) p = merge(plan.op, p, of_warps[w]);
      if (chunks > 1) {
        partials[output * chunks + blockIdx.x] = p;
      } else {
        finish(plan, output, p);
      }
    }
    __syncthreads();
  }
}

// A warp an output.
__global__ void __launch_bounds__(kThreads) warp_rows(const Plan plan) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int64_t output = global_thread() / 32; output < plan.kept.size; output += all_threads() / 32) {
    const int64_t base = plan.kept.locate_in(output);
    Partial p = start(plan.op);
    for (int64_t i = lane; i < plan.reduced.size; i += 32) {
      const double x = load_as<double>(plan.in, plan.in_dtype, base + plan.reduced.locate_in(i));
      p = merge(plan.op, p, element(plan.op, x, i));
    }
    p = warp_merge(plan.op, p);
    if (lane == 0) finish(plan, output, p);
  }
}

// A thread an output and chunk (blockIdx.y).
__global__ void __launch_bounds__(kThreads) columns(const Plan plan, int64_t chunks, Partial* partials) {
  for (int64_t output = global_thread(); output < plan.kept.size; output += all_threads()) {
    const int64_t base = plan.kept.locate_in(output);
    for (int64_t chunk = blockIdx.y; chunk < chunks; chunk += gridDim.y) {
      const int64_t begin = chunk * kColumnChunk;
      const int64_t end = begin + kColumnChunk < plan.reduced.size ? begin + kColumnChunk : plan.reduced.size;
      Partial p = start(plan.op);
      for (int64_t i = begin; i < end; ++i) {
        const double x = load_as<double>(plan.in, plan.in_dtype, base + plan.reduced.locate_in(i));
        p = merge(plan.op, p, element(plan.op, x, i));
      }
      if (chunks > 1) {
        partials[output * chunks + chunk] = p;
      } else {
        finish(plan, output, p);
      }
    }
  }
}

__global__ void __launch_bounds__(kThreads) merge_chunks(const Plan plan, int64_t chunks, const Partial* partials) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int64_t output = global_thread() / 32; output < plan.kept.size; output += all_threads() / 32) {
    Partial p = start(plan.op);
    for (int64_t i = lane; i < chunks; i += 32) p = merge(plan.op, p, partials[output * chunks + i]);
    p = warp_merge(plan.op, p);
    if (lane == 0) finish(plan, output, p);
  }
}

// A thread an output where there are so few elements that nothing else pays.
Status reduce(Context& context, const ReduceArgs& args) {
  Plan plan{args.op, args.in.data, args.out.data, args.in.dtype, args.out.dtype, {}, {}};
  for (int i = 0; i < args.in.rank; ++i) {
    if ((args.axes >> i & 1) != 0) {
      plan.reduced.append(args.in.shape[i], args.in.strides[i], 0);
    } else {
      plan.kept.append(args.in.shape[i], args.in.strides[i], args.out.strides[i]);
    }
  }
  if (plan.kept.size == 0) return {};
  const bool needs_one = args.op == Reduction::max || args.op == Reduction::min ||
                         args.op == Reduction::argmax || args.op == Reduction::argmin;
  if (needs_one && plan.reduced.size == 0) {
    return {Code::argument, "the largest or smallest of no elements does not exist"};
  }
  const Workspace::Scope scope(context.workspace);
  const int64_t n = plan.reduced.size;
  const int last = plan.kept.rank - 1;
  const bool by_columns = plan.kept.rank > 0 && plan.kept.in[last] == 1 && plan.kept.shape[last] >= 32 &&
                          !(plan.reduced.rank == 1 && plan.reduced.in[0] == 1);
  Partial* partials = nullptr;
  int64_t chunks = 1;
  if (by_columns) {
    chunks = n > kColumnChunk ? ceil_div(n, kColumnChunk) : 1;
  } else if (n > 1024) {
    chunks = ceil_div(n, kChunk);
  }
  if (chunks > 1) {
    partials = scratch<Partial>(context, plan.kept.size * chunks);
    if (partials == nullptr) return no_memory();
  }
  const auto rows = static_cast<unsigned>(plan.kept.size < 65535 ? plan.kept.size : 65535);
  const unsigned warps = blocks_for(context, plan.kept.size, kThreads / 32);
  if (by_columns) {
    const dim3 grid(blocks_for(context, plan.kept.size, kThreads),
                    static_cast<unsigned>(chunks < 65535 ? chunks : 65535));
    PALIMPSEST_TRY(launch(context, columns, grid, kThreads, 0, plan, chunks, partials));
  } else if (n <= 1024) {
    return launch(context, warp_rows, warps, kThreads, 0, plan);
  } else {
    PALIMPSEST_TRY(launch(context, block_rows, dim3(static_cast<unsigned>(chunks), rows), kThreads, 0,
                          plan, chunks, partials));
  }
  if (chunks == 1) return {};
  return launch(context, merge_chunks, warps, kThreads, 0, plan, chunks,
                static_cast<const Partial*>(partials));
}

struct Scan {
  Cumulative op;
  const void* in;
  void* out;
  DType dtype;
  Axes kept;
  int64_t n, in_step, out_step;
};

// T is double, or uint32_t where integers wrap around; those are compared with their sign.
template <typename T>
__device__ inline T join(Cumulative op, T a, T b) {
  const auto number = [](T x) {
    if constexpr (sizeof(T) == 4) return static_cast<int32_t>(x);
    else return x;
  };
  switch (op) {
    case Cumulative::prod: return a * b;
    case Cumulative::max: return b != b || (number(b) > number(a) && a == a) ? b : a;
    case Cumulative::min: return b != b || (number(b) < number(a) && a == a) ? b : a;
    default: return a + b;
  }
}

// A block a line, kThreads elements at a time: within warps, over warps, and the carry before.
template <typename T>
__global__ void __launch_bounds__(kThreads) cumulative_kernel(const Scan scan) {
  __shared__ T of_warps[kThreads / 32];
  using Loaded = std::conditional_t<sizeof(T) == 4, int32_t, double>;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  for (int64_t line = blockIdx.x; line < scan.kept.size; line += gridDim.x) {
    const int64_t in_at = scan.kept.locate_in(line);
    const int64_t out_at = scan.kept.locate_out(line);
    T carry = T(0);
    for (int64_t begin = 0; begin < scan.n; begin += kThreads) {
      const int64_t i = begin + threadIdx.x;
      // What lies behind the end is joined to nothing that is written.
      T x = i < scan.n ? static_cast<T>(load_as<Loaded>(scan.in, scan.dtype, in_at + i * scan.in_step)) : T(0);
      for (int step = 1; step < 32; step *= 2) {
        const T before = __shfl_up_sync(kAllLanes, x, step);
        if (lane >= step) x = join(scan.op, before, x);
      }
      if (lane == 31) of_warps[warp] = x;
      __syncthreads();
      bool any = begin > 0;
      T before = carry;
      for (int w = 0; w < warp; ++w) {
        before = any ? join(scan.op, before, of_warps[w]) : of_warps[w];
        any = true;
      }
      if (any) x = join(scan.op, before, x);
      if (i < scan.n) {
        store_as<Loaded>(scan.out, scan.dtype, out_at + i * scan.out_step, static_cast<Loaded>(x));
      }
      // The last thread holds everything so far; only full rounds are followed by another.
      __syncthreads();
      if (threadIdx.x == kThreads - 1) of_warps[0] = x;
      __syncthreads();
      carry = of_warps[0];
      __syncthreads();
    }
  }
}

Status cumulative(Context& context, const CumulativeArgs& args) {
  const View& in = args.in;
  const View& out = args.out;
  const int axis = args.axis;
  Scan scan{args.op, in.data, out.data, in.dtype, {}, in.shape[axis], in.strides[axis], out.strides[axis]};
  for (int i = 0; i < in.rank; ++i) {
    if (i != axis) scan.kept.append(in.shape[i], in.strides[i], out.strides[i]);
  }
  if (scan.kept.size == 0 || scan.n == 0) return {};
  if (args.reverse) {
    const auto width = static_cast<int64_t>(size_of(in.dtype));
    scan.in = static_cast<const char*>(in.data) + (scan.n - 1) * scan.in_step * width;
    scan.out = static_cast<char*>(out.data) + (scan.n - 1) * scan.out_step * width;
    scan.in_step = -scan.in_step;
    scan.out_step = -scan.out_step;
  }
  const auto kernel = is_floating(in.dtype) ? cumulative_kernel<double> : cumulative_kernel<uint32_t>;
  return launch(context, kernel, blocks_for(context, scan.kept.size, 1), kThreads, 0, scan);
}

__global__ void __launch_bounds__(kThreads, 2)
    finite_kernel(const void* in, DType dtype, const Axes all, int* bad) {
  bool mine = false;
  for (int64_t i = global_thread(); i < all.size; i += all_threads()) {
    const double x = load_as<double>(in, dtype, all.locate_in(i));
    mine = mine || !(x - x == 0);
  }
  if (mine) atomicOr(bad, 1);
}

Status all_finite(Context& context, const View& in, bool& finite) {
  finite = true;
  if (!is_floating(in.dtype)) return {};
  Axes all;
  for (int i = 0; i < in.rank; ++i) all.append(in.shape[i], in.strides[i], 0);
  if (all.size == 0) return {};
  int* flag = state(context).flag;
  PALIMPSEST_TRY(to_status(cudaMemsetAsync(flag, 0, sizeof(int), state(context).stream), "memset"));
  PALIMPSEST_TRY(launch(context, finite_kernel, blocks_for(context, all.size, 4 * kThreads), kThreads, 0,
                        static_cast<const void*>(in.data), in.dtype, all, flag));
  int bad = 0;
  PALIMPSEST_TRY(context.read(bad, static_cast<const int*>(flag)));
  finite = bad == 0;
  return {};
}

}  // namespace

void fill_reduce(KernelTable& table) {
  table.reduce.reduce = reduce;
  table.reduce.cumulative = cumulative;
  table.reduce.all_finite = all_finite;
}

}  // namespace palimpsest::cuda
