// 64 scores against two bounds with sign masks of 256-bit vectors. One comparison tells whether either of
// two is NaN.

template <typename Load>
inline bool compare_f32(const Load& load, BitForm<uint32_t> form, float low, float high, uint64_t* upper,
                        uint64_t* above) {
  const __m256 keep = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int32_t>(form.keep)));
  const __m256 flip = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int32_t>(form.flip)));
  const __m256 lows = _mm256_set1_ps(low);
  const __m256 highs = _mm256_set1_ps(high);
  uint64_t at_least = 0, more = 0;
  __m256 nan = _mm256_setzero_ps();
  __m256 other = nan;
  const auto bits = [](__m256 lanes) {
    return static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_ps(lanes)));
  };
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const __m256 v = _mm256_xor_ps(_mm256_and_ps(load(i), keep), flip);
    at_least |= bits(_mm256_cmp_ps(v, highs, _CMP_GE_OQ)) << (8 * i);
    more |= bits(_mm256_cmp_ps(v, lows, _CMP_GT_OQ)) << (8 * i);
    if (i % 2 != 0) nan = _mm256_or_ps(nan, _mm256_cmp_ps(v, other, _CMP_UNORD_Q));
    other = v;
  }
  *upper = at_least;
  *above = more;
  return bits(nan) != 0;
}

template <typename Load>
inline bool compare_f64(const Load& load, BitForm<uint64_t> form, double low, double high, uint64_t* upper,
                        uint64_t* above) {
  const __m256d keep = _mm256_castsi256_pd(_mm256_set1_epi64x(static_cast<int64_t>(form.keep)));
  const __m256d flip = _mm256_castsi256_pd(_mm256_set1_epi64x(static_cast<int64_t>(form.flip)));
  const __m256d lows = _mm256_set1_pd(low);
  const __m256d highs = _mm256_set1_pd(high);
  uint64_t at_least = 0, more = 0;
  __m256d nan = _mm256_setzero_pd();
  __m256d other = nan;
  const auto bits = [](__m256d lanes) {
    return static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_pd(lanes)));
  };
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    const __m256d v = _mm256_xor_pd(_mm256_and_pd(load(i), keep), flip);
    at_least |= bits(_mm256_cmp_pd(v, highs, _CMP_GE_OQ)) << (4 * i);
    more |= bits(_mm256_cmp_pd(v, lows, _CMP_GT_OQ)) << (4 * i);
    if (i % 2 != 0) nan = _mm256_or_pd(nan, _mm256_cmp_pd(v, other, _CMP_UNORD_Q));
    other = v;
  }
  *upper = at_least;
  *above = more;
  return bits(nan) != 0;
}

inline bool compare64(const float* x, BitForm<uint32_t> form, float low, float high, uint64_t* upper,
                      uint64_t* above) {
  return compare_f32([x](int i) { return _mm256_loadu_ps(x + 8 * i); }, form, low, high, upper, above);
}
inline bool compare64(const BFloat16* x, BitForm<uint32_t> form, float low, float high, uint64_t* upper,
                      uint64_t* above) {
  return compare_f32([x](int i) { return VecF32::load_bf16(x + 8 * i).v; }, form, low, high, upper, above);
}
inline bool compare64(const double* x, BitForm<uint64_t> form, double low, double high, uint64_t* upper,
                      uint64_t* above) {
  return compare_f64([x](int i) { return _mm256_loadu_pd(x + 4 * i); }, form, low, high, upper, above);
}
inline bool compare64(const int32_t* x, BitForm<uint64_t> form, double low, double high, uint64_t* upper,
                      uint64_t* above) {
  const auto load = [x](int i) {
    return _mm256_cvtepi32_pd(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 4 * i)));
  };
  return compare_f64(load, form, low, high, upper, above);
}
