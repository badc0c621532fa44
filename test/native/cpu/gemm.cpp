#include <cmath>
#include <random>
#include <vector>

#include "check.h"
#include "levels.h"

using namespace palimpsest;

namespace {

struct Operand {
  std::vector<float> f32;
  std::vector<double> f64;
  std::vector<BFloat16> bf16;
  Matrix view;

  // Laid out row- or column-major, with `slack` elements between lines; values are multiples of 1/64
  // so that bfloat16 holds them exactly.
  Operand(DType dtype, int64_t rows, int64_t cols, bool transposed, int64_t slack, int64_t batch, uint32_t seed) {
    const int64_t lines = transposed ? cols : rows;
    const int64_t length = (transposed ? rows : cols) + slack;
    const auto n = static_cast<size_t>(batch * lines * length);
    std::mt19937 random(seed);
    f64.resize(n);
    f32.resize(n);
    bf16.resize(n);
    for (size_t i = 0; i < n; ++i) {
      f32[i] = static_cast<float>(static_cast<int>(random() % 129) - 64) / 64.0f;
      f64[i] = f32[i];
      bf16[i] = to_bf16(f32[i]);
    }
    void* data = dtype == DType::f32 ? static_cast<void*>(f32.data())
                 : dtype == DType::f64 ? static_cast<void*>(f64.data()) : bf16.data();
    view = {data, dtype, rows, cols, transposed ? 1 : length, transposed ? length : 1, lines * length};
  }

  double get(int64_t b, int64_t i, int64_t j) const {
    const auto at = static_cast<size_t>(b * view.batch_stride + i * view.row_stride + j * view.col_stride);
    return view.dtype == DType::f32 ? f32[at] : view.dtype == DType::f64 ? f64[at] : to_float(bf16[at]);
  }
};

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x > 0 ? x : 0;
    case Activation::gelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
    case Activation::sigmoid: return 1 / (1 + std::exp(-x));
  }
  return x;
}

struct Case {
  int64_t m, n, k;
  bool ta = false, tb = false, td = false;
  double alpha = 1, beta = 0;
  bool bias = false;
  Activation activation = Activation::none;
  bool symmetric = false;
  int64_t batch = 1;
};

void check_case(Context& context, const Case& t, DType in, DType out, bool as_bf16) {
  const Operand a(in, t.m, t.k, t.ta, 3, t.batch, 1);
  Operand b(in, t.k, t.n, t.tb, 0, t.batch, 2);
  Operand d(out, t.m, t.n, t.td, 5, t.batch, 3);
  const Operand before = d;
  GemmArgs args;
  args.a = a.view;
  args.b = t.symmetric ? a.view.transposed() : b.view;
  args.d = d.view;
  args.alpha = t.alpha;
  args.beta = t.beta;
  args.activation = t.activation;
  args.symmetric = t.symmetric;
  args.batch = t.batch;
  if (t.beta != 0) args.c = args.d;
  std::vector<double> bias64(static_cast<size_t>(t.n));
  std::vector<float> bias32(static_cast<size_t>(t.n));
  for (int64_t j = 0; j < t.n; ++j) bias64[j] = bias32[j] = static_cast<float>(j % 7) - 3.0f;
  if (t.bias) args.bias = in == DType::f64 ? static_cast<void*>(bias64.data()) : bias32.data();
  const auto& gemm = context.kernels.gemm;
  CHECK((in == DType::f64 ? gemm.f64 : as_bf16 ? gemm.bf16 : gemm.f32)(context, args).ok());
  double worst = 0;
  for (int64_t s = 0; s < t.batch; ++s) {
    for (int64_t i = 0; i < t.m; ++i) {
      for (int64_t j = 0; j < t.n; ++j) {
        double x = 0;
        for (int64_t l = 0; l < t.k; ++l) {
          x += a.get(s, i, l) * (t.symmetric ? a.get(s, j, l) : b.get(s, l, j));
        }
        x *= t.alpha;
        // A symmetric C is promised: the lower triangle decides.
        if (t.beta != 0) x += t.beta * (t.symmetric && j > i ? before.get(s, j, i) : before.get(s, i, j));
        if (t.bias) x += bias64[j];
        x = activated(t.activation, x);
        worst = std::max(worst, std::fabs(d.get(s, i, j) - x) / (1 + std::fabs(x)));
        if (t.symmetric) CHECK(d.get(s, i, j) == d.get(s, j, i));
      }
    }
  }
  const double tolerance = out == DType::bf16 ? 4.1e-3 : out == DType::f64 ? 1e-13 : 1e-5;
  CHECK_NEAR(worst, 0, tolerance);
  // What lies between the lines is untouched.
  if (t.td && t.n > 0) CHECK(d.f64 == before.f64 || out == DType::f64);
}

void check_all(const Case& t) {
  at_every_level([&](Context& c) {
    check_case(c, t, DType::f32, DType::f32, false);
    check_case(c, t, DType::f64, DType::f64, false);
    for (DType in : {DType::f32, DType::bf16}) {
      for (DType out : {DType::f32, DType::bf16}) check_case(c, t, in, out, true);
    }
  });
}

}  // namespace

TEST("gemm: all transposes, odd sizes") {
  const int64_t sizes[][3] = {{1, 1, 1}, {2, 3, 5}, {14, 32, 16}, {15, 33, 17}, {67, 53, 129}, {3, 130, 70}, {130, 1, 31}, {1, 97, 64}};
  for (const auto& s : sizes) {
    for (int bits = 0; bits < 8; ++bits) {
      check_all({.m = s[0], .n = s[1], .k = s[2], .ta = (bits & 1) != 0, .tb = (bits & 2) != 0, .td = (bits & 4) != 0});
    }
  }
}

TEST("gemm: several slices of k and many blocks") {
  check_all({.m = 45, .n = 70, .k = 1601});
  check_all({.m = 33, .n = 65, .k = 900, .ta = true, .td = true, .alpha = -0.5, .beta = 2});
}

TEST("gemm: alpha, beta, bias, activation") {
  for (int i = 0; i <= static_cast<int>(Activation::sigmoid); ++i) {
    check_all({.m = 31, .n = 37, .k = 9, .tb = i % 2 == 0, .td = i % 3 == 0, .alpha = 0.125, .beta = i % 2 ? 1.0 : 0.0, .bias = true, .activation = static_cast<Activation>(i)});
  }
}

TEST("gemm: nothing to add up, nothing to write") {
  check_all({.m = 5, .n = 6, .k = 0, .beta = 1, .bias = true});
  check_all({.m = 5, .n = 6, .k = 0});
  check_all({.m = 0, .n = 6, .k = 3});
  check_all({.m = 4, .n = 0, .k = 3});
  check_all({.m = 4, .n = 5, .k = 3, .batch = 0});
}

TEST("gemm: symmetric products are halved and mirrored") {
  for (int64_t m : {1, 14, 33, 100}) {
    check_all({.m = m, .n = m, .k = 41, .symmetric = true});
    check_all({.m = m, .n = m, .k = 20, .ta = true, .td = true, .alpha = 2, .symmetric = true});
  }
}

TEST("gemm: batches") {
  check_all({.m = 9, .n = 35, .k = 12, .batch = 7});
  check_all({.m = 20, .n = 20, .k = 5, .symmetric = true, .batch = 3});
}

TEST("gemm: NaN and Inf reach the result") {
  at_every_level([](Context& c) {
    std::vector<float> a(20 * 20, 1.0f), b(20 * 20, 1.0f), d(20 * 20);
    a[21] = std::nanf("");
    b[7] = INFINITY;
    GemmArgs args;
    args.a = row_major(a.data(), 20, 20);
    args.b = row_major(b.data(), 20, 20);
    args.d = row_major(d.data(), 20, 20);
    CHECK(c.kernels.gemm.f32(c, args).ok());
    CHECK(std::isnan(d[20]) && std::isinf(d[7]) && d[0] == 20);
  });
}

TEST("gemm: same bits for any number of threads") {
  const Operand a(DType::f32, 150, 500, false, 0, 1, 4), b(DType::f32, 500, 210, true, 0, 1, 5);
  CHECK(same_for_any_threads([&](Context& c) {
    std::vector<float> d(150 * 210);
    GemmArgs args;
    args.a = a.view;
    args.b = b.view;
    args.d = row_major(d.data(), 150, 210);
    const bool ok = c.kernels.gemm.f32(c, args).ok() ;
    std::vector<float> e(150 * 210);
    args.d = row_major(e.data(), 150, 210);
    if (ok && c.kernels.gemm.bf16(c, args).ok()) d.insert(d.end(), e.begin(), e.end());
    return d;
  }));
}
