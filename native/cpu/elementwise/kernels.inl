// Row operations, one template for all levels: plain loops over contiguous memory that the compiler
// vectorises with the instructions of the level. Memory-bound ones run at copy bandwidth (floor: each
// operand read once, the result written once); the transcendental ones cost 10–40 instructions a
// vector.

#include "cpu/elementwise/rows.h"
#include "cpu/simd/blocks.inl"
#include "cpu/simd/math.inl"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

// ---- arithmetic in one type ----------------------------------------------------------------------

inline float mexp(float x) { return exp_f32(x); }
inline float mexpm1(float x) { return expm1_f32(x); }
inline float mlog(float x) { return log_f32(x); }
inline float mlog1p(float x) { return log1p_f32(x); }
inline float mtanh(float x) { return tanh_f32(x); }
inline float msigmoid(float x) { return sigmoid_f32(x); }
inline float msoftplus(float x) { return softplus_f32(x); }
inline float merf(float x) { return erf_f32(x); }
inline float msqrt(float x) { return __builtin_sqrtf(x); }
inline float mfloor(float x) { return __builtin_floorf(x); }
inline float mceil(float x) { return __builtin_ceilf(x); }
inline float mround(float x) { return __builtin_rintf(x); }
inline float mpow(float x, float y) { return __builtin_powf(x, y); }
inline float mfmod(float x, float y) { return __builtin_fmodf(x, y); }

inline double mexp(double x) { return __builtin_exp(x); }
inline double mexpm1(double x) { return __builtin_expm1(x); }
inline double mlog(double x) { return __builtin_log(x); }
inline double mlog1p(double x) { return __builtin_log1p(x); }
inline double mtanh(double x) { return __builtin_tanh(x); }
inline double msigmoid(double x) { return 1.0 / (1.0 + __builtin_exp(-x)); }
inline double msoftplus(double x) {
  return (x > 0.0 ? x : (x != x ? x : 0.0)) + __builtin_log1p(__builtin_exp(x < 0.0 ? x : -x));
}
inline double merf(double x) { return __builtin_erf(x); }
inline double msqrt(double x) { return __builtin_sqrt(x); }
inline double mfloor(double x) { return __builtin_floor(x); }
inline double mceil(double x) { return __builtin_ceil(x); }
inline double mround(double x) { return __builtin_rint(x); }
inline double mpow(double x, double y) { return __builtin_pow(x, y); }
inline double mfmod(double x, double y) { return __builtin_fmod(x, y); }

// The remainder with the divisor's sign, as in Python and PyTorch.
template <typename T>
inline T modulo(T a, T b) {
  const T r = mfmod(a, b);
  return (r != T(0) && ((r < T(0)) != (b < T(0)))) ? r + b : r;
}
inline int32_t modulo(int32_t a, int32_t b) {
  if (b == 0 || b == -1) return 0;
  const int32_t r = a % b;
  return (r != 0 && ((r < 0) != (b < 0))) ? r + b : r;
}

// Integers wrap around.
inline int32_t wrap(uint32_t x) { return static_cast<int32_t>(x); }
inline uint32_t u(int32_t x) { return static_cast<uint32_t>(x); }

inline int32_t power(int32_t base, int32_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : (base == -1 ? ((exponent & 1) != 0 ? -1 : 1) : 0);
  uint32_t result = 1;
  uint32_t b = u(base);
  for (uint32_t e = u(exponent); e != 0; e >>= 1) {
    if ((e & 1) != 0) result *= b;
    b *= b;
  }
  return wrap(result);
}

inline double gelu(double x) { return 0.5 * x * (1 + merf(x * 0.70710678118654752)); }
inline double gelu_slope(double x) {
  const double density = 0.39894228040143268 * mexp(-0.5 * x * x);
  return 0.5 * (1 + merf(x * 0.70710678118654752)) + x * density;
}
inline float gelu(float x) {
  const NormalTail tail = normal_tail(x);
  return (x > 0.0f ? x : 0.0f) - tail.a * tail.q;
}
inline float gelu_slope(float x) {
  const NormalTail tail = normal_tail(x);
  const float density = 0.39894228040143268f * tail.e;
  return x > 0.0f ? (1.0f - tail.q) + tail.a * density : tail.q - tail.a * density;
}
template <typename T>
inline T silu_slope(T x) {
  const T s = msigmoid(x);
  return s * (T(1) + x * (T(1) - s));
}

// The tanh form of GELU, x·σ(2u) with u = √(2/π)·(x + 0.044715·x³), as ½(1 + tanh u) = σ(2u).
template <typename T>
inline T gelu_tanh_gate(T x) {
  return msigmoid(T(1.5957691216057308) * (x + T(0.044715) * x * x * x));
}
template <typename T>
inline T gelu_tanh_slope(T x) {
  const T s = gelu_tanh_gate(x);
  return s + x * s * (T(1) - s) * T(1.5957691216057308) * (T(1) + T(0.134145) * x * x);
}

// ---- rows ----------------------------------------------------------------------------------------

template <typename T, typename F>
inline void map1(void* out, const void* const* in, int64_t n, const F& f) {
  T* o = static_cast<T*>(out);
  const T* a = static_cast<const T*>(in[0]);
  in_blocks<T>(0, n, [&](int64_t i) { __builtin_prefetch(a + i); }, [&](int64_t begin, int64_t end) {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) o[i] = f(a[i]);
  });
}

template <typename T, typename F>
inline void map2(void* out, const void* const* in, int64_t n, const F& f) {
  T* o = static_cast<T*>(out);
  const T* a = static_cast<const T*>(in[0]);
  const T* b = static_cast<const T*>(in[1]);
  in_blocks<T>(0, n, [&](int64_t i) { __builtin_prefetch(a + i); __builtin_prefetch(b + i); }, [&](int64_t begin, int64_t end) {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) o[i] = f(a[i], b[i]);
  });
}

// One line an operation: UNARY(name, expression in x), the same for all types, or for floats alone.
#define ROW1(T, expression) \
  [](void* out, const void* const* in, int64_t n) { map1<T>(out, in, n, [](T x) -> T { return expression; }); }
#define ROW2(T, expression)                                  \
  [](void* out, const void* const* in, int64_t n) {          \
    map2<T>(out, in, n, [](T a, T b) -> T { return expression; }); \
  }

template <typename T, int32_t kQuadrant>
void sine_row(void* out, const void* const* in, int64_t n) {
  T* o = static_cast<T*>(out);
  const T* x = static_cast<const T*>(in[0]);
  if constexpr (sizeof(T) == 8) {
    for (int64_t i = 0; i < n; ++i) o[i] = kQuadrant == 0 ? __builtin_sin(x[i]) : __builtin_cos(x[i]);
  } else {
    bool near = true;
    for (int64_t i = 0; i < n; ++i) near = near & (x[i] < 1e6f) & (x[i] > -1e6f);
    if (near) {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) o[i] = sin_f32(x[i], kQuadrant);
    } else {
      for (int64_t i = 0; i < n; ++i) {
        o[i] = kQuadrant == 0 ? __builtin_sinf(x[i]) : __builtin_cosf(x[i]);
      }
    }
  }
}

template <typename T>
void fill_float_rows(RowFunction* unary, RowFunction* binary) {
  const auto set1 = [unary](Unary op, RowFunction f) { unary[static_cast<int>(op)] = f; };
  const auto set2 = [binary](Binary op, RowFunction f) { binary[static_cast<int>(op)] = f; };
  set1(Unary::copy, ROW1(T, x));
  set1(Unary::neg, ROW1(T, -x));
  set1(Unary::abs, ROW1(T, x < 0 ? -x : (x == 0 ? T(0) : x)));
  set1(Unary::sign, ROW1(T, x != x ? x : T((x > 0) - (x < 0))));
  set1(Unary::square, ROW1(T, x * x));
  set1(Unary::reciprocal, ROW1(T, T(1) / x));
  set1(Unary::sqrt, ROW1(T, msqrt(x)));
  set1(Unary::rsqrt, ROW1(T, T(1) / msqrt(x)));
  set1(Unary::exp, ROW1(T, mexp(x)));
  set1(Unary::expm1, ROW1(T, mexpm1(x)));
  set1(Unary::log, ROW1(T, mlog(x)));
  set1(Unary::log1p, ROW1(T, mlog1p(x)));
  set1(Unary::sin, sine_row<T, 0>);
  set1(Unary::cos, sine_row<T, 1>);
  set1(Unary::tanh, ROW1(T, mtanh(x)));
  set1(Unary::sigmoid, ROW1(T, msigmoid(x)));
  set1(Unary::relu, ROW1(T, x > 0 ? x : (x != x ? x : T(0))));
  set1(Unary::gelu, ROW1(T, gelu(x)));
  set1(Unary::silu, ROW1(T, x * msigmoid(x)));
  set1(Unary::softplus, ROW1(T, msoftplus(x)));
  set1(Unary::erf, ROW1(T, merf(x)));
  set1(Unary::floor, ROW1(T, mfloor(x)));
  set1(Unary::ceil, ROW1(T, mceil(x)));
  set1(Unary::round, ROW1(T, mround(x)));
  set1(Unary::logical_not, ROW1(T, x == 0 ? T(1) : T(0)));
  set1(Unary::is_nan, ROW1(T, x != x ? T(1) : T(0)));
  set1(Unary::is_finite, ROW1(T, x - x == 0 ? T(1) : T(0)));
  set1(Unary::gelu_tanh, ROW1(T, x * gelu_tanh_gate(x)));

  set2(Binary::add, ROW2(T, a + b));
  set2(Binary::sub, ROW2(T, a - b));
  set2(Binary::mul, ROW2(T, a * b));
  set2(Binary::div, ROW2(T, a / b));
  set2(Binary::pow, ROW2(T, mpow(a, b)));
  set2(Binary::maximum, ROW2(T, a != a ? a : (a > b || b == b ? (a > b ? a : b) : b)));
  set2(Binary::minimum, ROW2(T, a != a ? a : (a < b || b == b ? (a < b ? a : b) : b)));
  set2(Binary::mod, ROW2(T, modulo(a, b)));
  set2(Binary::eq, ROW2(T, a == b ? T(1) : T(0)));
  set2(Binary::ne, ROW2(T, a != b ? T(1) : T(0)));
  set2(Binary::lt, ROW2(T, a < b ? T(1) : T(0)));
  set2(Binary::le, ROW2(T, a <= b ? T(1) : T(0)));
  set2(Binary::gt, ROW2(T, a > b ? T(1) : T(0)));
  set2(Binary::ge, ROW2(T, a >= b ? T(1) : T(0)));
  set2(Binary::logical_and, ROW2(T, a != 0 && b != 0 ? T(1) : T(0)));
  set2(Binary::logical_or, ROW2(T, a != 0 || b != 0 ? T(1) : T(0)));
  set2(Binary::logical_xor, ROW2(T, (a != 0) != (b != 0) ? T(1) : T(0)));
  set2(Binary::relu_backward, ROW2(T, b > 0 ? a : T(0)));
  set2(Binary::gelu_backward, ROW2(T, a * gelu_slope(b)));
  set2(Binary::silu_backward, ROW2(T, a * silu_slope(b)));
  set2(Binary::tanh_backward, ROW2(T, a * (T(1) - b * b)));
  set2(Binary::sigmoid_backward, ROW2(T, a * b * (T(1) - b)));
  set2(Binary::gelu_tanh_backward, ROW2(T, a * gelu_tanh_slope(b)));
}

// Integer rows; what has no integer meaning stays null and the driver takes floats instead.
void fill_integer_rows(RowFunction* unary, RowFunction* binary) {
  using T = int32_t;
  const auto set1 = [unary](Unary op, RowFunction f) { unary[static_cast<int>(op)] = f; };
  const auto set2 = [binary](Binary op, RowFunction f) { binary[static_cast<int>(op)] = f; };
  set1(Unary::copy, ROW1(T, x));
  set1(Unary::neg, ROW1(T, wrap(0u - u(x))));
  set1(Unary::abs, ROW1(T, x < 0 ? wrap(0u - u(x)) : x));
  set1(Unary::sign, ROW1(T, (x > 0) - (x < 0)));
  set1(Unary::square, ROW1(T, wrap(u(x) * u(x))));
  set1(Unary::relu, ROW1(T, x > 0 ? x : 0));
  set1(Unary::floor, ROW1(T, x));
  set1(Unary::ceil, ROW1(T, x));
  set1(Unary::round, ROW1(T, x));
  set1(Unary::logical_not, ROW1(T, x == 0));
  set1(Unary::is_nan, ROW1(T, x != x));
  set1(Unary::is_finite, ROW1(T, x == x));
  set2(Binary::add, ROW2(T, wrap(u(a) + u(b))));
  set2(Binary::sub, ROW2(T, wrap(u(a) - u(b))));
  set2(Binary::mul, ROW2(T, wrap(u(a) * u(b))));
  set2(Binary::pow, ROW2(T, power(a, b)));
  set2(Binary::maximum, ROW2(T, a > b ? a : b));
  set2(Binary::minimum, ROW2(T, a < b ? a : b));
  set2(Binary::mod, ROW2(T, modulo(a, b)));
  set2(Binary::eq, ROW2(T, a == b));
  set2(Binary::ne, ROW2(T, a != b));
  set2(Binary::lt, ROW2(T, a < b));
  set2(Binary::le, ROW2(T, a <= b));
  set2(Binary::gt, ROW2(T, a > b));
  set2(Binary::ge, ROW2(T, a >= b));
  set2(Binary::logical_and, ROW2(T, a != 0 && b != 0));
  set2(Binary::logical_or, ROW2(T, a != 0 || b != 0));
  set2(Binary::logical_xor, ROW2(T, (a != 0) != (b != 0)));
}

#undef ROW1
#undef ROW2

template <typename T>
void where_row(void* out, const void* const* in, int64_t n) {
  T* o = static_cast<T*>(out);
  const T* condition = static_cast<const T*>(in[0]);
  const T* a = static_cast<const T*>(in[1]);
  const T* b = static_cast<const T*>(in[2]);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) o[i] = condition[i] != T(0) ? a[i] : b[i];
}

// ---- conversions ---------------------------------------------------------------------------------

template <typename To, typename From>
inline To convert(From x) {
  return static_cast<To>(x);
}
template <>
inline float convert<float, BFloat16>(BFloat16 x) {
  return to_float(x);
}
template <>
inline double convert<double, BFloat16>(BFloat16 x) {
  return to_float(x);
}
template <>
inline BFloat16 convert<BFloat16, float>(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return {static_cast<uint16_t>(x != x ? ((bits >> 16) | 0x40u) : rounded)};
}
template <>
inline BFloat16 convert<BFloat16, double>(double x) {
  return convert<BFloat16>(static_cast<float>(x));
}
template <>
inline BFloat16 convert<BFloat16, int32_t>(int32_t x) {
  return convert<BFloat16>(static_cast<float>(x));
}
template <>
inline int32_t convert<int32_t, BFloat16>(BFloat16 x) {
  return static_cast<int32_t>(to_float(x));
}
// Out of range and NaN have no meaning as an integer; the hardware's answer (the smallest integer)
// is given at every level.
template <>
inline int32_t convert<int32_t, double>(double x) {
  return (x > -2147483649.0 && x < 2147483648.0) ? static_cast<int32_t>(x) : INT32_MIN;
}
template <>
inline int32_t convert<int32_t, float>(float x) {
  return (x >= -2147483648.0f && x < 2147483648.0f) ? static_cast<int32_t>(x) : INT32_MIN;
}
template <>
inline uint8_t convert<uint8_t, float>(float x) {
  return static_cast<uint8_t>(convert<int32_t>(x));
}
template <>
inline uint8_t convert<uint8_t, double>(double x) {
  return static_cast<uint8_t>(convert<int32_t>(x));
}

template <typename To, typename From>
void convert_row(void* out, const void* in, int64_t n) {
  To* o = static_cast<To*>(out);
  const From* x = static_cast<const From*>(in);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) o[i] = convert<To, From>(x[i]);
}

// bool is 0 or 1, whatever was written there.
template <typename From>
void to_bool_row(void* out, const void* in, int64_t n) {
  uint8_t* o = static_cast<uint8_t*>(out);
  const From* x = static_cast<const From*>(in);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) o[i] = x[i] != From(0) ? 1 : 0;
}
template <typename To>
void from_bool_row(void* out, const void* in, int64_t n) {
  To* o = static_cast<To*>(out);
  const uint8_t* x = static_cast<const uint8_t*>(in);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) o[i] = x[i] != 0 ? To(1) : To(0);
}

template <typename T>
void fill_conversions(ConvertFunction* widen, ConvertFunction* narrow) {
  const auto set = [](ConvertFunction* table, DType dtype, ConvertFunction f) {
    table[static_cast<int>(dtype)] = f;
  };
  set(widen, DType::f32, convert_row<T, float>);
  set(widen, DType::f64, convert_row<T, double>);
  set(widen, DType::bf16, convert_row<T, BFloat16>);
  set(widen, DType::i32, convert_row<T, int32_t>);
  set(widen, DType::u8, convert_row<T, uint8_t>);
  set(widen, DType::boolean, from_bool_row<T>);
  set(narrow, DType::f32, convert_row<float, T>);
  set(narrow, DType::f64, convert_row<double, T>);
  set(narrow, DType::bf16, convert_row<BFloat16, T>);
  set(narrow, DType::i32, convert_row<int32_t, T>);
  set(narrow, DType::u8, convert_row<uint8_t, T>);
  set(narrow, DType::boolean, to_bool_row<T>);
}

const ElementwiseRows& elementwise_rows() {
  static const ElementwiseRows rows = [] {
    ElementwiseRows r{};
    fill_float_rows<float>(r.unary[0], r.binary[0]);
    fill_float_rows<double>(r.unary[1], r.binary[1]);
    fill_integer_rows(r.unary[2], r.binary[2]);
    r.where[0] = where_row<float>;
    r.where[1] = where_row<double>;
    r.where[2] = where_row<int32_t>;
    fill_conversions<float>(r.widen[0], r.narrow[0]);
    fill_conversions<double>(r.widen[1], r.narrow[1]);
    fill_conversions<int32_t>(r.widen[2], r.narrow[2]);
    return r;
  }();
  return rows;
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_elementwise_, PALIMPSEST_LEVEL)(KernelTable& table) {
  table.elementwise = elementwise_kernels<PALIMPSEST_LEVEL::elementwise_rows>();
}

}  // namespace palimpsest::cpu
