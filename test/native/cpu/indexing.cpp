#include <cstring>
#include <vector>

#include "check.h"
#include "levels.h"

using namespace palimpsest;

namespace {

// index[j] along the axis, the same for all other axes.
View everywhere(const View& index, const View& like, int axis) {
  View wide = index;
  wide.rank = like.rank;
  for (int i = 0; i < like.rank; ++i) {
    wide.shape[i] = i == axis ? index.shape[0] : like.shape[i];
    wide.strides[i] = i == axis ? 1 : 0;
  }
  return wide;
}

}  // namespace

TEST("indexing: gather picks entries and whole slices, along every axis and from strided memory") {
  std::vector<float> x(5 * 6 * 7);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  View in = contiguous_view(x.data(), {5, 6, 7});
  // A transposed view: [7, 6, 5].
  std::swap(in.shape[0], in.shape[2]);
  std::swap(in.strides[0], in.strides[2]);
  at_every_level([&](Context& c) {
    for (int axis = 0; axis < 3; ++axis) {
      int64_t shape[] = {7, 6, 5};
      const int64_t extent = shape[axis];
      shape[axis] = 4;
      const int64_t n = shape[0] * shape[1] * shape[2];
      std::vector<int32_t> k(static_cast<size_t>(n));
      for (size_t i = 0; i < k.size(); ++i) k[i] = static_cast<int32_t>(i * 37 % static_cast<size_t>(extent));
      std::vector<float> y(k.size());
      const View out = contiguous_view(y.data(), {shape[0], shape[1], shape[2]});
      View index = contiguous_view(k.data(), {shape[0], shape[1], shape[2]});
      for (const bool slices : {false, true}) {
        if (slices) index = everywhere(contiguous_view(k.data(), {4}), out, axis);
        CHECK(c.kernels.indexing.gather(c, {out, in, index, axis}).ok());
        for (int64_t i = 0; i < n; ++i) {
          int64_t at[] = {i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]};
          const int64_t where = at[0] * index.strides[0] + at[1] * index.strides[1] + at[2] * index.strides[2];
          at[axis] = k[static_cast<size_t>(where)];
          const float expected = x[static_cast<size_t>(at[0] + at[1] * 7 + at[2] * 42)];
          CHECK(y[static_cast<size_t>(i)] == expected);
        }
      }
    }
  });
}

TEST("indexing: scatter combines in order, in every mode and dtype") {
  const int32_t k[] = {1, 0, 1, 1};
  at_every_level([&](Context& c) {
    const auto run = [&](auto zero, Scatter mode) {
      using T = decltype(zero);
      std::vector<T> y = {T(1), T(2), T(3)};
      const std::vector<T> x = {T(5), T(7), T(4), T(6)};
      CHECK(c.kernels.indexing
                .scatter(c, {contiguous_view(y.data(), {3}), contiguous_view(k, {4}),
                             contiguous_view(x.data(), {4}), 0, mode})
                .ok());
      return std::vector<double>(y.begin(), y.end());
    };
    const auto check = [&](auto zero) {
      CHECK(run(zero, Scatter::assign) == std::vector<double>({7, 6, 3}));
      CHECK(run(zero, Scatter::add) == std::vector<double>({8, 17, 3}));
      CHECK(run(zero, Scatter::multiply) == std::vector<double>({7, 240, 3}));
      CHECK(run(zero, Scatter::maximum) == std::vector<double>({7, 6, 3}));
      CHECK(run(zero, Scatter::minimum) == std::vector<double>({1, 2, 3}));
    };
    check(float{});
    check(double{});
    check(int32_t{});
    check(uint8_t{});
    BFloat16 b[] = {to_bf16(1)};
    const BFloat16 more[] = {to_bf16(2), to_bf16(3)};
    const int32_t first[] = {0, 0};
    CHECK(c.kernels.indexing
              .scatter(c, {contiguous_view(b, {1}), contiguous_view(first, {2}),
                           contiguous_view(more, {2}), 0, Scatter::add})
              .ok());
    CHECK(to_float(b[0]) == 6);
  });
}

TEST("indexing: adding rows has the same bits for any number of threads and equals float64") {
  constexpr int64_t kRows = 3000, kWidth = 130, kTargets = 50;
  std::vector<float> x(kRows * kWidth);
  std::vector<int32_t> k(kRows);
  uint32_t state = 7;
  for (float& v : x) v = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1.0f;
  for (int32_t& v : k) v = static_cast<int32_t>((state = state * 1664525u + 1013904223u) >> 8) % kTargets;
  const auto run = [&](Context& c) {
    std::vector<float> y(kTargets * kWidth, 0.0f);
    const View src = contiguous_view(x.data(), {kRows, kWidth});
    const View index = everywhere(contiguous_view(k.data(), {kRows}), src, 0);
    const Status status = c.kernels.indexing.scatter(
        c, {contiguous_view(y.data(), {kTargets, kWidth}), index, src, 0, Scatter::add});
    return status.ok() ? y : std::vector<float>();
  };
  CHECK(same_for_any_threads(run));
  std::vector<double> truth(kTargets * kWidth);
  for (int64_t i = 0; i < kRows * kWidth; ++i) {
    truth[static_cast<size_t>(k[static_cast<size_t>(i / kWidth)] * kWidth + i % kWidth)] += x[static_cast<size_t>(i)];
  }
  at_every_level([&](Context& c) {
    const auto y = run(c);
    for (size_t i = 0; i < y.size(); ++i) CHECK_NEAR(y[i], truth[i], 1e-4);
  });
}

TEST("indexing: an index outside its axis is refused before anything is written") {
  at_every_level([&](Context& c) {
    float x[] = {1, 2, 3};
    const float src[] = {9, 9};
    for (const int32_t bad : {-1, 3}) {
      const int32_t k[] = {0, bad};
      float y[] = {0, 0};
      const View index = contiguous_view(k, {2});
      CHECK(c.kernels.indexing.gather(c, {contiguous_view(y, {2}), contiguous_view(x, {3}), index, 0})
                .code() == Code::argument);
      CHECK(c.kernels.indexing
                .scatter(c, {contiguous_view(x, {3}), index, contiguous_view(src, {2}), 0, Scatter::assign})
                .code() == Code::argument);
      CHECK(x[0] == 1 && x[2] == 3 && y[0] == 0);
    }
  });
}

TEST("indexing: nonzero finds positions in order, for many chunks and any threads") {
  std::vector<float> x(200003, 0.0f);
  std::vector<int32_t> expected;
  for (size_t i = 0; i < x.size(); i += 1 + i % 7) {
    x[i] = i % 3 == 0 ? -1.0f : NAN;
    expected.push_back(static_cast<int32_t>(i));
  }
  x[1] = -0.0f;
  if (expected.size() > 1 && expected[1] == 1) expected.erase(expected.begin() + 1);
  const auto run = [&](Context& c) {
    int64_t count = 0;
    const View in = contiguous_view(x.data(), {static_cast<int64_t>(x.size())});
    std::vector<int32_t> found;
    if (!c.kernels.indexing.nonzero(c, in, nullptr, count).ok()) return found;
    found.resize(static_cast<size_t>(count));
    const bool fine = c.kernels.indexing.nonzero(c, in, found.data(), count).ok();
    return fine ? found : std::vector<int32_t>();
  };
  CHECK(same_for_any_threads(run));
  at_every_level([&](Context& c) { CHECK(run(c) == expected); });
}
