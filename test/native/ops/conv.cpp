#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "levels.h"
#include "numbers.h"
#include "palimpsest/ops/conv.h"

using namespace palimpsest;

namespace {

struct Problem {
  int64_t n, c, h, w, o, groups;
  Window window;
};

template <typename T>
struct Result {
  std::vector<T> y, dx, dw;
  bool operator==(const Result&) const = default;
};

struct Lengths {
  int64_t x, weight, y;
  explicit Lengths(const Problem& p)
      : x(p.n * p.c * p.h * p.w),
        weight(p.o * (p.c / p.groups) * p.window.kernel_h * p.window.kernel_w),
        y(p.n * p.o * p.window.out_h(p.h) * p.window.out_w(p.w)) {}
};

template <typename T>
Result<T> run(Context& c, const Problem& p) {
  const Lengths n(p);
  const auto x = numbers<T>(n.x, 1.7), weight = numbers<T>(n.weight, 0.9), bias = numbers<T>(p.o, 0.4),
             dy = numbers<T>(n.y, 2.3);
  Result<T> r{std::vector<T>(n.y), std::vector<T>(n.x), std::vector<T>(n.weight)};
  const ConvArgs args{dtype_of<T>, p.n, p.c, p.h, p.w, p.o, p.groups, p.window};
  CHECK(conv2d(c, args, x.data(), weight.data(), bias.data(), r.y.data()).ok());
  CHECK(conv2d_backward_data(c, args, dy.data(), weight.data(), r.dx.data()).ok());
  CHECK(conv2d_backward_weight(c, args, dy.data(), x.data(), r.dw.data()).ok());
  return r;
}

// The definition: every output, every tap.
Result<double> reference(const Problem& p) {
  const Lengths n(p);
  const Window& w = p.window;
  const auto x = numbers<double>(n.x, 1.7), weight = numbers<double>(n.weight, 0.9),
             bias = numbers<double>(p.o, 0.4), dy = numbers<double>(n.y, 2.3);
  Result<double> r{std::vector<double>(n.y), std::vector<double>(n.x), std::vector<double>(n.weight)};
  const int64_t inputs = p.c / p.groups, outputs = p.o / p.groups;
  const int64_t oh = w.out_h(p.h), ow = w.out_w(p.w);
  for (int64_t at = 0; at < n.y; ++at) {
    const int64_t col = at % ow, row = at / ow % oh, o = at / (ow * oh) % p.o, image = at / (ow * oh * p.o);
    r.y[at] = bias[o];
    for (int64_t k = 0; k < inputs * w.kernel_h * w.kernel_w; ++k) {
      const int64_t channel = o / outputs * inputs + k / (w.kernel_h * w.kernel_w);
      const int64_t i = row * w.stride_h + k / w.kernel_w % w.kernel_h * w.dilation_h - w.padding_h;
      const int64_t j = col * w.stride_w + k % w.kernel_w * w.dilation_w - w.padding_w;
      if (i < 0 || i >= p.h || j < 0 || j >= p.w) continue;
      const int64_t from = ((image * p.c + channel) * p.h + i) * p.w + j;
      const int64_t tap = o * inputs * w.kernel_h * w.kernel_w + k;
      r.y[at] += weight[tap] * x[from];
      r.dx[from] += weight[tap] * dy[at];
      r.dw[tap] += x[from] * dy[at];
    }
  }
  return r;
}

// kernel, stride, padding, dilation, each vertical and horizontal
const Problem kProblems[] = {
    {2, 3, 7, 9, 5, 1, {3, 3, 1, 1, 1, 1, 1, 1}},  {3, 4, 6, 5, 33, 1, {1, 1, 1, 1, 0, 0, 1, 1}},
    {1, 20, 30, 31, 18, 1, {3, 2, 1, 1, 0, 1, 1, 1}}, {17, 2, 9, 8, 4, 2, {5, 3, 1, 1, 2, 2, 1, 1}},
    {2, 6, 12, 10, 6, 6, {3, 3, 1, 1, 1, 1, 1, 1}}, {2, 2, 11, 12, 3, 1, {3, 3, 1, 1, 2, 1, 2, 2}},
    {2, 3, 9, 8, 4, 1, {3, 3, 2, 2, 1, 1, 1, 1}},  {2, 3, 5, 5, 4, 1, {2, 2, 1, 1, 3, 3, 1, 1}},
    {1, 1, 1, 1, 1, 1, {1, 1, 1, 1, 0, 0, 1, 1}},  {2, 2, 3, 70, 2, 1, {3, 3, 1, 1, 1, 1, 1, 1}},
    {3, 20, 9, 7, 33, 1, {1, 1, 1, 1, 0, 0, 1, 1}}, {19, 5, 9, 21, 5, 5, {5, 3, 1, 1, 2, 1, 1, 1}},
    {2, 3, 12, 37, 3, 3, {3, 3, 1, 1, 2, 2, 2, 2}}, {5, 17, 8, 8, 17, 17, {3, 3, 1, 1, 0, 0, 1, 1}},
};

}  // namespace

TEST("conv: a convolution and its gradients agree with float64") {
  for (const Problem& p : kProblems) {
    const Result<double> expected = reference(p);
    at_every_level([&](Context& c) {
      const auto f32 = run<float>(c, p);
      const auto f64 = run<double>(c, p);
      CHECK_NEAR(difference(f32.y, expected.y), 0, 2e-5);
      CHECK_NEAR(difference(f32.dx, expected.dx), 0, 2e-5);
      CHECK_NEAR(difference(f32.dw, expected.dw), 0, 2e-4);
      CHECK_NEAR(difference(f64.y, expected.y), 0, 1e-13);
      CHECK_NEAR(difference(f64.dx, expected.dx), 0, 1e-13);
      CHECK_NEAR(difference(f64.dw, expected.dw), 0, 1e-12);
    });
  }
}

TEST("conv: the fused ReLU is the convolution's positive part, and NaN stays") {
  for (const Problem& p : kProblems) {
    const Lengths n(p);
    at_every_level([&](Context& c) {
      auto x = numbers<float>(n.x, 1.7);
      const auto weight = numbers<float>(n.weight, 0.9), bias = numbers<float>(p.o, 0.4);
      x[0] = std::numeric_limits<float>::quiet_NaN();
      std::vector<float> y(n.y), positive(n.y);
      ConvArgs args{DType::f32, p.n, p.c, p.h, p.w, p.o, p.groups, p.window};
      CHECK(conv2d(c, args, x.data(), weight.data(), bias.data(), y.data()).ok());
      args.activation = Activation::relu;
      CHECK(conv2d(c, args, x.data(), weight.data(), bias.data(), positive.data()).ok());
      bool good = true;
      for (int64_t i = 0; i < n.y; ++i) {
        good = good && (y[i] != y[i] ? positive[i] != positive[i] : positive[i] == std::max(y[i], 0.0f));
      }
      CHECK(good);
    });
  }
}

TEST("conv: the same bits for any number of threads") {
  CHECK(same_for_any_threads([](Context& c) { return run<float>(c, kProblems[0]); }));
  CHECK(same_for_any_threads([](Context& c) { return run<float>(c, kProblems[3]); }));
  CHECK(same_for_any_threads([](Context& c) { return run<float>(c, kProblems[6]); }));
  CHECK(same_for_any_threads([](Context& c) { return run<float>(c, kProblems[10]); }));
  CHECK(same_for_any_threads([](Context& c) { return run<float>(c, kProblems[11]); }));
}

TEST("conv: pooling and its gradients agree with the definition") {
  at_every_level([](Context& c) {
    const int64_t n = 2, channels = 3, h = 7, w = 6;
    const Window window{3, 2, 2, 2, 1, 0, 1, 1};
    const int64_t oh = window.out_h(h), ow = window.out_w(w), outputs = n * channels * oh * ow;
    const auto x = numbers<float>(n * channels * h * w, 1.7), dy = numbers<float>(outputs, 0.6);
    std::vector<float> top(outputs), mean(outputs), dtop(x.size()), dmean(x.size());
    std::vector<int32_t> indices(outputs);
    const auto image = [&](const void* in, void* out) {
      return ImageArgs{DType::f32, n, channels, h, w, window, in, out};
    };
    CHECK(c.kernels.conv.max_pool(c, {image(x.data(), top.data()), indices.data()}).ok());
    CHECK(c.kernels.conv.avg_pool(c, image(x.data(), mean.data())).ok());
    CHECK(c.kernels.conv.max_pool_backward(c, {image(dy.data(), dtop.data()), indices.data()}).ok());
    CHECK(c.kernels.conv.avg_pool_backward(c, image(dy.data(), dmean.data())).ok());
    std::vector<double> wanted_top(x.size()), wanted_mean(x.size());
    for (int64_t at = 0; at < outputs; ++at) {
      const int64_t plane = at / (oh * ow), row = at / ow % oh * 2 - 1, col = at % ow * 2;
      double best = -1e9, sum = 0;
      int64_t where = 0;
      for (int64_t i = std::max<int64_t>(row, 0); i < std::min(row + 3, h); ++i) {
        for (int64_t j = col; j < std::min(col + 2, w); ++j) {
          const int64_t from = (plane * h + i) * w + j;
          sum += x[from];
          wanted_mean[from] += dy[at] / 6;
          if (x[from] > best) {
            best = x[from];
            where = from;
          }
        }
      }
      wanted_top[where] += dy[at];
      CHECK_NEAR(top[at], best, 0);
      CHECK_NEAR(mean[at], sum / 6, 1e-6);
      CHECK(indices[at] == where - plane * h * w);
    }
    for (size_t i = 0; i < x.size(); ++i) {
      CHECK_NEAR(dtop[i], wanted_top[i], 1e-6);
      CHECK_NEAR(dmean[i], wanted_mean[i], 1e-6);
    }
  });
}

TEST("conv: max pooling two by two, with ties, NaN and odd extents") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  at_every_level([=](Context& c) {
    for (const int64_t w : {2, 7, 28, 35, 66}) {
      const int64_t n = 2, channels = 2, h = 5;
      const Window window{2, 2, 2, 2, 0, 0, 1, 1};
      const int64_t oh = 2, ow = w / 2, outputs = n * channels * oh * ow;
      auto x = numbers<float>(n * channels * h * w, 1.7);
      for (size_t i = 0; i < x.size(); ++i) {
        if (i % 3 == 0) x[i] = 0.25f;
        if (i % 17 == 4) x[i] = nan;
      }
      const auto dy = numbers<float>(outputs, 0.6);
      std::vector<float> y(outputs), dx(x.size(), 7), wanted(x.size());
      std::vector<int32_t> places(outputs);
      const ImageArgs forward{DType::f32, n, channels, h, w, window, x.data(), y.data()};
      const ImageArgs backward{DType::f32, n, channels, h, w, window, dy.data(), dx.data()};
      CHECK(c.kernels.conv.max_pool(c, {forward, places.data()}).ok());
      CHECK(c.kernels.conv.max_pool_backward(c, {backward, places.data()}).ok());
      bool good = true;
      for (int64_t i = 0; i < outputs; ++i) {
        const int64_t plane = i / (oh * ow), at = i / ow % oh * 2 * w + i % ow * 2;
        int64_t best = at;
        for (const int64_t candidate : {at + 1, at + w, at + w + 1}) {
          const float a = x[plane * h * w + candidate], b = x[plane * h * w + best];
          if (b == b && (a > b || a != a)) best = candidate;
        }
        const float top = x[plane * h * w + best];
        wanted[plane * h * w + best] = dy[i];
        good = good && places[i] == best && (y[i] == top || (y[i] != y[i] && top != top));
      }
      CHECK(good && dx == wanted);
      places[0] = -1;
      CHECK(!c.kernels.conv.max_pool_backward(c, {backward, places.data()}).ok());
    }
  });
}
