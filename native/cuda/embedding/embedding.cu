// Rows picked by number, and the sums that are their gradient. Floor: bytes moved. The sum is a lane
// a column, adding in ascending order as the CPU does, so that it repeats bit by bit.

#include "cuda/primitives.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;

// T is an unsigned integer of the element's width: nothing is computed.
template <typename T>
__global__ void __launch_bounds__(kThreads) gather_kernel(const GatherRowsArgs a) {
  const int64_t total = a.count * a.width;
  for (int64_t i = global_thread(); i < total; i += all_threads()) {
    const int64_t row = a.indices[i / a.width];
    static_cast<T*>(a.out)[i] = static_cast<const T*>(a.table)[row * a.width + i % a.width];
  }
}

__global__ void __launch_bounds__(kThreads)
    check_indices(const int32_t* indices, int64_t count, int64_t rows, int* bad) {
  for (int64_t i = global_thread(); i < count; i += all_threads()) {
    if (indices[i] < 0 || indices[i] >= rows) atomicOr(bad, 1);
  }
}

// A warp a row of the result and 32 of its columns: all lanes run through the indices together, 32 at a
// time, and add the rows of g that are theirs.
template <typename T>
__global__ void __launch_bounds__(kThreads) scatter_kernel(const ScatterRowsArgs a) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t strips = (a.width + 31) / 32;
  for (int64_t task = global_thread() / 32; task < a.rows * strips; task += all_threads() / 32) {
    const int64_t row = task / strips;
    const int64_t column = task % strips * 32 + lane;
    T sum = T(0);
    for (int64_t begin = 0; begin < a.count; begin += 32) {
      const int64_t mine = begin + lane;
      const bool hit = mine < a.count && a.indices[mine] == row && a.indices[mine] != a.skip;
      unsigned hits = __ballot_sync(kAllLanes, hit);
      while (hits != 0) {
        const int64_t i = begin + __ffs(static_cast<int>(hits)) - 1;
        hits &= hits - 1;
        if (column < a.width) sum += static_cast<const T*>(a.g)[i * a.width + column];
      }
    }
    if (column < a.width) static_cast<T*>(a.out)[row * a.width + column] = sum;
  }
}

Status check(Context& context, const int32_t* indices, int64_t count, int64_t rows) {
  if (count == 0) return {};
  int* flag = state(context).flag;
  PALIMPSEST_TRY(to_status(cudaMemsetAsync(flag, 0, sizeof(int), state(context).stream), "memset"));
  PALIMPSEST_TRY(launch(context, check_indices, blocks_for(context, count, kThreads), kThreads, 0, indices,
                        count, rows, flag));
  int bad = 0;
  PALIMPSEST_TRY(context.read(bad, static_cast<const int*>(flag)));
  if (bad != 0) return {Code::argument, "an entry of 'indices' names no row of the table"};
  return {};
}

Status gather(Context& context, const GatherRowsArgs& a) {
  PALIMPSEST_TRY(check(context, a.indices, a.count, a.rows));
  if (a.count * a.width == 0) return {};
  const dim3 grid(blocks_for(context, a.count * a.width, kThreads));
  switch (size_of(a.dtype)) {
    case 8: return launch(context, gather_kernel<uint64_t>, grid, kThreads, 0, a);
    case 4: return launch(context, gather_kernel<uint32_t>, grid, kThreads, 0, a);
    case 2: return launch(context, gather_kernel<uint16_t>, grid, kThreads, 0, a);
    default: return launch(context, gather_kernel<uint8_t>, grid, kThreads, 0, a);
  }
}

Status scatter(Context& context, const ScatterRowsArgs& a) {
  PALIMPSEST_TRY(check(context, a.indices, a.count, a.rows));
  if (a.rows * a.width == 0) return {};
  const dim3 grid(blocks_for(context, a.rows * ceil_div(a.width, 32), kThreads / 32));
  const auto kernel = a.dtype == DType::f64 ? scatter_kernel<double> : scatter_kernel<float>;
  return launch(context, kernel, grid, kThreads, 0, a);
}

}  // namespace

void fill_embedding(KernelTable& table) { table.embedding = {.gather = gather, .scatter = scatter}; }

}  // namespace palimpsest::cuda
