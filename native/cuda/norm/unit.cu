// Matrices divided by their Frobenius norms, a whole batch in two launches that no host waits for: parts of
// each matrix are measured, then scaled by blocks that add the parts up in order. Floor: x read twice, out
// written once; the second read comes from the second-level cache where the batch fits.

#include "cuda/norm/norm.cuh"
#include "cuda/primitives.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kEntries = 16384;  // of a part

struct Part {
  double squares, largest;
};

__device__ inline int64_t place(const Matrix& m, int64_t matrix, int64_t i) {
  return matrix * m.batch_stride + i / m.cols * m.row_stride + i % m.cols * m.col_stride;
}

// blockIdx.x: part; y: matrix. Squares of f32 in f64 neither overflow nor vanish.
__global__ void __launch_bounds__(kThreads, 4) measure_kernel(const Matrix x, Part* parts) {
  const int64_t n = x.rows * x.cols;
  const int64_t begin = blockIdx.x * kEntries;
  const int64_t end = begin + kEntries < n ? begin + kEntries : n;
  double squares = 0;
  float largest = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const float v = load_as<float>(x.data, x.dtype, place(x, blockIdx.y, i));
    squares += static_cast<double>(v) * v;
    largest = fabsf(v) > largest ? fabsf(v) : largest;
  }
  squares = block_sum<kThreads>(squares);
  largest = block_max<kThreads>(largest);
  if (threadIdx.x == 0) parts[int64_t{blockIdx.y} * gridDim.x + blockIdx.x] = {squares, largest};
}

__global__ void __launch_bounds__(kThreads, 4) scale_kernel(const UnitArgs a, const Part* parts) {
  __shared__ double shared_scale;
  if (threadIdx.x < 32) {
    double squares = 0;
    double largest = 0;
    for (unsigned k = threadIdx.x; k < gridDim.x; k += 32) {
      const Part part = parts[int64_t{blockIdx.y} * gridDim.x + k];
      squares += part.squares;
      largest = part.largest > largest ? part.largest : largest;
    }
    squares = warp_sum(squares);
    largest = warp_max(largest);
    if (threadIdx.x == 0) {
      const bool strange = !(squares - squares == 0);
      if (strange && a.strange != nullptr) atomicOr(a.strange, 1);
      const double norm = (sqrt(squares) / largest + a.eps) * largest * a.factor;
      shared_scale = squares == 0 ? 0.0 : 1 / norm;
    }
  }
  __syncthreads();
  const double scale = shared_scale;
  const int64_t n = a.x.rows * a.x.cols;
  const int64_t begin = blockIdx.x * kEntries;
  const int64_t end = begin + kEntries < n ? begin + kEntries : n;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const float v = load_as<float>(a.x.data, a.x.dtype, place(a.x, blockIdx.y, i));
    store_as<float>(a.out.data, a.out.dtype, place(a.out, blockIdx.y, i), static_cast<float>(v * scale));
  }
}

}  // namespace

Status unit(Context& context, const UnitArgs& a) {
  const int64_t parts = ceil_div(a.x.rows * a.x.cols, kEntries);
  if (parts == 0 || a.batch == 0) return {};
  const Workspace::Scope scope(context.workspace);
  auto* const measured = scratch<Part>(context, parts * a.batch);
  if (measured == nullptr) return no_memory();
  constexpr int64_t kMost = 65535;  // blocks along y
  for (int64_t first = 0; first < a.batch; first += kMost) {
    const int64_t count = a.batch - first < kMost ? a.batch - first : kMost;
    UnitArgs own = a;
    for (Matrix* m : {&own.x, &own.out}) {
      m->data = static_cast<char*>(m->data) + first * m->batch_stride * static_cast<int64_t>(size_of(m->dtype));
    }
    const dim3 grid(static_cast<unsigned>(parts), static_cast<unsigned>(count));
    PALIMPSEST_TRY(launch(context, measure_kernel, grid, kThreads, 0, own.x, measured));
    PALIMPSEST_TRY(launch(context, scale_kernel, grid, kThreads, 0, own, static_cast<const Part*>(measured)));
  }
  return {};
}

}  // namespace palimpsest::cuda
