// One-sided Jacobi: rows are rotated in pairs until all are orthogonal. A round-robin of the rows gives
// rows/2 pairs at a time that have nothing in common. Up to kSmall rows one block goes through all rounds
// and sweeps by itself, a warp a pair; of more, a launch is a round, a block a pair, and a number comes to
// the host once a sweep. Sums and rotations are in float64. Floor: both rows of a pair read twice and
// written once, from the second-level cache for what is called small dense work.

#include "cuda/dense/dense.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int64_t kSmall = 64;
constexpr int kSmallThreads = 512;
constexpr int kPairThreads = 128;
constexpr int kSweeps = 60;

// Pair `k` of a round among `players` (an even number): all meet all in players − 1 rounds.
__device__ inline void pair_of(int64_t players, int64_t round, int64_t k, int64_t& i, int64_t& j) {
  const int64_t ring = players - 1;
  i = k == 0 ? ring : (round + k) % ring;
  j = (round + ring - k) % ring;
}

struct Rotation {
  double c, s;
};

// From xx = ‖x‖², yy = ‖y‖², xy = x·y; false where they are orthogonal enough, or one is nothing beside the
// other (it would be rounding errors, which no rotation turns for good).
__device__ inline bool rotation_of(double xx, double yy, double xy, double tolerance, Rotation& r) {
  const double ratio = tolerance * 1e-3;
  if (!((xx < yy ? xx : yy) > ratio * ratio * (xx < yy ? yy : xx))) return false;
  if (!(fabs(xy) > tolerance * sqrt(xx) * sqrt(yy))) return false;
  const double zeta = (yy - xx) / (2 * xy);
  const double tangent = (zeta >= 0 ? 1.0 : -1.0) / (fabs(zeta) + sqrt(1 + zeta * zeta));
  r.c = 1 / sqrt(1 + tangent * tangent);
  r.s = r.c * tangent;
  return true;
}

template <typename T>
__device__ inline void rotate(T* x, T* y, int64_t n, const Rotation& r, int first, int step) {
  for (int64_t i = first; i < n; i += step) {
    const double p = static_cast<double>(x[i]);
    const double q = static_cast<double>(y[i]);
    x[i] = static_cast<T>(r.c * p - r.s * q);
    y[i] = static_cast<T>(r.s * p + r.c * q);
  }
}

template <typename T>
__device__ inline void dots(const T* x, const T* y, int64_t n, int first, int step, double (&sums)[3]) {
  sums[0] = sums[1] = sums[2] = 0;
  for (int64_t i = first; i < n; i += step) {
    const double p = static_cast<double>(x[i]);
    const double q = static_cast<double>(y[i]);
    sums[0] += p * p;
    sums[1] += q * q;
    sums[2] += p * q;
  }
}

// *left ← whether a sweep more would be needed.
template <typename T>
__global__ void __launch_bounds__(kSmallThreads)
    small_kernel(const JacobiArgs<T> a, int64_t players, double tolerance, int32_t* left) {
  __shared__ int turned;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    if (threadIdx.x == 0) turned = 0;
    __syncthreads();
    for (int64_t round = 0; round < players - 1; ++round) {
      for (int64_t k = warp; k < players / 2; k += kSmallThreads / 32) {
        int64_t i;
        int64_t j;
        pair_of(players, round, k, i, j);
        if (i >= a.rows || j >= a.rows) continue;  // one sits out where rows are odd
        T* const x = a.a + i * a.a_stride;
        T* const y = a.a + j * a.a_stride;
        double sums[3];
        dots(x, y, a.length, lane, 32, sums);
        for (double& sum : sums) sum = warp_sum(sum);
        Rotation r;
        if (!rotation_of(sums[0], sums[1], sums[2], tolerance, r)) continue;
        if (lane == 0) atomicOr(&turned, 1);
        rotate(x, y, a.length, r, lane, 32);
        if (a.v != nullptr) rotate(a.v + i * a.v_stride, a.v + j * a.v_stride, a.v_length, r, lane, 32);
      }
      __syncthreads();
    }
    const int again = turned;
    __syncthreads();
    if (again == 0) {
      if (threadIdx.x == 0) *left = 0;
      return;
    }
  }
  if (threadIdx.x == 0) *left = 1;
}

template <typename T>
__global__ void __launch_bounds__(kPairThreads)
    round_kernel(const JacobiArgs<T> a, int64_t players, int64_t round, double tolerance, int32_t* turned) {
  int64_t i;
  int64_t j;
  pair_of(players, round, blockIdx.x, i, j);
  if (i >= a.rows || j >= a.rows) return;
  T* const x = a.a + i * a.a_stride;
  T* const y = a.a + j * a.a_stride;
  const int thread = static_cast<int>(threadIdx.x);
  double sums[3];
  dots(x, y, a.length, thread, kPairThreads, sums);
  for (double& sum : sums) sum = block_sum<kPairThreads>(sum);
  Rotation r;
  if (!rotation_of(sums[0], sums[1], sums[2], tolerance, r)) return;
  if (thread == 0) *turned = 1;
  rotate(x, y, a.length, r, thread, kPairThreads);
  if (a.v != nullptr) rotate(a.v + i * a.v_stride, a.v + j * a.v_stride, a.v_length, r, thread, kPairThreads);
}

}  // namespace

template <typename T>
Status jacobi(Context& context, const JacobiArgs<T>& args) {
  if (args.rows < 2) return {};
  const auto length = static_cast<double>(args.length < 64 ? 64 : args.length);
  const double tolerance = sqrt(length) * (sizeof(T) == 4 ? 0x1p-24 : 0x1p-53);
  const int64_t players = args.rows + args.rows % 2;
  const Status lost{Code::numerical, "Jacobi's rotations did not converge"};
  const Workspace::Scope scope(context.workspace);
  auto* const left = scratch<int32_t>(context, 1);
  if (left == nullptr) return no_memory();
  int32_t again = 1;
  if (args.rows <= kSmall) {
    PALIMPSEST_TRY(launch(context, small_kernel<T>, 1, kSmallThreads, 0, args, players, tolerance, left));
    PALIMPSEST_TRY(context.read(again, left));
    return again == 0 ? Status() : lost;
  }
  for (int sweep = 0; sweep < kSweeps && again != 0; ++sweep) {
    if (context.aborted()) return {Code::aborted, "aborted"};
    PALIMPSEST_TRY(clear(context, left, sizeof(int32_t)));
    for (int64_t round = 0; round < players - 1; ++round) {
      PALIMPSEST_TRY(launch(context, round_kernel<T>, static_cast<unsigned>(players / 2), kPairThreads, 0, args, players,
                            round, tolerance, left));
    }
    PALIMPSEST_TRY(context.read(again, left));
  }
  return again == 0 ? Status() : lost;
}

template Status jacobi(Context&, const JacobiArgs<float>&);
template Status jacobi(Context&, const JacobiArgs<double>&);

}  // namespace palimpsest::cuda
