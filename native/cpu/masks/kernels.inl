// Mask algebra, and masks beside tensors. Floor: the bytes of masks and tensors, each moved once; plain
// loops that the compiler vectorises reach it. N:M along the last axis with M = 4 compares each score
// with its three neighbours at once where a level brings `keep4`.

#include "cpu/masks/bits.inl"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kWordGrain = 8192;    // words of masks alone a task
constexpr int64_t kEntryGrain = 65536;  // entries a task

template <typename Op>
void combine(Context& context, const MaskLogicArgs& a, const Op& op) {
  context.parallel_chunks(mask_words(a.n), kWordGrain, [&](int64_t begin, int64_t end) {
    const uint64_t* x = a.a;
    const uint64_t* y = a.b;
    uint64_t* out = a.out;
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) out[i] = op(x[i], y[i]);
  });
}

Status logic(Context& context, const MaskLogicArgs& a) {
  switch (a.op) {
    case MaskLogic::conjunction: combine(context, a, [](uint64_t x, uint64_t y) { return x & y; }); break;
    case MaskLogic::disjunction: combine(context, a, [](uint64_t x, uint64_t y) { return x | y; }); break;
    case MaskLogic::exclusive: combine(context, a, [](uint64_t x, uint64_t y) { return x ^ y; }); break;
    case MaskLogic::difference: combine(context, a, [](uint64_t x, uint64_t y) { return x & ~y; }); break;
    case MaskLogic::complement: {
      MaskLogicArgs own = a;
      own.b = a.a;
      combine(context, own, [](uint64_t x, uint64_t) { return ~x; });
      if (a.n % 64 != 0) a.out[a.n / 64] &= ~uint64_t{0} >> (64 - a.n % 64);
    }
  }
  return {};
}

Status count(Context& context, const MaskCountArgs& a) {
  const int64_t words = mask_words(a.n);
  const Workspace::Scope scope(context.workspace);
  const int64_t tasks = (words + kWordGrain - 1) / kWordGrain;
  auto* sums = context.workspace.template take<int64_t>(tasks);
  context.parallel_chunks(words, kWordGrain, [&](int64_t begin, int64_t end) {
    sums[begin / kWordGrain] = popcount(a.mask + begin, end - begin);
  });
  *a.count = 0;
  for (int64_t t = 0; t < tasks; ++t) *a.count += sums[t];
  return {};
}

// T is compared as U: bits of a bfloat16 without its sign.
template <typename T>
inline bool nonzero(T x) {
  return x != T(0);
}
inline bool nonzero(BFloat16 x) { return (x.bits & 0x7fff) != 0; }

template <typename T>
void pack_words(Context& context, const MaskTensorArgs& a) {
  context.parallel_chunks(a.n, kEntryGrain, [&](int64_t begin, int64_t end) {
    const T* x = static_cast<const T*>(a.x);
    for (int64_t i = begin; i < end; i += 64) {
      const int64_t last = end - i < 64 ? end - i : 64;
      uint64_t word = 0;
      for (int64_t j = 0; j < last; ++j) word |= static_cast<uint64_t>(nonzero(x[i + j])) << j;
      a.mask[i / 64] = word;
    }
  });
}

Status pack(Context& context, const MaskTensorArgs& a) {
  switch (a.dtype) {
    case DType::f32: pack_words<float>(context, a); break;
    case DType::f64: pack_words<double>(context, a); break;
    case DType::bf16: pack_words<BFloat16>(context, a); break;
    case DType::i32: pack_words<int32_t>(context, a); break;
    case DType::u8:
    case DType::boolean: pack_words<uint8_t>(context, a); break;
  }
  return {};
}

Status unpack(Context& context, const MaskTensorArgs& a) {
  context.parallel_chunks(a.n, kEntryGrain, [&](int64_t begin, int64_t end) {
    auto* y = static_cast<uint8_t*>(a.y);
    for (int64_t i = begin; i < end; i += 8) {
      const uint64_t byte = (a.mask[i / 64] >> (i % 64)) & 0xff;
      if (i + 8 <= end) {
        // Bit j to the lowest bit of byte j: no carry reaches another byte's lowest bit.
        const uint64_t spread = ((byte * 0x8040201008040201u) & 0x8080808080808080u) >> 7;
        const uint64_t ordered = __builtin_bswap64(spread);
        __builtin_memcpy(y + i, &ordered, 8);
      } else {
        for (int64_t j = 0; i + j < end; ++j) y[i + j] = (byte >> j) & 1;
      }
    }
  });
  return {};
}

// U is an unsigned integer as wide as the entries: what is off becomes 0 whatever it was, NaN too.
template <typename U>
void apply_words(Context& context, const MaskTensorArgs& a) {
  context.parallel_chunks(a.n, kEntryGrain, [&](int64_t begin, int64_t end) {
    const U* x = static_cast<const U*>(a.x);
    U* y = static_cast<U*>(a.y);
    for (int64_t i = begin; i < end; i += 32) {
      const auto bits = static_cast<uint32_t>(a.mask[i / 64] >> (i % 64));
      const int64_t last = end - i < 32 ? end - i : 32;
      if (last == 32) {
#pragma GCC ivdep
        for (int j = 0; j < 32; ++j) y[i + j] = x[i + j] & (U(0) - static_cast<U>((bits >> j) & 1u));
      } else {
        for (int64_t j = 0; j < last; ++j) y[i + j] = ((bits >> j) & 1u) != 0 ? x[i + j] : U(0);
      }
    }
  });
}

Status apply(Context& context, const MaskTensorArgs& a) {
  switch (size_of(a.dtype)) {
    case 8: apply_words<uint64_t>(context, a); break;
    case 4: apply_words<uint32_t>(context, a); break;
    case 2: apply_words<uint16_t>(context, a); break;
    default: apply_words<uint8_t>(context, a);
  }
  return {};
}

inline void set_bits(uint64_t* mask, int64_t at, uint64_t bits) {
  mask[at / 64] |= bits << (at % 64);
  if (at % 64 != 0 && bits >> (64 - at % 64) != 0) mask[at / 64 + 1] |= bits >> (64 - at % 64);
}

inline float plain(float x) { return x; }
inline float plain(BFloat16 x) { return to_float(x); }
inline double plain(double x) { return x; }

#if defined(PALIMPSEST_KEEP4)
#include PALIMPSEST_KEEP4
#endif

// Up to 64 groups side by side: key[a][c] is score a of group c. Bit c of kept[a] is set where fewer
// than n scores of the group come before it.
template <typename V>
bool rank_groups(V (*key)[64], int64_t m, int64_t n, uint64_t* kept) {
  bool nan = false;
  for (int64_t a = 0; a < m; ++a) {
    int32_t before[64] = {};
    for (int64_t b = 0; b < m; ++b) {
      if (b < a) {
        for (int c = 0; c < 64; ++c) before[c] += key[b][c] >= key[a][c];
      } else {
        for (int c = 0; c < 64; ++c) before[c] += key[b][c] > key[a][c];
      }
    }
    uint64_t bits = 0;
    for (int c = 0; c < 64; ++c) {
      bits |= static_cast<uint64_t>(before[c] < n) << c;
      nan = nan || key[a][c] != key[a][c];
    }
    kept[a] = bits;
  }
  return !nan;
}

template <typename T>
Status nm_groups(Context& context, const NmArgs& a) {
  using V = decltype(plain(T{}));
  const T* x = static_cast<const T*>(a.x);
  const int64_t total = a.outer * a.length * a.inner;
  // A task's entries begin at a word: 64 groups of m, or 64 rows of groups.
  const int64_t unit = 64 * a.m * a.inner;
  const int64_t grain = unit * (kEntryGrain / unit > 0 ? kEntryGrain / unit : 1);
  const Workspace::Scope scope(context.workspace);
  const int64_t tasks = (total + grain - 1) / grain;
  auto* fine = context.workspace.template take<uint8_t>(tasks);
  context.parallel_chunks(total, grain, [&](int64_t begin, int64_t end) {
    bool good = true;
    for (int64_t w = begin / 64; w < mask_words(end); ++w) a.mask[w] = 0;
    int64_t at = begin;
#if defined(PALIMPSEST_KEEP4)
    if (a.m == 4 && a.inner == 1) {
      for (; at + 64 <= end; at += 64) good = keep4(x + at, a.magnitude, a.n, a.mask + at / 64) && good;
    }
#endif
    V key[64][64];
    uint64_t kept[64];
    for (; at < end;) {
      // Groups side by side: neighbours along `inner`, or one after the other where inner is 1.
      const int64_t row = at / a.inner;
      const int64_t column = at % a.inner;
      const int64_t left = a.inner == 1 ? (end - at) / a.m : a.inner - column;
      const int64_t wide = left < 64 ? left : 64;
      const int64_t step = a.inner == 1 ? a.m : 1;
      for (int64_t r = 0; r < a.m; ++r) {
        const T* from = x + row * a.inner + column + r * a.inner;
        for (int64_t c = 0; c < 64; ++c) {
          const V v = c < wide ? plain(from[c * step]) : V(0);
          key[r][c] = a.magnitude && v < 0 ? -v : v;
        }
      }
      good = rank_groups(key, a.m, a.n, kept) && good;
      for (int64_t r = 0; r < a.m; ++r) {
        const uint64_t bits = wide == 64 ? kept[r] : kept[r] & ((uint64_t{1} << wide) - 1);
        if (step == 1) {
          set_bits(a.mask, (row + r) * a.inner + column, bits);
        } else {
          for (int64_t c = 0; c < wide; ++c) set_bits(a.mask, at + c * a.m + r, (bits >> c) & 1);
        }
      }
      // The next columns, or past the whole group of rows.
      if (a.inner == 1) {
        at += wide * a.m;
      } else {
        at = column + wide < a.inner ? at + wide : (row + a.m) * a.inner;
      }
    }
    fine[begin / grain] = good;
  });
  for (int64_t t = 0; t < tasks; ++t) {
    if (fine[t] == 0) return {Code::numerical, "'scores' hold NaN, which has no place in an order"};
  }
  return {};
}

Status nm(Context& context, const NmArgs& a) {
  switch (a.dtype) {
    case DType::f32: return nm_groups<float>(context, a);
    case DType::f64: return nm_groups<double>(context, a);
    case DType::bf16: return nm_groups<BFloat16>(context, a);
    default: return {Code::dtype, "'scores' must be float32, float64 or bfloat16"};
  }
}

Status gather(Context& context, const MaskCompactArgs& a) {
  for_mask_blocks(context, &a, 1, [&](const MaskBlock& block) {
    gather_bits(a.dense + block.first, block.words, block.word_count(), a.compact + block.start);
  });
  return {};
}

Status scatter(Context& context, const MaskCompactArgs& a) {
  for_mask_blocks(context, &a, 1, [&](const MaskBlock& block) {
    scatter_bits(a.dense + block.first, block.words, block.word_count(), a.compact + block.start);
  });
  return {};
}

// Masks change rarely: one walk over both.
Status carry(Context&, const MaskCarryArgs& a) {
  const float* from = a.old_compact;
  float* to = a.compact;
  for (int64_t w = 0; w < mask_words(a.n); ++w) {
    const uint64_t before = a.old_mask[w];
    for (uint64_t bits = a.mask[w]; bits != 0; bits &= bits - 1) {
      const uint64_t one = bits & (~bits + 1);
      *to++ = (before & one) != 0 ? from[popcount(before & (one - 1))] : 0.0f;
    }
    from += popcount(before);
  }
  return {};
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_masks_, PALIMPSEST_LEVEL)(KernelTable& table) {
  using namespace PALIMPSEST_LEVEL;
  table.masks = {.logic = logic,
                 .count = count,
                 .pack = pack,
                 .unpack = unpack,
                 .apply = apply,
                 .nm = nm,
                 .gather = gather,
                 .scatter = scatter,
                 .carry = carry};
}

}  // namespace palimpsest::cpu
