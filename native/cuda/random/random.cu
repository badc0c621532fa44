// Random fills. Floor: the bytes written. A thread draws one counter, four words, and writes the
// elements of it that are wanted.

#include <vector>

#include "cuda/primitives.cuh"
#include "cuda/random/philox.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;

// f(element, word) for all elements; whole counters a thread.
template <typename F>
__device__ inline void each_word(uint64_t seed, uint64_t position, int64_t n, const F& f) {
  const auto skip = static_cast<int64_t>(position & 3);
  const int64_t counters = (n + skip + 3) / 4;
  for (int64_t c = global_thread(); c < counters; c += all_threads()) {
    const Words words = philox(seed, (position >> 2) + static_cast<uint64_t>(c));
    for (int j = 0; j < 4; ++j) {
      const int64_t i = 4 * c + j - skip;
      if (i >= 0 && i < n) f(i, words.w[j]);
    }
  }
}

__host__ __device__ inline double unit64(uint32_t word) {
  return static_cast<double>(static_cast<int32_t>(word >> 8)) * 0x1p-24;
}

// low + range·u as the CPU rounds it: the product, then the sum.
__host__ __device__ inline double affine(double low, double range, double u) {
#ifdef __CUDA_ARCH__
  return __dadd_rn(low, __dmul_rn(range, u));
#else
  return low + range * u;
#endif
}

__global__ void __launch_bounds__(kThreads) uniform_kernel(const RandomArgs a) {
  each_word(a.seed, a.position, a.n, [&](int64_t i, uint32_t word) {
    if (a.dtype == DType::f64) {
      static_cast<double*>(a.out)[i] = affine(a.a, a.b, unit64(word));
    } else {
      store_as<float>(a.out, a.dtype, i, static_cast<float>(affine(a.a, a.b, unit64(word))));
    }
  });
}

// Pairs stand at even positions of the stream.
__global__ void __launch_bounds__(kThreads) normal_kernel(const RandomArgs a) {
  const auto mean = static_cast<float>(a.a);
  const auto deviation = static_cast<float>(a.b);
  const auto skip = static_cast<int64_t>(a.position & 3);
  const int64_t counters = (a.n + skip + 3) / 4;
  for (int64_t c = global_thread(); c < counters; c += all_threads()) {
    const Words words = philox(a.seed, (a.position >> 2) + static_cast<uint64_t>(c));
    for (int pair = 0; pair < 2; ++pair) {
      const uint32_t first = words.w[2 * pair];
      const uint32_t second = words.w[2 * pair + 1];
      const int64_t i = 4 * c + 2 * pair - skip;
      if (a.dtype == DType::f64) {
        const double u = (static_cast<double>(first >> 1) + 0.5) * 0x1p-31;
        const double radius = sqrt(-2 * log(u));
        const double angle = static_cast<double>(second) * (6.283185307179586477 * 0x1p-32);
        auto* out = static_cast<double*>(a.out);
        if (i >= 0 && i < a.n) out[i] = affine(a.a, a.b, radius * cos(angle));
        if (i + 1 >= 0 && i + 1 < a.n) out[i + 1] = affine(a.a, a.b, radius * sin(angle));
      } else {
        const Pair z = normal_pair(first, second);
        if (i >= 0 && i < a.n) {
          store_as<float>(a.out, a.dtype, i, add_rn(mean, mul_rn(deviation, z.cosine)));
        }
        if (i + 1 >= 0 && i + 1 < a.n) {
          store_as<float>(a.out, a.dtype, i + 1, add_rn(mean, mul_rn(deviation, z.sine)));
        }
      }
    }
  }
}

// ⌊w·n / 2^32⌋ for n < 2^32; n = 0 stands for 2^32.
__host__ __device__ inline uint32_t scaled(uint32_t word, uint32_t n) {
  return n == 0 ? word : high_product(word, n);
}

__global__ void __launch_bounds__(kThreads) integers_kernel(const RandomArgs a) {
  const auto n = static_cast<uint32_t>(static_cast<uint64_t>(a.b));
  const auto low = static_cast<uint32_t>(static_cast<int64_t>(a.a));
  each_word(a.seed, a.position, a.n, [&](int64_t i, uint32_t word) {
    const uint32_t x = scaled(word, n);
    if (a.dtype == DType::i32) {
      static_cast<int32_t*>(a.out)[i] = static_cast<int32_t>(low + x);
    } else {
      store_as<double>(a.out, a.dtype, i, a.a + x);
    }
  });
}

__global__ void __launch_bounds__(kThreads) dropout_kernel(const DropoutArgs a) {
  each_word(a.seed, a.position, a.n, [&](int64_t i, uint32_t word) {
    const bool dropped = word >> 8 < a.threshold;
    if (a.dtype == DType::f64) {
      static_cast<double*>(a.y)[i] = dropped ? 0 : static_cast<const double*>(a.x)[i] * a.scale;
    } else {
      const float x = load_as<float>(a.x, a.dtype, i) * static_cast<float>(a.scale);
      store_as<float>(a.y, a.dtype, i, dropped ? 0.0f : x);
    }
  });
}

unsigned grid_of(const Context& context, int64_t n) { return blocks_for(context, n + 4, 4 * kThreads); }

template <void (*kKernel)(const RandomArgs)>
Status fill(Context& context, const RandomArgs& args) {
  if (args.n == 0) return {};
  return launch(context, kKernel, grid_of(context, args.n), kThreads, 0, args);
}

// Every exchange depends on the one before: the host does them, and the order is copied.
Status permutation(Context& context, const RandomArgs& a) {
  if (a.n == 0) return {};
  std::vector<int32_t> order(static_cast<size_t>(a.n));
  for (int64_t i = 0; i < a.n; ++i) order[static_cast<size_t>(i)] = static_cast<int32_t>(i);
  Words words{};
  uint64_t drawn = ~uint64_t{0};
  for (int64_t last = a.n - 1; last > 0; --last) {
    const uint64_t at = a.position + static_cast<uint64_t>(a.n - 1 - last);
    if (drawn != at >> 2) {
      drawn = at >> 2;
      words = philox(a.seed, drawn);
    }
    const uint32_t partner = scaled(words.w[at & 3], static_cast<uint32_t>(last + 1));
    std::swap(order[static_cast<size_t>(last)], order[partner]);
  }
  // From pageable memory: `order` has been read when this returns.
  return to_status(cudaMemcpyAsync(a.out, order.data(), order.size() * sizeof(int32_t),
                                   cudaMemcpyHostToDevice, state(context).stream),
                   "a copy failed");
}

Status dropout(Context& context, const DropoutArgs& args) {
  if (args.n == 0) return {};
  return launch(context, dropout_kernel, grid_of(context, args.n), kThreads, 0, args);
}

}  // namespace

void fill_random(KernelTable& table) {
  table.random = {.uniform = fill<uniform_kernel>,
                  .normal = fill<normal_kernel>,
                  .integers = fill<integers_kernel>,
                  .permutation = permutation,
                  .dropout = dropout};
}

}  // namespace palimpsest::cuda
