// What each elementwise operation computes; as in native/cpu/elementwise/kernels.inl.
#pragma once

#include "cuda/common.cuh"

namespace palimpsest::cuda {

template <typename T>
__host__ __device__ inline T erf_of(T x) {
  if constexpr (sizeof(T) == 4) return erff(x);
  return erf(x);
}
template <typename T>
__host__ __device__ inline T exp_of(T x) {
  if constexpr (sizeof(T) == 4) return expf(x);
  return exp(x);
}
template <typename T>
__host__ __device__ inline T sigmoid_of(T x) {
  return T(1) / (T(1) + exp_of(-x));
}
template <typename T>
__host__ __device__ inline T gelu_of(T x) {
  return T(0.5) * x * (T(1) + erf_of(x * T(0.70710678118654752)));
}

// The tanh form of GELU, as x·σ(2u).
template <typename T>
__host__ __device__ inline T gelu_tanh_gate(T x) {
  return sigmoid_of(T(1.5957691216057308) * (x + T(0.044715) * x * x * x));
}

template <typename T>
__host__ __device__ T float_unary(Unary op, T x) {
  constexpr bool f32 = sizeof(T) == 4;
  switch (op) {
    case Unary::copy: return x;
    case Unary::neg: return -x;
    case Unary::abs: return x < T(0) ? -x : (x == T(0) ? T(0) : x);
    case Unary::sign: return x != x ? x : T((x > T(0)) - (x < T(0)));
    case Unary::square: return x * x;
    case Unary::reciprocal: return T(1) / x;
    case Unary::sqrt: return f32 ? T(sqrtf(float(x))) : T(sqrt(double(x)));
    case Unary::rsqrt: return T(1) / (f32 ? T(sqrtf(float(x))) : T(sqrt(double(x))));
    case Unary::exp: return exp_of(x);
    case Unary::expm1: return f32 ? T(expm1f(float(x))) : T(expm1(double(x)));
    case Unary::log: return f32 ? T(logf(float(x))) : T(log(double(x)));
    case Unary::log1p: return f32 ? T(log1pf(float(x))) : T(log1p(double(x)));
    case Unary::sin: return f32 ? T(sinf(float(x))) : T(sin(double(x)));
    case Unary::cos: return f32 ? T(cosf(float(x))) : T(cos(double(x)));
    case Unary::tanh: return f32 ? T(tanhf(float(x))) : T(tanh(double(x)));
    case Unary::sigmoid: return sigmoid_of(x);
    case Unary::relu: return x > T(0) ? x : (x != x ? x : T(0));
    case Unary::gelu: return gelu_of(x);
    case Unary::silu: return x * sigmoid_of(x);
    case Unary::softplus: {
      const T tail = exp_of(x < T(0) ? x : -x);
      return (x > T(0) ? x : (x != x ? x : T(0))) +
             (f32 ? T(log1pf(float(tail))) : T(log1p(double(tail))));
    }
    case Unary::erf: return erf_of(x);
    case Unary::floor: return f32 ? T(floorf(float(x))) : T(floor(double(x)));
    case Unary::ceil: return f32 ? T(ceilf(float(x))) : T(ceil(double(x)));
    case Unary::round: return f32 ? T(rintf(float(x))) : T(rint(double(x)));
    case Unary::logical_not: return x == T(0) ? T(1) : T(0);
    case Unary::is_nan: return x != x ? T(1) : T(0);
    case Unary::is_finite: return x - x == T(0) ? T(1) : T(0);
    case Unary::gelu_tanh: return x * gelu_tanh_gate(x);
  }
  return x;
}

template <typename T>
__host__ __device__ T float_binary(Binary op, T a, T b) {
  constexpr bool f32 = sizeof(T) == 4;
  switch (op) {
    case Binary::add: return a + b;
    case Binary::sub: return a - b;
    case Binary::mul: return a * b;
    case Binary::div: return a / b;
    case Binary::pow: return f32 ? T(powf(float(a), float(b))) : T(pow(double(a), double(b)));
    case Binary::maximum: return a != a ? a : (a > b || b == b ? (a > b ? a : b) : b);
    case Binary::minimum: return a != a ? a : (a < b || b == b ? (a < b ? a : b) : b);
    case Binary::mod: {
      const T r = f32 ? T(fmodf(float(a), float(b))) : T(fmod(double(a), double(b)));
      return (r != T(0) && ((r < T(0)) != (b < T(0)))) ? r + b : r;
    }
    case Binary::eq: return a == b ? T(1) : T(0);
    case Binary::ne: return a != b ? T(1) : T(0);
    case Binary::lt: return a < b ? T(1) : T(0);
    case Binary::le: return a <= b ? T(1) : T(0);
    case Binary::gt: return a > b ? T(1) : T(0);
    case Binary::ge: return a >= b ? T(1) : T(0);
    case Binary::logical_and: return a != T(0) && b != T(0) ? T(1) : T(0);
    case Binary::logical_or: return a != T(0) || b != T(0) ? T(1) : T(0);
    case Binary::logical_xor: return (a != T(0)) != (b != T(0)) ? T(1) : T(0);
    case Binary::relu_backward: return b > T(0) ? a : T(0);
    case Binary::gelu_backward: {
      const T density = T(0.39894228040143268) * exp_of(T(-0.5) * b * b);
      return a * (T(0.5) * (T(1) + erf_of(b * T(0.70710678118654752))) + b * density);
    }
    case Binary::silu_backward: {
      const T s = sigmoid_of(b);
      return a * (s * (T(1) + b * (T(1) - s)));
    }
    case Binary::tanh_backward: return a * (T(1) - b * b);
    case Binary::sigmoid_backward: return a * b * (T(1) - b);
    case Binary::gelu_tanh_backward: {
      const T s = gelu_tanh_gate(b);
      return a * (s + b * s * (T(1) - s) * T(1.5957691216057308) * (T(1) + T(0.134145) * b * b));
    }
  }
  return a;
}

// Operations that have a meaning of their own for integers; others are done in float32.
inline bool integer_has(Unary op) {
  switch (op) {
    case Unary::copy: case Unary::neg: case Unary::abs: case Unary::sign: case Unary::square:
    case Unary::relu: case Unary::floor: case Unary::ceil: case Unary::round:
    case Unary::logical_not: case Unary::is_nan: case Unary::is_finite: return true;
    default: return false;
  }
}
inline bool integer_has(Binary op) {
  return op != Binary::div && static_cast<int>(op) < static_cast<int>(Binary::relu_backward);
}

// Integers wrap around.
__host__ __device__ inline int32_t integer_unary(Unary op, int32_t x) {
  const auto u = static_cast<uint32_t>(x);
  switch (op) {
    case Unary::neg: return static_cast<int32_t>(0u - u);
    case Unary::abs: return x < 0 ? static_cast<int32_t>(0u - u) : x;
    case Unary::sign: return (x > 0) - (x < 0);
    case Unary::square: return static_cast<int32_t>(u * u);
    case Unary::relu: return x > 0 ? x : 0;
    case Unary::logical_not: return x == 0;
    case Unary::is_nan: return 0;
    case Unary::is_finite: return 1;
    default: return x;
  }
}
__host__ __device__ inline int32_t integer_binary(Binary op, int32_t a, int32_t b) {
  const auto ua = static_cast<uint32_t>(a);
  const auto ub = static_cast<uint32_t>(b);
  switch (op) {
    case Binary::add: return static_cast<int32_t>(ua + ub);
    case Binary::sub: return static_cast<int32_t>(ua - ub);
    case Binary::mul: return static_cast<int32_t>(ua * ub);
    case Binary::pow: {
      if (b < 0) return a == 1 ? 1 : (a == -1 ? ((b & 1) != 0 ? -1 : 1) : 0);
      uint32_t result = 1;
      uint32_t base = ua;
      for (uint32_t e = ub; e != 0; e >>= 1) {
        if ((e & 1) != 0) result *= base;
        base *= base;
      }
      return static_cast<int32_t>(result);
    }
    case Binary::maximum: return a > b ? a : b;
    case Binary::minimum: return a < b ? a : b;
    case Binary::mod: {
      if (b == 0 || b == -1) return 0;
      const int32_t r = a % b;
      return (r != 0 && ((r < 0) != (b < 0))) ? r + b : r;
    }
    case Binary::eq: return a == b;
    case Binary::ne: return a != b;
    case Binary::lt: return a < b;
    case Binary::le: return a <= b;
    case Binary::gt: return a > b;
    case Binary::ge: return a >= b;
    case Binary::logical_and: return a != 0 && b != 0;
    case Binary::logical_or: return a != 0 || b != 0;
    case Binary::logical_xor: return (a != 0) != (b != 0);
    default: return a;
  }
}

template <typename T>
__host__ __device__ inline T apply_unary(Unary op, T x) {
  if constexpr (T(0.5) == T(0)) return integer_unary(op, x);
  else return float_unary(op, x);
}
template <typename T>
__host__ __device__ inline T apply_binary(Binary op, T a, T b) {
  if constexpr (T(0.5) == T(0)) return integer_binary(op, a, b);
  else return float_binary(op, a, b);
}

}  // namespace palimpsest::cuda
