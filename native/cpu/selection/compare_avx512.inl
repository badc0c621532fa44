// 64 scores against two bounds with mask registers. One comparison tells whether either of two is NaN.

// Sixteen and eight bits of a word of 64, put there by the mask register's own store.
struct __attribute__((may_alias)) Bits16 {
  __mmask16 bits;
};
struct __attribute__((may_alias)) Bits8 {
  __mmask8 bits;
};

template <typename Load>
inline bool compare_f32(const Load& load, BitForm<uint32_t> form, float low, float high, uint64_t* upper,
                        uint64_t* above) {
  const __m512i keep = _mm512_set1_epi32(static_cast<int32_t>(form.keep));
  const __m512i flip = _mm512_set1_epi32(static_cast<int32_t>(form.flip));
  const __m512 lows = _mm512_set1_ps(low);
  const __m512 highs = _mm512_set1_ps(high);
  __m512 v[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    // 0x6a: (x & keep) ^ flip
    v[i] = _mm512_castsi512_ps(_mm512_ternarylogic_epi32(load(i), keep, flip, 0x6a));
    reinterpret_cast<Bits16*>(upper)[i].bits = _mm512_cmp_ps_mask(v[i], highs, _CMP_GE_OQ);
    reinterpret_cast<Bits16*>(above)[i].bits = _mm512_cmp_ps_mask(v[i], lows, _CMP_GT_OQ);
  }
  return (_mm512_cmp_ps_mask(v[0], v[1], _CMP_UNORD_Q) | _mm512_cmp_ps_mask(v[2], v[3], _CMP_UNORD_Q)) != 0;
}

template <typename Load>
inline bool compare_f64(const Load& load, BitForm<uint64_t> form, double low, double high, uint64_t* upper,
                        uint64_t* above) {
  const __m512i keep = _mm512_set1_epi64(static_cast<int64_t>(form.keep));
  const __m512i flip = _mm512_set1_epi64(static_cast<int64_t>(form.flip));
  const __m512d lows = _mm512_set1_pd(low);
  const __m512d highs = _mm512_set1_pd(high);
  __mmask8 nan = 0;
  __m512d other = highs;
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const __m512d v = _mm512_castsi512_pd(_mm512_ternarylogic_epi64(load(i), keep, flip, 0x6a));
    reinterpret_cast<Bits8*>(upper)[i].bits = _mm512_cmp_pd_mask(v, highs, _CMP_GE_OQ);
    reinterpret_cast<Bits8*>(above)[i].bits = _mm512_cmp_pd_mask(v, lows, _CMP_GT_OQ);
    if (i % 2 != 0) nan |= _mm512_cmp_pd_mask(v, other, _CMP_UNORD_Q);
    other = v;
  }
  return nan != 0;
}

inline bool compare64(const float* x, BitForm<uint32_t> form, float low, float high, uint64_t* upper,
                      uint64_t* above) {
  return compare_f32([x](int i) { return _mm512_loadu_si512(x + 16 * i); }, form, low, high, upper, above);
}
inline bool compare64(const BFloat16* x, BitForm<uint32_t> form, float low, float high, uint64_t* upper,
                      uint64_t* above) {
  const auto load = [x](int i) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 16 * i));
    return _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
  };
  return compare_f32(load, form, low, high, upper, above);
}
inline bool compare64(const double* x, BitForm<uint64_t> form, double low, double high, uint64_t* upper,
                      uint64_t* above) {
  return compare_f64([x](int i) { return _mm512_loadu_si512(x + 8 * i); }, form, low, high, upper, above);
}
inline bool compare64(const int32_t* x, BitForm<uint64_t> form, double low, double high, uint64_t* upper,
                      uint64_t* above) {
  const auto load = [x](int i) {
    const __m256i eight = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 8 * i));
    return _mm512_castpd_si512(_mm512_cvtepi32_pd(eight));
  };
  return compare_f64(load, form, low, high, upper, above);
}
