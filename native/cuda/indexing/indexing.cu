// Gather and scatter along an axis. Floor: the index and each picked entry read once, each result
// written once. Entries that meet in one place of a scatter are joined in the order of the index by the
// one thread that owns the line, so that results repeat bit by bit.

#include <vector>

#include "cpu/walk.h"
#include "cuda/primitives.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;

// Lines of views of one shape, without the axis: strides of up to three views.
struct Lines {
  int rank;
  int64_t size;
  int64_t shape[kMaxRank];
  int64_t strides[3][kMaxRank];

  __device__ void locate(int64_t index, int64_t (&at)[3]) const {
    at[0] = at[1] = at[2] = 0;
    for (int i = rank - 1; i >= 0; --i) {
      const int64_t position = index % shape[i];
      index /= shape[i];
      for (int k = 0; k < 3; ++k) at[k] += position * strides[k][i];
    }
  }
};

Lines lines_of(View a, View b, View c, int axis) {
  a.shape[axis] = b.shape[axis] = c.shape[axis] = 1;
  const View* views[] = {&a, &b, &c};
  const cpu::Walk walk = cpu::make_walk(views, 3);
  Lines lines{walk.rank, walk.size, {}, {}};
  for (int i = 0; i < walk.rank; ++i) {
    lines.shape[i] = walk.shape[i];
    for (int k = 0; k < 3; ++k) lines.strides[k][i] = walk.strides[k][i];
  }
  return lines;
}

// Along the axis.
struct Axis {
  int64_t extent;  // of the index
  int64_t limit;   // indices lie below
  int64_t out, index, other;  // strides
};

__global__ void __launch_bounds__(kThreads)
    check_kernel(const Lines lines, const Axis axis, const int32_t* index, int* bad) {
  const int64_t total = lines.size * axis.extent;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    int64_t at[3];
    lines.locate(i / axis.extent, at);
    const int32_t value = index[at[1] + i % axis.extent * axis.index];
    if (value < 0 || value >= axis.limit) atomicOr(bad, 1);
  }
}

// T is an unsigned integer of the element's width. Lines run fastest where they lie closer in memory.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(const Lines lines, const Axis axis, T* out, const int32_t* index, const T* in) {
  const int64_t total = lines.size * axis.extent;
  const bool along = axis.out == 1;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const int64_t line = along ? i / axis.extent : i % lines.size;
    const int64_t position = along ? i % axis.extent : i / lines.size;
    int64_t at[3];
    lines.locate(line, at);
    out[at[0] + position * axis.out] = in[at[2] + index[at[1] + position * axis.index] * axis.other];
  }
}

template <typename T>
__device__ inline T joined(Scatter mode, T a, T b) {
  switch (mode) {
    case Scatter::add: return a + b;
    case Scatter::multiply: return a * b;
    case Scatter::maximum: return a != a ? a : (b != b || b > a ? b : a);
    case Scatter::minimum: return a != a ? a : (b != b || b < a ? b : a);
    default: return b;
  }
}
__device__ inline int32_t joined(Scatter mode, int32_t a, int32_t b) {
  const auto ua = static_cast<uint32_t>(a);
  const auto ub = static_cast<uint32_t>(b);
  switch (mode) {
    case Scatter::add: return static_cast<int32_t>(ua + ub);
    case Scatter::multiply: return static_cast<int32_t>(ua * ub);
    case Scatter::maximum: return a > b ? a : b;
    case Scatter::minimum: return a < b ? a : b;
    default: return b;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) scatter_kernel(const Lines lines, const Axis axis, Scatter mode,
                                                           DType dtype, void* out, const int32_t* index,
                                                           const void* src) {
  for (int64_t line = global_thread(); line < lines.size; line += all_threads()) {
    int64_t at[3];
    lines.locate(line, at);
    for (int64_t i = 0; i < axis.extent; ++i) {
      const int64_t to = at[0] + index[at[1] + i * axis.index] * axis.out;
      const T x = load_as<T>(src, dtype, at[2] + i * axis.other);
      store_as<T>(out, dtype, to, mode == Scatter::assign ? x : joined(mode, load_as<T>(out, dtype, to), x));
    }
  }
}

Status check(Context& context, const Lines& lines, const Axis& axis, const int32_t* index) {
  const int64_t total = lines.size * axis.extent;
  if (total == 0) return {};
  int* flag = state(context).flag;
  PALIMPSEST_TRY(to_status(cudaMemsetAsync(flag, 0, sizeof(int), state(context).stream), "memset"));
  PALIMPSEST_TRY(launch(context, check_kernel, blocks_for(context, total, kThreads), kThreads, 0, lines, axis,
                        index, flag));
  int bad = 0;
  PALIMPSEST_TRY(context.read(bad, static_cast<const int*>(flag)));
  if (bad == 0) return {};
  const std::string range =
      axis.limit == 0 ? "of an axis without entries" : "in [0, " + std::to_string(axis.limit - 1) + "]";
  return {Code::argument, "expected indices " + range + " but got another"};
}

template <typename T>
Status start_gather(Context& context, const Lines& lines, const Axis& axis, const GatherArgs& args) {
  return launch(context, gather_kernel<T>, blocks_for(context, lines.size * axis.extent, kThreads), kThreads, 0,
                lines, axis, args.out.as<T>(), args.index.as<const int32_t>(), args.in.as<const T>());
}

Status gather(Context& context, const GatherArgs& args) {
  const int a = args.axis;
  const Lines lines = lines_of(args.out, args.index, args.in, a);
  const Axis axis{args.index.shape[a], args.in.shape[a], args.out.strides[a], args.index.strides[a],
                  args.in.strides[a]};
  PALIMPSEST_TRY(check(context, lines, axis, args.index.as<const int32_t>()));
  if (lines.size * axis.extent == 0) return {};
  switch (size_of(args.out.dtype)) {
    case 8: return start_gather<uint64_t>(context, lines, axis, args);
    case 4: return start_gather<uint32_t>(context, lines, axis, args);
    case 2: return start_gather<uint16_t>(context, lines, axis, args);
    default: return start_gather<uint8_t>(context, lines, axis, args);
  }
}

Status scatter(Context& context, const ScatterArgs& args) {
  const int a = args.axis;
  const Lines lines = lines_of(args.out, args.index, args.src, a);
  const Axis axis{args.index.shape[a], args.out.shape[a], args.out.strides[a], args.index.strides[a],
                  args.src.strides[a]};
  PALIMPSEST_TRY(check(context, lines, axis, args.index.as<const int32_t>()));
  if (lines.size * axis.extent == 0) return {};
  const DType dtype = args.out.dtype;
  const auto kernel = dtype == DType::f64     ? scatter_kernel<double>
                      : is_floating(dtype) ? scatter_kernel<float>
                                           : scatter_kernel<int32_t>;
  return launch(context, kernel, blocks_for(context, lines.size, kThreads), kThreads, 0, lines, axis, args.mode,
                dtype, args.out.data, args.index.as<const int32_t>(), static_cast<const void*>(args.src.data));
}

// ---- nonzero ---------------------------------------------------------------------------------------

constexpr int64_t kSpan = 4096;  // elements a block

__global__ void __launch_bounds__(kThreads) count_kernel(const void* in, DType dtype, int64_t n, int64_t* counts) {
  const int64_t begin = blockIdx.x * kSpan;
  const int64_t end = begin + kSpan < n ? begin + kSpan : n;
  int64_t mine = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) mine += load_as<double>(in, dtype, i) != 0;
  mine = block_sum<kThreads>(mine);
  if (threadIdx.x == 0) counts[blockIdx.x] = mine;
}

// starts[b]: how many lie before block b.
__global__ void __launch_bounds__(kThreads)
    positions_kernel(const void* in, DType dtype, int64_t n, const int64_t* starts, int32_t* positions) {
  __shared__ int of_warps[kThreads / 32];
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  int64_t at = starts[blockIdx.x];
  for (int64_t begin = blockIdx.x * kSpan; begin < (blockIdx.x + int64_t{1}) * kSpan; begin += kThreads) {
    const int64_t i = begin + threadIdx.x;
    const bool hit = i < n && load_as<double>(in, dtype, i) != 0;
    const unsigned hits = __ballot_sync(kAllLanes, hit);
    if (lane == 0) of_warps[warp] = __popc(hits);
    __syncthreads();
    int64_t before = at;
    for (int w = 0; w < kThreads / 32; ++w) {
      if (w < warp) before += of_warps[w];
      at += of_warps[w];
    }
    if (hit) positions[before + __popc(hits & ((1u << lane) - 1))] = static_cast<int32_t>(i);
    __syncthreads();
  }
}

Status nonzero(Context& context, const View& in, int32_t* positions, int64_t& count) {
  const int64_t n = in.size();
  count = 0;
  if (n == 0) return {};
  const int64_t blocks = ceil_div(n, kSpan);
  const Workspace::Scope scope(context.workspace);
  auto* counts = scratch<int64_t>(context, blocks);
  if (counts == nullptr) return no_memory();
  PALIMPSEST_TRY(launch(context, count_kernel, static_cast<unsigned>(blocks), kThreads, 0,
                        static_cast<const void*>(in.data), in.dtype, n, counts));
  // The caller waits for the count anyway; the sums before are done on the way.
  std::vector<int64_t> starts(static_cast<size_t>(blocks));
  PALIMPSEST_TRY(context.read_bytes(starts.data(), counts, starts.size() * sizeof(int64_t)));
  for (int64_t& start : starts) {
    const int64_t here = start;
    start = count;
    count += here;
  }
  if (positions == nullptr || count == 0) return {};
  PALIMPSEST_TRY(to_status(cudaMemcpyAsync(counts, starts.data(), starts.size() * sizeof(int64_t),
                                           cudaMemcpyHostToDevice, state(context).stream),
                           "a copy failed"));
  return launch(context, positions_kernel, static_cast<unsigned>(blocks), kThreads, 0,
                static_cast<const void*>(in.data), in.dtype, n, static_cast<const int64_t*>(counts), positions);
}

}  // namespace

void fill_indexing(KernelTable& table) {
  table.indexing = {.gather = gather, .scatter = scatter, .nonzero = nonzero};
}

}  // namespace palimpsest::cuda
