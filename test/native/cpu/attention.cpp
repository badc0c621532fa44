#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "levels.h"
#include "numbers.h"

using namespace palimpsest;

namespace {

struct Problem {
  int64_t batch, heads, queries, keys, width, value_width;
  bool causal, masked;
};

template <typename T>
struct Result {
  std::vector<T> out, lse, dq, dk, dv;
  bool operator==(const Result&) const = default;
};

// [batch, time, heads, width] memory seen as [batch, heads, time, width].
template <typename T>
View heads_view(std::vector<T>& data, const Problem& p, int64_t time, int64_t width) {
  View v = contiguous_view(data.data(), {p.batch, p.heads, time, width});
  v.strides[0] = time * p.heads * width;
  v.strides[1] = width;
  v.strides[2] = p.heads * width;
  return v;
}

std::vector<uint8_t> make_mask(const Problem& p) {
  std::vector<uint8_t> mask(p.queries * p.keys);
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = i % 7 != 3 && i / size_t(p.keys) != 2;
  return mask;
}

template <typename T>
Result<T> run(Context& c, const Problem& p) {
  const int64_t bh = p.batch * p.heads;
  auto q = numbers<T>(bh * p.queries * p.width, 1.7, 1.5), k = numbers<T>(bh * p.keys * p.width, 0.9, 1.5);
  auto v = numbers<T>(bh * p.keys * p.value_width, 0.4, 1.5);
  auto dout = numbers<T>(bh * p.queries * p.value_width, 2.3, 1.5);
  auto mask = make_mask(p);
  Result<T> r{std::vector<T>(dout.size()), std::vector<T>(bh * p.queries), std::vector<T>(q.size()),
              std::vector<T>(k.size()), std::vector<T>(v.size())};
  AttentionBackwardArgs b;
  AttentionArgs& a = b.forward;
  a.q = heads_view(q, p, p.queries, p.width);
  a.k = heads_view(k, p, p.keys, p.width);
  a.v = heads_view(v, p, p.keys, p.value_width);
  a.out = heads_view(r.out, p, p.queries, p.value_width);
  a.lse = r.lse.data();
  a.causal = p.causal;
  a.scale = 0.6;
  if (p.masked) {
    a.mask = contiguous_view(mask.data(), {p.batch, p.heads, p.queries, p.keys});
    a.mask.dtype = DType::u8;
    a.mask.strides[0] = a.mask.strides[1] = 0;
  }
  CHECK(c.kernels.attention.forward(c, a).ok());
  b.dout = heads_view(dout, p, p.queries, p.value_width);
  b.dq = heads_view(r.dq, p, p.queries, p.width);
  b.dk = heads_view(r.dk, p, p.keys, p.width);
  b.dv = heads_view(r.dv, p, p.keys, p.value_width);
  CHECK(c.kernels.attention.backward(c, b).ok());
  return r;
}

// The definition with the whole matrix of scores.
Result<double> reference(const Problem& p) {
  const int64_t bh = p.batch * p.heads;
  const auto q = numbers<double>(bh * p.queries * p.width, 1.7, 1.5), k = numbers<double>(bh * p.keys * p.width, 0.9, 1.5);
  const auto v = numbers<double>(bh * p.keys * p.value_width, 0.4, 1.5);
  const auto dout = numbers<double>(bh * p.queries * p.value_width, 2.3, 1.5);
  const auto mask = make_mask(p);
  Result<double> r{std::vector<double>(dout.size()), {}, std::vector<double>(q.size()),
                   std::vector<double>(k.size()), std::vector<double>(v.size())};
  for (int64_t head = 0; head < bh; ++head) {
    const auto at = [&](int64_t t, int64_t time, int64_t width) {
      return ((head / p.heads * time + t) * p.heads + head % p.heads) * width;
    };
    for (int64_t i = 0; i < p.queries; ++i) {
      std::vector<double> s(p.keys, -INFINITY), dp(p.keys);
      const int64_t qi = at(i, p.queries, p.width), oi = at(i, p.queries, p.value_width);
      double top = -INFINITY, sum = 0, delta = 0;
      for (int64_t j = 0; j < p.keys; ++j) {
        if ((p.causal && j > i) || (p.masked && mask[i * p.keys + j] == 0)) continue;
        s[j] = 0;
        for (int64_t d = 0; d < p.width; ++d) s[j] += 0.6 * q[qi + d] * k[at(j, p.keys, p.width) + d];
        top = std::max(top, s[j]);
      }
      if (top == -INFINITY) continue;
      for (double& x : s) sum += x = std::exp(x - top);
      for (int64_t j = 0; j < p.keys; ++j) {
        s[j] /= sum;
        const int64_t vj = at(j, p.keys, p.value_width);
        for (int64_t d = 0; d < p.value_width; ++d) {
          r.out[oi + d] += s[j] * v[vj + d];
          r.dv[vj + d] += s[j] * dout[oi + d];
          dp[j] += dout[oi + d] * v[vj + d];
        }
        delta += s[j] * dp[j];
      }
      for (int64_t j = 0; j < p.keys; ++j) {
        const double ds = s[j] * (dp[j] - delta) * 0.6;
        for (int64_t d = 0; d < p.width; ++d) {
          r.dq[qi + d] += ds * k[at(j, p.keys, p.width) + d];
          r.dk[at(j, p.keys, p.width) + d] += ds * q[qi + d];
        }
      }
    }
  }
  return r;
}

const Problem kProblems[] = {
    {1, 1, 1, 1, 1, 1, false, false},   {2, 3, 17, 17, 8, 8, true, false},
    {2, 4, 65, 65, 16, 16, true, false}, {1, 2, 70, 140, 5, 7, false, false},
    {2, 4, 20, 130, 4, 4, false, true}, {1, 2, 130, 65, 8, 8, true, true},
};

}  // namespace

TEST("attention: forward and backward agree with float64") {
  for (const Problem& p : kProblems) {
    const Result<double> expected = reference(p);
    at_every_level([&](Context& c) {
      const auto f32 = run<float>(c, p);
      const auto f64 = run<double>(c, p);
      CHECK_NEAR(difference(f32.out, expected.out), 0, 1e-5);
      CHECK_NEAR(difference(f32.dq, expected.dq), 0, 5e-5);
      CHECK_NEAR(difference(f32.dk, expected.dk), 0, 5e-5);
      CHECK_NEAR(difference(f32.dv, expected.dv), 0, 5e-5);
      CHECK_NEAR(difference(f64.out, expected.out), 0, 1e-13);
      CHECK_NEAR(difference(f64.dq, expected.dq), 0, 1e-12);
      CHECK_NEAR(difference(f64.dk, expected.dk), 0, 1e-12);
      CHECK_NEAR(difference(f64.dv, expected.dv), 0, 1e-12);
    });
  }
}

TEST("attention: the same bits for any number of threads, with few heads and with many") {
  CHECK(same_for_any_threads([](Context& c) { return run<float>(c, {2, 4, 150, 150, 16, 16, true, false}); }));
  CHECK(same_for_any_threads([](Context& c) { return run<float>(c, {1, 2, 150, 300, 16, 16, false, true}); }));
}
