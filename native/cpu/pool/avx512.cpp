// Max pooling of windows two by two: sixteen windows at a time, even and odd pixels of two rows apart.
// Floor: forward the image read, maxima and places written; backward those read and the image written.

#include <immintrin.h>

#include <atomic>

#include "cpu/pool/pool.h"
#include "cpu/simd/avx512.h"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace {

using avx512::first_lanes32;

inline __m512i counted(int from, int step) {
  const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_add_epi32(_mm512_mullo_epi32(count, _mm512_set1_epi32(step)), _mm512_set1_epi32(from));
}
// Lanes i and 16 + i in turns, from lane `from` on.
inline __m512i interleaved(int from) {
  const __m512i pairs = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  return _mm512_add_epi32(pairs, _mm512_set1_epi32(from));
}

struct Pairs {
  __m512 even, odd;
};
// 2·n pixels of a row as n pairs.
inline Pairs load_pairs(const float* row, int64_t n) {
  const __m512 low = _mm512_maskz_loadu_ps(first_lanes32(2 * n), row);
  const __m512 high = _mm512_maskz_loadu_ps(first_lanes32(2 * n - 16), row + 16);
  return {_mm512_permutex2var_ps(low, counted(0, 2), high), _mm512_permutex2var_ps(low, counted(1, 2), high)};
}
inline void store_pairs(float* row, int64_t n, __m512 even, __m512 odd) {
  _mm512_mask_storeu_ps(row, first_lanes32(2 * n), _mm512_permutex2var_ps(even, interleaved(0), odd));
  _mm512_mask_storeu_ps(row + 16, first_lanes32(2 * n - 16), _mm512_permutex2var_ps(even, interleaved(8), odd));
}

// Takes x where it is larger, or the first NaN.
inline void take(__m512& best, __m512i& place, __m512 x, __m512i at) {
  const __mmask16 number = _mm512_cmp_ps_mask(best, best, _CMP_ORD_Q);
  const __mmask16 wins = _mm512_mask_cmp_ps_mask(number, x, best, _CMP_NLE_UQ);
  best = _mm512_mask_mov_ps(best, wins, x);
  place = _mm512_mask_mov_epi32(place, wins, at);
}

Status max_pool(Context& context, const PoolArgs& args) {
  if (!halves_f32(args)) return max_pool_any(context, args);
  const ImageArgs& a = args.image;
  const int64_t oh = a.window.out_h(a.height), ow = a.window.out_w(a.width);
  const __m512i one = _mm512_set1_epi32(1);
  const __m512i below = _mm512_set1_epi32(static_cast<int32_t>(a.width));
  context.parallel(a.n * a.channels, [&](int64_t plane) {
    const float* image = static_cast<const float*>(a.in) + plane * a.height * a.width;
    float* out = static_cast<float*>(a.out) + plane * oh * ow;
    int32_t* places = args.indices + plane * oh * ow;
    for (int64_t y = 0; y < oh; ++y, out += ow, places += ow) {
      for (int64_t x = 0; x < ow; x += 16) {
        const int64_t n = ow - x, at = 2 * y * a.width + 2 * x;
        const Pairs top = load_pairs(image + at, n), bottom = load_pairs(image + at + a.width, n);
        const __m512i first = _mm512_add_epi32(counted(0, 2), _mm512_set1_epi32(static_cast<int32_t>(at)));
        __m512 best = top.even;
        __m512i place = first;
        const __m512i third = _mm512_add_epi32(first, below);
        take(best, place, top.odd, _mm512_add_epi32(first, one));
        take(best, place, bottom.even, third);
        take(best, place, bottom.odd, _mm512_add_epi32(third, one));
        _mm512_mask_storeu_ps(out + x, first_lanes32(n), best);
        _mm512_mask_storeu_epi32(places + x, first_lanes32(n), place);
      }
    }
  });
  return {};
}

Status max_pool_backward(Context& context, const PoolArgs& args) {
  if (!halves_f32(args)) return max_pool_backward_any(context, args);
  const ImageArgs& a = args.image;
  const int64_t oh = a.window.out_h(a.height), ow = a.window.out_w(a.width);
  const __m512i one = _mm512_set1_epi32(1);
  const __m512i below = _mm512_set1_epi32(static_cast<int32_t>(a.width));
  std::atomic<bool> good{true};
  context.parallel(a.n * a.channels, [&](int64_t plane) {
    float* image = static_cast<float*>(a.out) + plane * a.height * a.width;
    const float* slopes = static_cast<const float*>(a.in) + plane * oh * ow;
    const int32_t* places = args.indices + plane * oh * ow;
    bool own = true;  // every place is one of its window's four
    for (int64_t y = 0; y < oh; ++y, slopes += ow, places += ow) {
      float* top = image + 2 * y * a.width;
      for (int64_t x = 0; x < ow; x += 16) {
        const int64_t n = ow - x;
        const __mmask16 lanes = first_lanes32(n);
        const __m512 g = _mm512_maskz_loadu_ps(lanes, slopes + x);
        const __m512i place = _mm512_maskz_loadu_epi32(lanes, places + x);
        const __m512i first = _mm512_add_epi32(
            counted(0, 2), _mm512_set1_epi32(static_cast<int32_t>(2 * y * a.width + 2 * x)));
        const __m512i third = _mm512_add_epi32(first, below);
        const __mmask16 m0 = _mm512_mask_cmpeq_epi32_mask(lanes, place, first);
        const __mmask16 m1 = _mm512_mask_cmpeq_epi32_mask(lanes, place, _mm512_add_epi32(first, one));
        const __mmask16 m2 = _mm512_mask_cmpeq_epi32_mask(lanes, place, third);
        const __mmask16 m3 = _mm512_mask_cmpeq_epi32_mask(lanes, place, _mm512_add_epi32(third, one));
        own = own && static_cast<__mmask16>(m0 | m1 | m2 | m3) == lanes;
        store_pairs(top + 2 * x, n, _mm512_maskz_mov_ps(m0, g), _mm512_maskz_mov_ps(m1, g));
        store_pairs(top + a.width + 2 * x, n, _mm512_maskz_mov_ps(m2, g), _mm512_maskz_mov_ps(m3, g));
      }
      // A last column or row belongs to no window.
      for (int64_t x = 2 * ow; x < a.width; ++x) top[x] = top[a.width + x] = 0;
    }
    for (int64_t i = 2 * oh * a.width; i < a.height * a.width; ++i) image[i] = 0;
    if (!own) good.store(false, std::memory_order_relaxed);
  });
  if (!good) return {Code::argument, "an index of max pooling lies outside its window"};
  return {};
}

}  // namespace

void fill_pool_avx512(KernelTable& table) {
  table.conv.max_pool = max_pool;
  table.conv.max_pool_backward = max_pool_backward;
}

}  // namespace palimpsest::cpu
