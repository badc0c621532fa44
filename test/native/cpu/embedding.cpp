#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "levels.h"

using namespace palimpsest;

namespace {

constexpr int64_t kRows = 11, kCount = 50;

std::vector<int32_t> picks() {
  std::vector<int32_t> indices(kCount);
  for (int64_t i = 0; i < kCount; ++i) indices[i] = static_cast<int32_t>(i * i % kRows);
  return indices;
}

template <typename T>
std::vector<T> sums(Context& c, int64_t width, int64_t skip) {
  std::vector<T> g(kCount * width), out(kRows * width, T(7));
  for (size_t i = 0; i < g.size(); ++i) g[i] = static_cast<T>(std::sin(double(i)));
  const auto indices = picks();
  CHECK(c.kernels.embedding
            .scatter(c, {dtype_of<T>, kRows, width, kCount, g.data(), indices.data(), skip, out.data()})
            .ok());
  return out;
}

}  // namespace

TEST("embedding: gathers rows of any dtype, sums their gradients") {
  at_every_level([](Context& c) {
    const auto indices = picks();
    for (int64_t width : {1, 3, 64, 130}) {
      std::vector<uint16_t> table(kRows * width), out(kCount * width);
      for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<uint16_t>(i * 7);
      CHECK(c.kernels.embedding
                .gather(c, {DType::bf16, kRows, width, kCount, table.data(), indices.data(), out.data()})
                .ok());
      for (int64_t i = 0; i < kCount * width; ++i) {
        CHECK(out[i] == table[indices[i / width] * width + i % width]);
      }
      for (int64_t skip : {-1, 4}) {
        const auto f32 = sums<float>(c, width, skip);
        const auto f64 = sums<double>(c, width, skip);
        std::vector<double> expected(kRows * width);
        for (int64_t i = 0; i < kCount * width; ++i) {
          if (indices[i / width] == skip) continue;
          expected[indices[i / width] * width + i % width] += std::sin(double(i));
        }
        for (size_t i = 0; i < expected.size(); ++i) {
          CHECK_NEAR(f32[i], expected[i], 1e-5);
          CHECK_NEAR(f64[i], expected[i], 1e-13);
        }
      }
    }
  });
}

TEST("embedding: refuses an index out of range, and writes nothing") {
  at_every_level([](Context& c) {
    const int32_t bad[] = {0, 3};
    const float table[] = {1, 2, 3};
    float out[] = {9, 9, 9};
    CHECK(c.kernels.embedding.gather(c, {DType::f32, 3, 1, 2, table, bad, out}).code() == Code::argument);
    CHECK(c.kernels.embedding.scatter(c, {DType::f32, 3, 1, 2, table, bad, -1, out}).code() ==
          Code::argument);
    CHECK(out[0] == 9 && out[1] == 9 && out[2] == 9);
  });
}

TEST("embedding: the same bits for any number of threads") {
  CHECK(same_for_any_threads([](Context& c) { return sums<float>(c, 517, -1); }));
}
