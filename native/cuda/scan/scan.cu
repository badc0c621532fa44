// The selective scan. Sixteen lanes take sixteen states of a channel through all of time, further states
// one set of sixteen after the other, adding to what the first wrote; y is a sum over lanes. Backward a
// chunk's states are computed again from its checkpoint into shared memory; dB and dC, which channels
// share, are summed within a block in shared memory and over blocks in a fixed order. Floor: inputs
// read once a set of states, one exponential and six FLOPs a state and step (twice that backward).

#include "cuda/scan/scan.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kStates = 16;  // at once: lanes of a channel

// scan_chunks() for device code, which cannot call the host's.
__host__ __device__ inline int64_t chunks_of(int64_t time) { return (time + kScanChunk - 1) / kScanChunk; }

// Channels of a block: fewer in float64, whose states need twice the shared memory.
template <typename T>
constexpr int kChannels = sizeof(T) == 8 ? 8 : 16;
template <typename T>
constexpr int kThreads = kChannels<T>* kStates;

// The sum over a channel's lanes, in all of them.
template <typename T>
__device__ inline T sum_states(T x) {
  for (int step = kStates / 2; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}

template <typename T>
__device__ inline T exponential(T x) {
  return exp(x);
}
template <>
__device__ inline float exponential(float x) {
  return expf(x);
}

template <typename T>
struct Lane {
  int64_t batch, channel, state, row;  // row: of the first step
  bool there;                          // both exist
  T a;

  __device__ Lane(const SelectiveScanArgs& s, int64_t set) {
    batch = blockIdx.y;
    channel = int64_t{blockIdx.x} * kChannels<T> + threadIdx.x / kStates;
    state = set * kStates + threadIdx.x % kStates;
    row = batch * s.time;
    there = channel < s.channels && state < s.states;
    a = there ? static_cast<const T*>(s.a)[channel * s.states + state] : T(0);
  }
};

// What a step reads; zero where lanes have no channel or no state.
template <typename T>
struct Step {
  T delta, u, b, c;
  __device__ Step(const SelectiveScanArgs& s, const Lane<T>& lane, int64_t t) {
    const int64_t row = lane.row + t;
    const bool channel = lane.channel < s.channels;
    delta = channel ? static_cast<const T*>(s.delta)[row * s.channels + lane.channel] : T(0);
    u = channel ? static_cast<const T*>(s.u)[row * s.channels + lane.channel] : T(0);
    b = lane.there ? static_cast<const T*>(s.b)[row * s.states + lane.state] : T(0);
    c = lane.there ? static_cast<const T*>(s.c)[row * s.states + lane.state] : T(0);
  }
};

template <typename T>
__device__ inline int64_t checkpoint_at(const SelectiveScanArgs& s, const Lane<T>& lane, int64_t chunk) {
  return ((lane.batch * chunks_of(s.time) + chunk) * s.channels + lane.channel) * s.states + lane.state;
}

template <typename T>
__global__ void __launch_bounds__(kThreads<T>) scan_kernel(const SelectiveScanArgs s) {
  for (int64_t set = 0; set * kStates < s.states; ++set) {
    const Lane<T> lane(s, set);
    const bool writes = threadIdx.x % kStates == 0 && lane.channel < s.channels;
    const T through = writes && s.d != nullptr && set == 0 ? static_cast<const T*>(s.d)[lane.channel] : T(0);
    T h = 0;
    for (int64_t t = 0; t < s.time; ++t) {
      if (t % kScanChunk == 0 && lane.there) {
        static_cast<T*>(s.checkpoints)[checkpoint_at(s, lane, t / kScanChunk)] = h;
      }
      const Step<T> step(s, lane, t);
      h = exponential(step.delta * lane.a) * h + step.delta * step.u * step.b;
      const T out = sum_states(step.c * h);
      if (!writes) continue;
      T& y = static_cast<T*>(s.y)[(lane.row + t) * s.channels + lane.channel];
      y = set == 0 ? out + through * step.u : y + out;
    }
  }
}

// Shared memory of the backward pass.
template <typename T>
struct Chunk {
  T h[kScanChunk + 1][kThreads<T>];  // row 0 before the chunk, row k + 1 after its step k
  T db[kThreads<T> / 32][kScanChunk][kStates];
  T dc[kThreads<T> / 32][kScanChunk][kStates];
};

// Partial sums: of dB and dC one a block of channels, of dA and dD one a batch.
template <typename T>
struct Partials {
  T* db;  // [blocks, batch, time, states]
  T* dc;
  T* da;  // [batch, channels, states]
  T* dd;  // [batch, channels]
};

template <typename T>
__global__ void __launch_bounds__(kThreads<T>) scan_backward_kernel(const SelectiveScanBackwardArgs args, const Partials<T> parts) {
  const SelectiveScanArgs& s = args.forward;
  auto& chunk = *dynamic_shared<Chunk<T>>();
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / 32;
  for (int64_t set = 0; set * kStates < s.states; ++set) {
    const Lane<T> lane(s, set);
    const bool writes = thread % kStates == 0 && lane.channel < s.channels;
    const T through = writes && s.d != nullptr && set == 0 ? static_cast<const T*>(s.d)[lane.channel] : T(0);
    T grad = 0;
    T da = 0;
    T dd = 0;
    for (int64_t number = chunks_of(s.time) - 1; number >= 0; --number) {
      const int64_t begin = number * kScanChunk;
      const int steps = static_cast<int>(begin + kScanChunk < s.time ? kScanChunk : s.time - begin);
      T h = lane.there ? static_cast<const T*>(s.checkpoints)[checkpoint_at(s, lane, number)] : T(0);
      chunk.h[0][thread] = h;
      for (int k = 0; k < steps; ++k) {
        const Step<T> step(s, lane, begin + k);
        h = exponential(step.delta * lane.a) * h + step.delta * step.u * step.b;
        chunk.h[k + 1][thread] = h;
      }
      for (int k = steps - 1; k >= 0; --k) {
        const Step<T> step(s, lane, begin + k);
        const int64_t at = (lane.row + begin + k) * s.channels + lane.channel;
        const T dy = lane.channel < s.channels ? static_cast<const T*>(args.dy)[at] : T(0);
        const T g = grad + step.c * dy;
        const T decay = exponential(step.delta * lane.a);
        const T decayed = decay * chunk.h[k][thread];
        T dc = dy * chunk.h[k + 1][thread];
        T db = g * step.delta * step.u;
        da += g * step.delta * decayed;
        grad = g * decay;
        const T du = sum_states(g * step.delta * step.b);
        const T ddelta = sum_states(g * (lane.a * decayed + step.u * step.b));
        // The two channels of a warp.
        db += __shfl_xor_sync(kAllLanes, db, kStates);
        dc += __shfl_xor_sync(kAllLanes, dc, kStates);
        if (thread % 32 < kStates) {
          chunk.db[warp][k][thread % kStates] = db;
          chunk.dc[warp][k][thread % kStates] = dc;
        }
        if (!writes) continue;
        dd += dy * step.u;
        T& du_out = static_cast<T*>(args.du)[at];
        T& ddelta_out = static_cast<T*>(args.ddelta)[at];
        du_out = set == 0 ? du + through * dy : du_out + du;
        ddelta_out = set == 0 ? ddelta : ddelta_out + ddelta;
      }
      __syncthreads();
      for (int i = thread; i < steps * kStates; i += kThreads<T>) {
        const int64_t state = set * kStates + i % kStates;
        if (state >= s.states) continue;
        T db = 0;
        T dc = 0;
        for (int w = 0; w < kThreads<T> / 32; ++w) {
          db += chunk.db[w][i / kStates][i % kStates];
          dc += chunk.dc[w][i / kStates][i % kStates];
        }
        const int64_t to = ((int64_t{blockIdx.x} * s.batch + lane.batch) * s.time + begin + i / kStates) * s.states + state;
        parts.db[to] = db;
        parts.dc[to] = dc;
      }
      __syncthreads();
    }
    if (lane.there) parts.da[(lane.batch * s.channels + lane.channel) * s.states + lane.state] = da;
    if (writes && set == 0) parts.dd[lane.batch * s.channels + lane.channel] = dd;
  }
}

template <typename T>
dim3 grid_of(const SelectiveScanArgs& s) {
  return {static_cast<unsigned>(ceil_div(s.channels, kChannels<T>)), static_cast<unsigned>(s.batch), 1};
}

template <typename T>
Status scan(Context& context, const SelectiveScanArgs& s) {
  if (s.time == 0) return {};
  if (s.states == 0) return {Code::argument, "selectiveScan: there are no states"};
  return launch(context, scan_kernel<T>, grid_of<T>(s), kThreads<T>, 0, s);
}

template <typename T>
Status scan_backward(Context& context, const SelectiveScanBackwardArgs& args) {
  const SelectiveScanArgs& s = args.forward;
  if (s.states == 0) return {Code::argument, "selectiveScan: there are no states"};
  const Workspace::Scope scope(context.workspace);
  const dim3 grid = grid_of<T>(s);
  const int64_t shared = s.batch * s.time * s.states;
  const int64_t own = s.channels * s.states;
  const Partials<T> parts{scratch<T>(context, grid.x * shared), scratch<T>(context, grid.x * shared),
                          scratch<T>(context, s.batch * own), scratch<T>(context, s.batch * s.channels)};
  if (parts.db == nullptr || parts.dc == nullptr || parts.da == nullptr || parts.dd == nullptr) return no_memory();
  PALIMPSEST_TRY(launch(context, scan_backward_kernel<T>, grid, kThreads<T>, sizeof(Chunk<T>), args, parts));
  PALIMPSEST_TRY(sum_parts<T>(context, parts.db, grid.x, shared, shared, static_cast<T*>(args.db)));
  PALIMPSEST_TRY(sum_parts<T>(context, parts.dc, grid.x, shared, shared, static_cast<T*>(args.dc)));
  PALIMPSEST_TRY(sum_parts<T>(context, parts.da, s.batch, own, own, static_cast<T*>(args.da)));
  if (args.dd == nullptr) return {};
  return sum_parts<T>(context, parts.dd, s.batch, s.channels, s.channels, static_cast<T*>(args.dd));
}

Status selective(Context& context, const SelectiveScanArgs& s) {
  return s.dtype == DType::f64 ? scan<double>(context, s) : scan<float>(context, s);
}
Status selective_backward(Context& context, const SelectiveScanBackwardArgs& args) {
  return args.forward.dtype == DType::f64 ? scan_backward<double>(context, args) : scan_backward<float>(context, args);
}

}  // namespace

void fill_scan(KernelTable& table) {
  table.scan = {.selective = selective,
                .selective_backward = selective_backward,
                .causal_conv = causal_conv,
                .causal_conv_backward = causal_conv_backward};
}

}  // namespace palimpsest::cuda
