// Elementary functions of float32 as straight-line code that the compiler turns into vectors of the
// level that includes this file (PALIMPSEST_LEVEL names it). No fused multiply-add is used, so every
// level gives the same bits. Coefficients are our own weighted minimax fits; errors are measured
// against float64 in test/native/cpu/elementwise.cpp.

#include <bit>
#include <cmath>
#include <cstdint>

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr float kInf = __builtin_inff();
constexpr float kLn2High = 0.693359375f;
constexpr float kLn2Low = -2.12194440e-4f;

inline float bits_to_float(int32_t bits) { return std::bit_cast<float>(bits); }
inline int32_t float_to_bits(float x) { return std::bit_cast<int32_t>(x); }

// 2^n for n in [-126, 127].
inline float power_of_two(int32_t n) { return bits_to_float((n + 127) << 23); }

// x = n·ln 2 + r with |r| ≤ ln 2 / 2; the polynomial gives (e^r − 1 − r) / r².
struct ExpParts {
  int32_t n;
  float r;
};
inline ExpParts split_exp(float x) {
  constexpr float kMagic = 12582912.0f;  // 1.5·2^23: adding it rounds to an integer
  const float shifted = x * 1.44269504088896341f + kMagic;
  const float n = shifted - kMagic;
  return {float_to_bits(shifted) - float_to_bits(kMagic), (x - n * kLn2High) - n * kLn2Low};
}

inline float exp_f32(float x) {
  const float clamped = x < -104.0f ? -104.0f : (x > 89.0f ? 89.0f : x);
  const ExpParts p = split_exp(clamped);
  const float r = p.r;
  const float q =
      4.999999345e-01f +
      r * (1.666652064e-01f + r * (4.166838793e-02f + r * (8.368715412e-03f + r * 1.381459986e-03f)));
  const float e = 1.0f + (r + r * r * q);
  // Two factors: 2^n itself leaves the range near the ends.
  const int32_t half = p.n >> 1;
  const float y = e * power_of_two(half) * power_of_two(p.n - half);
  return x != x ? x : y;
}

inline float expm1_f32(float x) {
  const float clamped = x < -30.0f ? -30.0f : (x > 89.0f ? 89.0f : x);
  const ExpParts p = split_exp(clamped);
  const float r = p.r;
  const float q =
      5.000000044e-01f +
      r * (1.666666637e-01f +
           r * (4.166636094e-02f +
                r * (8.333389366e-03f + r * (1.394062520e-03f + r * 1.984587699e-04f))));
  const float e = r + r * r * q;  // e^r − 1
  const int32_t half = p.n >> 1;
  const float s1 = power_of_two(half);
  const float s2 = power_of_two(p.n - half);
  const float y = p.n == 0 ? e : (e * s1 * s2 + (s1 * s2 - 1.0f));
  // 2^128 overflows on its own where (e + 1)·2^n does not.
  const float large = (1.0f + e) * s1 * s2;
  const float result = p.n > 64 ? large : y;
  return x != x ? x : (x == 0.0f ? x : result);
}

inline float log_f32(float x) {
  const bool tiny = x < 1.17549435e-38f;
  const int32_t bits = float_to_bits(tiny ? x * 8388608.0f : x);
  // m in [√½, √2).
  const int32_t shifted = bits - 0x3f3504f3;
  const int32_t exponent = (shifted >> 23) - (tiny ? 23 : 0);
  const float f = bits_to_float((shifted & 0x007fffff) + 0x3f3504f3) - 1.0f;
  const float q =
      3.333331260e-01f +
      f * (-2.500000960e-01f +
           f * (2.000211873e-01f +
                f * (-1.666799567e-01f +
                     f * (1.421955091e-01f +
                          f * (-1.240559142e-01f +
                               f * (1.188817460e-01f +
                                    f * (-1.167564130e-01f + f * 6.746601323e-02f)))))));
  const float e = static_cast<float>(exponent);
  const float ff = f * f;
  const float y = e * kLn2High + (f + (e * kLn2Low + (ff * f * q - 0.5f * ff)));
  const float edge = x == 0.0f ? -kInf : (x == kInf ? kInf : __builtin_nanf(""));
  return (x > 0.0f && x < kInf) ? y : edge;
}

// log(1 + x): the rounding error of 1 + x is put back.
inline float log1p_f32(float x) {
  const float u = 1.0f + x;
  const float error = u < 2.0f ? x - (u - 1.0f) : 1.0f - (u - x);
  const float correction = error / u;
  const float y = log_f32(u) + ((u > 0.0f && u < kInf) ? correction : 0.0f);
  return (x > -1e-7f && x < 1e-7f) ? x : y;
}

inline float tanh_f32(float x) {
  const float a = x < 0.0f ? -x : x;
  const float s = x * x;
  const float q =
      -3.333333091e-01f +
      s * (1.333320976e-01f +
           s * (-5.394720427e-02f +
                s * (2.170296710e-02f + s * (-8.182673851e-03f + s * 2.147536853e-03f))));
  const float small = x + x * s * q;
  const float large = 1.0f - 2.0f / (exp_f32(2.0f * a) + 1.0f);
  return a < 0.625f ? small : (x < 0.0f ? -large : large);
}

inline float sigmoid_f32(float x) { return 1.0f / (1.0f + exp_f32(-x)); }

inline float softplus_f32(float x) {
  const float a = x < 0.0f ? x : -x;  // −|x|
  return (x > 0.0f ? x : (x != x ? x : 0.0f)) + log1p_f32(exp_f32(a));
}

inline float erf_f32(float x) {
  const float a = x < 0.0f ? -x : x;
  const float s = x * x;
  const float small =
      x * (1.128379166e+00f +
           s * (-3.761262714e-01f +
                s * (1.128360018e-01f +
                     s * (-2.685444459e-02f +
                          s * (5.189535340e-03f + s * (-8.020841282e-04f + s * 7.889119540e-05f))))));
  const float c = a > 4.0f ? 4.0f : a;
  const float p =
      1.252936522e-04f +
      c * (-1.129203855e+00f +
           c * (-6.341961216e-01f +
                c * (-1.069615011e-01f +
                     c * (2.383651152e-02f +
                          c * (-3.360270810e-03f +
                               c * (1.017602959e-04f +
                                    c * (6.434148480e-05f +
                                         c * (-1.245279148e-05f + c * 7.845213568e-07f))))))));
  const float large = 1.0f - exp_f32(p);
  return a < 1.0f ? small : (x != x ? x : (x < 0.0f ? -large : large));
}

// The upper tail of the standard normal distribution at a = min(|x|, 12.5): q = 1 − Φ(a), as e = exp(−a²/2)
// times a polynomial in 1/(1 + 0.305a): one exponential and one division, no cancellation, no denormals.
struct NormalTail {
  float a, e, q;
};
inline NormalTail normal_tail(float x) {
  const float magnitude = x < 0.0f ? -x : x;
  const float a = magnitude > 12.5f ? 12.5f : magnitude;
  const float t = 1.0f / (1.0f + 0.305f * a);
  const float p =
      t * (1.216397445e-01f +
           t * (1.224666852e-01f +
                t * (1.034217012e-01f +
                     t * (1.210189098e-01f +
                          t * (-3.797148201e-02f +
                               t * (1.857109021e-01f + t * (-1.529847015e-01f + t * 3.669828747e-02f)))))));
  const float e = exp_f32(-0.5f * a * a);
  return {a, e, e * p};
}

// Sine and cosine of |r| ≤ π/4.
inline float sine_near_zero(float r) {
  const float s = r * r;
  return r + r * s * (-1.666666664e-01f + s * (8.333329386e-03f + s * (-1.983933484e-04f + s * 2.718311568e-06f)));
}
inline float cosine_near_zero(float r) {
  const float s = r * r;
  return 1.0f - 0.5f * s +
         s * s * (4.166666662e-02f + s * (-1.388888375e-03f + s * (2.479952000e-05f + s * -2.721023690e-07f)));
}

// Sine of x + quadrant·π/2, reduced in float64: good to |x| = 1e6; beyond, the caller uses libm.
inline float sin_f32(float x, int32_t quadrant) {
  constexpr double kMagic = 6755399441055744.0;  // 1.5·2^52
  const double wide = static_cast<double>(x);
  const double n = (wide * 0.63661977236758134 + kMagic) - kMagic;
  const double reduced = (wide - n * 1.5707963267341256) - n * 6.0771005065061922e-11;
  const float r = static_cast<float>(reduced);
  const int32_t q = static_cast<int32_t>(n) + quadrant;
  const float sine = sine_near_zero(r);
  const float cosine = cosine_near_zero(r);
  const float y = (q & 1) != 0 ? cosine : sine;
  return (q & 2) != 0 ? -y : y;
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
