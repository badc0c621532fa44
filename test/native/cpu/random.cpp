#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "check.h"
#include "levels.h"

using namespace palimpsest;

namespace {

// Philox4x32-10 as its authors write it.
uint32_t word(uint64_t seed, uint64_t position) {
  uint32_t c[4] = {static_cast<uint32_t>(position >> 2), static_cast<uint32_t>(position >> 34), 0, 0};
  uint32_t k[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xd2511f53u} * c[0];
    const uint64_t p1 = uint64_t{0xcd9e8d57u} * c[2];
    const uint32_t next[] = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
                             static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    std::copy(next, next + 4, c);
    k[0] += 0x9e3779b9u;
    k[1] += 0xbb67ae85u;
  }
  return c[position & 3];
}

constexpr uint64_t kSeed = (uint64_t{1} << 52) - 12345;
// Straddles a change of the counter's upper word.
constexpr uint64_t kFar = (uint64_t{1} << 34) - 1001;

template <typename T>
std::vector<T> fill(Context& c, Status (*kernel)(Context&, const RandomArgs&), uint64_t position,
                    int64_t n, double a, double b) {
  std::vector<T> out(static_cast<size_t>(n));
  CHECK(kernel(c, {kSeed, position, dtype_of<T>, n, out.data(), a, b}).ok());
  return out;
}

}  // namespace

TEST("random: the words are Philox's at every level, from any position") {
  at_every_level([](Context& c) {
    for (uint64_t position : {uint64_t{0}, uint64_t{3}, uint64_t{1022}, kFar}) {
      for (int64_t n : {1, 5, 31, 1024, 2500}) {
        const auto out = fill<int32_t>(c, c.kernels.random.integers, position, n, 0, 4294967296.0);
        bool same = true;
        for (int64_t i = 0; i < n; ++i) {
          same = same && static_cast<uint32_t>(out[i]) == word(kSeed, position + i);
        }
        CHECK(same);
      }
    }
  });
}

TEST("random: uniform numbers and integers are their words' formulas") {
  at_every_level([](Context& c) {
    const auto u = fill<float>(c, c.kernels.random.uniform, kFar, 3000, 0, 1);
    const auto v = fill<double>(c, c.kernels.random.uniform, kFar, 3000, -2, 5);
    const auto f = fill<float>(c, c.kernels.random.uniform, kFar, 3000, -2, 5);
    const auto k = fill<int32_t>(c, c.kernels.random.integers, kFar, 3000, -7, 1000003);
    bool same = true;
    for (int64_t i = 0; i < 3000; ++i) {
      const uint32_t w = word(kSeed, kFar + i);
      const double unit = (w >> 8) / 16777216.0;
      same = same && u[i] == unit && v[i] == -2 + 5 * unit && f[i] == static_cast<float>(-2 + 5 * unit);
      same = same && k[i] == -7 + static_cast<int32_t>((uint64_t{w} * 1000003u) >> 32);
    }
    CHECK(same);
  });
}

TEST("random: normal numbers are Box–Muller's of their words, in float64 to 1e-6") {
  at_every_level([](Context& c) {
    for (uint64_t position : {uint64_t{10}, kFar}) {
      const int64_t n = 5001;
      const auto f = fill<float>(c, c.kernels.random.normal, position, n, 0, 1);
      const auto d = fill<double>(c, c.kernels.random.normal, position, n, 0, 1);
      double worst = 0, worst64 = 0;
      for (int64_t i = 0; i < n; ++i) {
        const uint64_t even = (position + i) & ~uint64_t{1};
        const double u = ((word(kSeed, even) >> 1) + 0.5) / 2147483648.0;
        const double angle = 2 * M_PI * word(kSeed, even + 1) / 4294967296.0;
        const bool odd = ((position + i) & 1) != 0;
        const double z = std::sqrt(-2 * std::log(u)) * (odd ? std::sin(angle) : std::cos(angle));
        worst = std::max(worst, std::fabs(f[i] - z));
        worst64 = std::max(worst64, std::fabs(d[i] - z));
      }
      CHECK(worst < 1e-6);
      CHECK(worst64 < 1e-14);
    }
  });
}

TEST("random: moments of a million normal numbers") {
  at_every_level([](Context& c) {
    const int64_t n = 1 << 20;
    const auto z = fill<float>(c, c.kernels.random.normal, 0, n, 1, 2);
    double m1 = 0, m2 = 0, m4 = 0;
    for (float x : z) {
      const double y = (x - 1) / 2;
      m1 += y / n;
      m2 += y * y / n;
      m4 += y * y * y * y / n;
    }
    CHECK_NEAR(m1, 0, 0.005);
    CHECK_NEAR(m2, 1, 0.01);
    CHECK_NEAR(m4, 3, 0.1);
  });
}

TEST("random: a permutation is Fisher–Yates's of its words") {
  at_every_level([](Context& c) {
    for (int64_t n : {0, 1, 2, 1025, 5000}) {
      const auto order = fill<int32_t>(c, c.kernels.random.permutation, 17, n, 0, 0);
      std::vector<int32_t> expected(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) expected[i] = static_cast<int32_t>(i);
      for (int64_t i = n - 1; i > 0; --i) {
        const auto j = (uint64_t{word(kSeed, 17 + (n - 1 - i))} * static_cast<uint64_t>(i + 1)) >> 32;
        std::swap(expected[i], expected[j]);
      }
      CHECK(order == expected);
    }
  });
}

TEST("random: dropout drops where the uniform number is below p, and scales the rest") {
  at_every_level([](Context& c) {
    const int64_t n = 3001;
    const auto u = fill<float>(c, c.kernels.random.uniform, 5, n, 0, 1);
    std::vector<float> x(n), y(n);
    std::vector<double> x64(n), y64(n);
    std::vector<BFloat16> x16(n), y16(n);
    for (int64_t i = 0; i < n; ++i) {
      x[i] = static_cast<float>(std::sin(static_cast<double>(i)));
      x64[i] = x[i];
      x16[i] = to_bf16(x[i]);
    }
    const auto threshold = static_cast<uint32_t>(std::ceil(0.3 * 16777216));
    const auto run = [&](DType dtype, const void* in, void* out) {
      CHECK(c.kernels.random.dropout(c, {kSeed, 5, dtype, n, in, out, threshold, 1 / 0.7}).ok());
    };
    run(DType::f32, x.data(), y.data());
    run(DType::f64, x64.data(), y64.data());
    run(DType::bf16, x16.data(), y16.data());
    bool same = true;
    for (int64_t i = 0; i < n; ++i) {
      const bool dropped = u[i] < 0.3;
      same = same && y[i] == (dropped ? 0.0f : x[i] * static_cast<float>(1 / 0.7));
      same = same && y64[i] == (dropped ? 0.0 : x64[i] * (1 / 0.7));
      same = same && to_float(y16[i]) ==
                         (dropped ? 0.0f
                                  : to_float(to_bf16(to_float(x16[i]) * static_cast<float>(1 / 0.7))));
    }
    CHECK(same);
  });
}

TEST("random: the same bits for any number of threads, and for a fill in parts") {
  const auto all = [](Context& c) {
    const int64_t n = 200001;
    std::vector<std::vector<float>> results;
    for (auto* kernel : {c.kernels.random.uniform, c.kernels.random.normal}) {
      results.push_back(fill<float>(c, kernel, 3, n, 0, 1));
      std::vector<float> parts = fill<float>(c, kernel, 3, 70001, 0, 1);
      const auto rest = fill<float>(c, kernel, 70004, n - 70001, 0, 1);
      parts.insert(parts.end(), rest.begin(), rest.end());
      CHECK(parts == results.back());
    }
    return results;
  };
  CHECK(same_for_any_threads(all));
}
