// N:4 for 16 groups of float32: a score's rank is the number of its three neighbours that come before it.
// Each pair is compared once: that an earlier score is not smaller is that the later one is not larger.
// False where one is NaN.
inline bool keep4(const float* x, bool magnitude, int64_t n, uint64_t* mask) {
  // Bit i: neighbour (i + r) mod 4 of the group is larger, r = 1, 2, 3.
  uint64_t one = 0, two = 0, three = 0;
  __mmask16 nan = 0;
#pragma GCC unroll 4
  for (int part = 0; part < 4; ++part) {
    const __m512 raw = _mm512_loadu_ps(x + 16 * part);
    const __m512 v = magnitude ? _mm512_abs_ps(raw) : raw;
    const __m512 next = _mm512_permute_ps(v, 0x39);
    const auto larger = [&](__m512 other) {
      return static_cast<uint64_t>(_mm512_cmp_ps_mask(other, v, _CMP_GT_OQ)) << (16 * part);
    };
    one |= larger(next);
    two |= larger(_mm512_permute_ps(v, 0x4e));
    three |= larger(_mm512_permute_ps(v, 0x93));
    nan |= _mm512_cmp_ps_mask(v, next, _CMP_UNORD_Q);
  }
  constexpr uint64_t kFirst = 0x1111111111111111u, kTwo = 0x3333333333333333u, kThree = 0x7777777777777777u;
  const uint64_t a = (one & kThree) | ((~three & kFirst) << 3);
  const uint64_t b = (two & kTwo) | ((~two & kTwo) << 2);
  const uint64_t c = (three & kFirst) | ((~one & kThree) << 1);
  *mask = n == 0   ? 0
          : n == 1 ? ~(a | b | c)
          : n == 2 ? ~((a & b) | (a & c) | (b & c))
          : n == 3 ? ~(a & b & c)
                   : ~uint64_t{0};
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
