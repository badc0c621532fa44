// N:4 for 16 groups of float32: a score's rank is the number of its three neighbours that come before
// it, counted in mask registers. False where one is NaN.
inline bool keep4(const float* x, bool magnitude, int64_t n, uint64_t* mask) {
  uint64_t word = 0;
  __mmask16 nan = 0;
  for (int part = 0; part < 4; ++part) {
    const __m512 raw = _mm512_loadu_ps(x + 16 * part);
    const __m512 v = magnitude ? _mm512_abs_ps(raw) : raw;
    nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    // Neighbour (i + r) mod 4; where that lies before i, an equal score counts too.
    const __m512 v1 = _mm512_permute_ps(v, 0x39);
    const __m512 v2 = _mm512_permute_ps(v, 0x4e);
    const __m512 v3 = _mm512_permute_ps(v, 0x93);
    const auto first = [&](__m512 other, __mmask16 earlier) -> uint32_t {
      return _mm512_cmp_ps_mask(other, v, _CMP_GT_OQ) |
             (_mm512_cmp_ps_mask(other, v, _CMP_EQ_OQ) & earlier);
    };
    const uint32_t a = first(v1, 0x8888);
    const uint32_t b = first(v2, 0xcccc);
    const uint32_t c = first(v3, 0xeeee);
    const uint32_t kept = n == 0   ? 0
                          : n == 1 ? ~(a | b | c)
                          : n == 2 ? ~((a & b) | (a & c) | (b & c))
                          : n == 3 ? ~(a & b & c)
                                   : ~0u;
    word |= static_cast<uint64_t>(kept & 0xffffu) << (16 * part);
  }
  *mask = word;
  return nan == 0;
}
inline bool keep4(const BFloat16* x, bool magnitude, int64_t n, uint64_t* mask) {
  float wide[64];
  for (int i = 0; i < 4; ++i) VecF32::load_bf16(x + 16 * i).store(wide + 16 * i);
  return keep4(wide, magnitude, n, mask);
}
// Float64 in the order of float32's method, four at a time.
inline bool keep4(const double* x, bool magnitude, int64_t n, uint64_t* mask) {
  uint64_t word = 0;
  bool fine = true;
  for (int g = 0; g < 16; ++g) {
    for (int i = 0; i < 4; ++i) {
      const double own = magnitude && x[4 * g + i] < 0 ? -x[4 * g + i] : x[4 * g + i];
      int before = 0;
      for (int j = 0; j < 4; ++j) {
        const double v = magnitude && x[4 * g + j] < 0 ? -x[4 * g + j] : x[4 * g + j];
        before += j < i ? v >= own : v > own;
      }
      fine = fine && own == own;
      word |= static_cast<uint64_t>(before < n) << (4 * g + i);
    }
  }
  *mask = word;
  return fine;
}
