// Philox fills. Floor: the bytes written. A counter's ten rounds are two 32 × 32 → 64 products, two
// shuffles and two three-way xors each; eight counters a vector give 32 numbers in about 30 cycles of
// AVX-512, which is near what memory takes. Words go through a block in L1, from where plain loops
// that the compiler vectorises make floats of them. No fused multiply-add: every level gives the same
// bits. Box–Muller's angle is cut into quadrants by its integer bits, so that its reduction is exact.

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

#include "cpu/simd/math.inl"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kGrain = 1 << 16;  // numbers a task
constexpr int64_t kBlock = 1024;     // words in L1
constexpr int64_t kRoom = kBlock + 8 + 4 * Words::width;

// The words of [position, position + count), count ≤ kBlock + 4; returns where they start in `room`.
const uint32_t* draw(uint64_t seed, uint64_t position, int64_t count, uint32_t* room) {
  const Words m0 = Words::set(0xd2511f53u);
  const Words m1 = Words::set(0xcd9e8d57u);
  const auto seed0 = static_cast<uint32_t>(seed);
  const auto seed1 = static_cast<uint32_t>(seed >> 32);
  const auto skip = static_cast<int64_t>(position & 3);
  uint64_t counter = position >> 2;
  for (int64_t at = 0; at < skip + count; at += 4 * Words::width) {
    // The first round by hand: two of the four words are zero.
    const Words start = Words::count_from(counter);
    const Words first = start * m0;
    Words c0 = xor3(upper(start), Words::set(seed0), Words::set(0));
    Words c1 = Words::set(0);
    Words c2 = xor3(upper(first), Words::set(seed1), Words::set(0));
    Words c3 = first;
#pragma GCC unroll 9
    for (uint32_t round = 1; round < 10; ++round) {
      const Words p0 = c0 * m0;
      const Words p1 = c2 * m1;
      c0 = xor3(upper(p1), c1, Words::set(seed0 + round * 0x9e3779b9u));
      c2 = xor3(upper(p0), c3, Words::set(seed1 + round * 0xbb67ae85u));
      c1 = p1;
      c3 = p0;
    }
    Words::store4(c0, c1, c2, c3, room + at);
    counter += Words::width;
  }
  return room + skip;
}

// Calls body(words, first, count) block by block on all threads; the first task and block are shorter
// by `head`.
template <typename Body>
void for_blocks(Context& context, uint64_t seed, uint64_t position, int64_t n, const Body& body,
                int64_t head = 0) {
  context.parallel_chunks(n + head, kGrain, [&](int64_t begin, int64_t end) {
    alignas(64) uint32_t room[kRoom];
    for (int64_t i = begin; i < end; i += kBlock) {
      const int64_t first = i - head > 0 ? i - head : 0;
      const int64_t count = (end - i < kBlock ? end : i + kBlock) - head - first;
      if (count > 0) body(draw(seed, position + static_cast<uint64_t>(first), count, room), first, count);
    }
  });
}

// Beyond this many bytes a fill goes past the caches: it writes memory without reading it first.
constexpr int64_t kStreamFrom = int64_t{1} << 23;

// The `head` that makes all blocks but the first begin at a cache line of float32 `out`.
int64_t head_of(const float* out) {
  return static_cast<int64_t>((reinterpret_cast<uintptr_t>(out) / sizeof(float)) % 16);
}

// Copies a block that was made in L1.
void put(float* out, const float* z, int64_t count, bool past_caches) {
  int64_t i = 0;
  if (past_caches && reinterpret_cast<uintptr_t>(out) % 64 == 0) {
    for (; i + VecF32::width <= count; i += VecF32::width) VecF32::load(z + i).stream(out + i);
  }
  for (; i + VecF32::width <= count; i += VecF32::width) VecF32::load(z + i).store(out + i);
  for (; i < count; ++i) out[i] = z[i];
}

inline float unit(uint32_t word) { return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f; }
inline double unit64(uint32_t word) {
  return static_cast<double>(static_cast<int32_t>(word >> 8)) * 0x1p-24;
}

Status uniform(Context& context, const RandomArgs& a) {
  const double low = a.a;
  const double range = a.b;
  const bool plain = low == 0 && range == 1;
  const bool past_caches = a.n * static_cast<int64_t>(sizeof(float)) >= kStreamFrom;
  const int64_t head = a.dtype == DType::f32 ? head_of(static_cast<const float*>(a.out)) : 0;
  for_blocks(context, a.seed, a.position, a.n, [&](const uint32_t* words, int64_t at, int64_t count) {
    if (a.dtype == DType::f64) {
      double* out = static_cast<double*>(a.out) + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) out[i] = low + range * unit64(words[i]);
    } else if (a.dtype == DType::bf16) {
      BFloat16* out = static_cast<BFloat16*>(a.out) + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) {
        out[i] = to_bf16(static_cast<float>(low + range * unit64(words[i])));
      }
    } else {
      alignas(64) float z[kBlock];
      if (plain) {
        for (int64_t i = 0; i < count; ++i) z[i] = unit(words[i]);
      } else {
        for (int64_t i = 0; i < count; ++i) z[i] = static_cast<float>(low + range * unit64(words[i]));
      }
      put(static_cast<float*>(a.out) + at, z, count, past_caches);
    }
  }, head);
  return {};
}

inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

// log u for u in [2^-32, 1]: the polynomial of log_f32, without its edges.
inline float log_unit(float u) {
  const int32_t shifted = float_to_bits(u) - 0x3f3504f3;
  const float f = bits_to_float((shifted & 0x007fffff) + 0x3f3504f3) - 1.0f;
  const float e = static_cast<float>(shifted >> 23);
  float q = fma(f, 6.746601323e-02f, -1.167564130e-01f);
  q = fma(f, q, 1.188817460e-01f);
  q = fma(f, q, -1.240559142e-01f);
  q = fma(f, q, 1.421955091e-01f);
  q = fma(f, q, -1.666799567e-01f);
  q = fma(f, q, 2.000211873e-01f);
  q = fma(f, q, -2.500000960e-01f);
  q = fma(f, q, 3.333331260e-01f);
  const float ff = f * f;
  return fma(e, kLn2High, f + fma(e, kLn2Low, fma(ff * f, q, -0.5f * ff)));
}

// `pairs` pairs of standard normal numbers. Multiply-adds are fused here at every level.
void box_muller(const uint32_t* words, int64_t pairs, float* z) {
#pragma GCC ivdep
  for (int64_t i = 0; i < pairs; ++i) {
    const uint32_t a = words[2 * i];
    const uint32_t b = words[2 * i + 1];
    const float u = (static_cast<float>(static_cast<int32_t>(a >> 1)) + 0.5f) * 0x1p-31f;
    const float radius = __builtin_sqrtf(-2.0f * log_unit(u));
    // b / 2^32 of a turn: the nearest quarter, and the rest in (−π/4, π/4).
    const auto quarter = static_cast<int32_t>((b + 0x20000000u) >> 30);
    const float rest = static_cast<float>(static_cast<int32_t>(b << 2)) * (1.57079632679f * 0x1p-32f);
    const float x = rest * rest;
    const float s = fma(rest * x, fma(x, fma(x, fma(x, 2.718311568e-06f, -1.983933484e-04f), 8.333329386e-03f), -1.666666664e-01f), rest);
    const float c = fma(x * x, fma(x, fma(x, fma(x, -2.721023690e-07f, 2.479952000e-05f), -1.388888375e-03f), 4.166666662e-02f), fma(x, -0.5f, 1.0f));
    const float sine = (quarter & 1) != 0 ? c : s;
    const float cosine = (quarter & 1) != 0 ? s : c;
    z[2 * i] = radius * (((quarter + 1) & 2) != 0 ? -cosine : cosine);
    z[2 * i + 1] = radius * ((quarter & 2) != 0 ? -sine : sine);
  }
}

void box_muller(const uint32_t* words, int64_t pairs, double* z) {
  for (int64_t i = 0; i < pairs; ++i) {
    const double u = (static_cast<double>(words[2 * i] >> 1) + 0.5) * 0x1p-31;
    const double radius = __builtin_sqrt(-2 * __builtin_log(u));
    const double angle = static_cast<double>(words[2 * i + 1]) * (6.283185307179586477 * 0x1p-32);
    z[2 * i] = radius * __builtin_cos(angle);
    z[2 * i + 1] = radius * __builtin_sin(angle);
  }
}

template <typename T, typename Store>
void normals(Context& context, const RandomArgs& a, const Store& store) {
  const auto odd = static_cast<int64_t>(a.position & 1);
  // Blocks start at even positions: z[odd] is the first number that is wanted.
  for_blocks(context, a.seed, a.position - static_cast<uint64_t>(odd), a.n + odd,
             [&](const uint32_t* words, int64_t at, int64_t count) {
               alignas(64) T z[kBlock + 2];
               // `draw` makes whole counters, so that a last pair is complete.
               box_muller(words, (count + 1) / 2, z);
               const int64_t skip = at == 0 ? odd : 0;
               store(z + skip, at + skip - odd, count - skip);
             },
             // Even, so that pairs stay whole.
             dtype_of<T> == DType::f32 ? head_of(static_cast<const float*>(a.out) - odd) & ~int64_t{1} : 0);
}

Status normal(Context& context, const RandomArgs& a) {
  const auto mean = static_cast<float>(a.a);
  const auto deviation = static_cast<float>(a.b);
  if (a.dtype == DType::f64) {
    normals<double>(context, a, [&](const double* z, int64_t at, int64_t count) {
      double* out = static_cast<double*>(a.out) + at;
      for (int64_t i = 0; i < count; ++i) out[i] = a.a + a.b * z[i];
    });
  } else if (a.dtype == DType::bf16) {
    normals<float>(context, a, [&](const float* z, int64_t at, int64_t count) {
      BFloat16* out = static_cast<BFloat16*>(a.out) + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) out[i] = to_bf16(mean + deviation * z[i]);
    });
  } else {
    const bool past_caches = a.n * static_cast<int64_t>(sizeof(float)) >= kStreamFrom;
    normals<float>(context, a, [&](float* z, int64_t at, int64_t count) {
      if (mean != 0 || deviation != 1) {
        for (int64_t i = 0; i < count; ++i) z[i] = mean + deviation * z[i];
      }
      put(static_cast<float*>(a.out) + at, z, count, past_caches);
    });
  }
  return {};
}

// ⌊w·n / 2^32⌋ for n < 2^32; n = 0 stands for 2^32.
inline uint32_t scaled(uint32_t word, uint32_t n) {
  return n == 0 ? word : static_cast<uint32_t>((static_cast<uint64_t>(word) * n) >> 32);
}

Status integers(Context& context, const RandomArgs& a) {
  const auto n = static_cast<uint32_t>(static_cast<uint64_t>(a.b));
  for_blocks(context, a.seed, a.position, a.n, [&](const uint32_t* words, int64_t at, int64_t count) {
    if (a.dtype == DType::i32) {
      const auto low = static_cast<uint32_t>(static_cast<int64_t>(a.a));
      int32_t* out = static_cast<int32_t*>(a.out) + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) out[i] = static_cast<int32_t>(low + scaled(words[i], n));
    } else if (a.dtype == DType::f64) {
      double* out = static_cast<double*>(a.out) + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) out[i] = a.a + scaled(words[i], n);
    } else {
      float* out = static_cast<float*>(a.out) + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(a.a + scaled(words[i], n));
    }
  });
  return {};
}

Status permutation(Context&, const RandomArgs& a) {
  auto* order = static_cast<int32_t*>(a.out);
  for (int64_t i = 0; i < a.n; ++i) order[i] = static_cast<int32_t>(i);
  alignas(64) uint32_t room[kRoom];
  uint32_t partner[kBlock];
  for (int64_t taken = 0; taken < a.n - 1; taken += kBlock) {
    const int64_t rest = a.n - 1 - taken;
    const int64_t count = rest < kBlock ? rest : kBlock;
    const uint32_t* words = draw(a.seed, a.position + static_cast<uint64_t>(taken), count, room);
    const int64_t last = a.n - 1 - taken;
    for (int64_t i = 0; i < count; ++i) {
      partner[i] = scaled(words[i], static_cast<uint32_t>(last - i + 1));
      __builtin_prefetch(order + partner[i], 1);
    }
    for (int64_t i = 0; i < count; ++i) {
      const int32_t kept = order[last - i];
      order[last - i] = order[partner[i]];
      order[partner[i]] = kept;
    }
  }
  return {};
}

template <typename T>
void drop(const DropoutArgs& a, const uint32_t* words, int64_t at, int64_t count) {
  const T* x = static_cast<const T*>(a.x) + at;
  T* y = static_cast<T*>(a.y) + at;
  const T scale = static_cast<T>(a.scale);
  const auto threshold = static_cast<int32_t>(a.threshold);
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    y[i] = static_cast<int32_t>(words[i] >> 8) < threshold ? T(0) : x[i] * scale;
  }
}

Status dropout(Context& context, const DropoutArgs& a) {
  for_blocks(context, a.seed, a.position, a.n, [&](const uint32_t* words, int64_t at, int64_t count) {
    if (a.dtype == DType::f64) {
      drop<double>(a, words, at, count);
    } else if (a.dtype == DType::f32) {
      drop<float>(a, words, at, count);
    } else {
      const BFloat16* x = static_cast<const BFloat16*>(a.x) + at;
      BFloat16* y = static_cast<BFloat16*>(a.y) + at;
      const auto scale = static_cast<float>(a.scale);
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) {
        y[i] = words[i] >> 8 < a.threshold ? BFloat16{0} : to_bf16(to_float(x[i]) * scale);
      }
    }
  });
  return {};
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_random_, PALIMPSEST_LEVEL)(KernelTable& table) {
  using namespace PALIMPSEST_LEVEL;
  table.random = {.uniform = uniform,
                  .normal = normal,
                  .integers = integers,
                  .permutation = permutation,
                  .dropout = dropout};
}

}  // namespace palimpsest::cpu
