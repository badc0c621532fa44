#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "levels.h"
#include "numbers.h"

using namespace palimpsest;

namespace {

float wave(int64_t i) { return static_cast<float>(std::sin(static_cast<double>(i) * 2.3) * 3); }

constexpr int64_t kSizes[] = {1, 63, 64, 65, 1000, 70001};

}  // namespace

TEST("masks: algebra and counting, bits beyond the end stay off") {
  at_every_level([](Context& c) {
    for (int64_t n : kSizes) {
      const auto a = random_mask(n, 1), b = random_mask(n, 2);
      for (int op = 0; op < 5; ++op) {
        std::vector<uint64_t> out(a.size(), ~uint64_t{0});
        CHECK(c.kernels.masks
                  .logic(c, {static_cast<MaskLogic>(op), n, a.data(), op == 4 ? nullptr : b.data(), out.data()})
                  .ok());
        bool same = true;
        int64_t on = 0, counted = 0;
        for (int64_t i = 0; i < static_cast<int64_t>(out.size()) * 64; ++i) {
          const bool x = i < n && bit(a, i), y = i < n && bit(b, i);
          const bool truth[] = {x && y, x || y, x != y, x && !y, i < n && !x};
          same = same && bit(out, i) == truth[op];
          on += bit(out, i);
        }
        CHECK(same);
        CHECK(c.kernels.masks.count(c, {n, out.data(), &counted}).ok());
        CHECK(counted == on);
      }
    }
  });
}

TEST("masks: pack, unpack and apply in every type") {
  at_every_level([](Context& c) {
    const auto run = [&]<typename T>(T, auto value) {
      for (int64_t n : kSizes) {
        auto mask = random_mask(n, 3);
        std::vector<T> x(n), y(n);
        for (int64_t i = 0; i < n; ++i) x[i] = value(bit(mask, i) ? 1.0f + static_cast<float>(i % 3) : 0.0f);
        std::vector<uint64_t> packed(mask.size(), 77);
        CHECK(c.kernels.masks.pack(c, {dtype_of<T>, n, packed.data(), x.data(), nullptr}).ok());
        CHECK(packed == mask);
        for (int64_t i = 0; i < n; ++i) x[i] = value(static_cast<float>(i % 5) + 1);
        CHECK(c.kernels.masks.apply(c, {dtype_of<T>, n, mask.data(), x.data(), y.data()}).ok());
        bool same = true;
        for (int64_t i = 0; i < n; ++i) {
          const T expected = bit(mask, i) ? x[i] : value(0);
          same = same && std::equal(reinterpret_cast<const char*>(&expected),
                                    reinterpret_cast<const char*>(&expected) + sizeof(T),
                                    reinterpret_cast<const char*>(&y[i]));
        }
        CHECK(same);
      }
    };
    run(float{}, [](float v) { return v; });
    run(double{}, [](float v) { return static_cast<double>(v); });
    run(BFloat16{}, [](float v) { return to_bf16(v); });
    run(int32_t{}, [](float v) { return static_cast<int32_t>(v); });
    run(uint8_t{}, [](float v) { return static_cast<uint8_t>(v); });
    for (int64_t n : kSizes) {
      auto mask = random_mask(n, 4);
      std::vector<uint8_t> y(n, 9);
      CHECK(c.kernels.masks.unpack(c, {DType::boolean, n, mask.data(), nullptr, y.data()}).ok());
      bool same = true;
      for (int64_t i = 0; i < n; ++i) same = same && y[i] == (bit(mask, i) ? 1 : 0);
      CHECK(same);
    }
    float nan[] = {std::numeric_limits<float>::quiet_NaN(), 2}, out[2];
    uint64_t second = 2;
    CHECK(c.kernels.masks.apply(c, {DType::f32, 2, &second, nan, out}).ok());
    CHECK(out[0] == 0 && out[1] == 2);
  });
}

TEST("masks: N of M by rank, along every axis") {
  at_every_level([](Context& c) {
    const auto run = [&]<typename T>(T) {
      for (auto [n, m] : {std::pair{2, 4}, {1, 4}, {3, 4}, {0, 4}, {4, 4}, {1, 2}, {3, 5}, {5, 16}}) {
        for (auto [outer, groups, inner] : {std::tuple{3, 7, 1}, {1, 200, 1}, {2, 3, 5}, {1, 4, 130}, {70, 1, 64}}) {
          for (bool magnitude : {false, true}) {
            const int64_t length = int64_t{groups} * m;
            const int64_t total = outer * length * inner;
            std::vector<T> x(total);
            for (int64_t i = 0; i < total; ++i) {
              const float v = std::round(wave(i) * 2) / 2;  // ties, and zeros of both signs
              if constexpr (std::is_same_v<T, BFloat16>) x[i] = to_bf16(v);
              else x[i] = v;
            }
            std::vector<uint64_t> mask(mask_words(total), 5);
            CHECK(c.kernels.masks
                      .nm(c, {dtype_of<T>, magnitude, n, m, outer, length, inner, x.data(), mask.data()})
                      .ok());
            bool same = true;
            for (int64_t i = 0; i < static_cast<int64_t>(mask.size()) * 64; ++i) {
              if (i >= total) {
                same = same && !bit(mask, i);
                continue;
              }
              const int64_t a = (i / inner) % length;
              const auto value = [&](int64_t place) {
                double v;
                if constexpr (std::is_same_v<T, BFloat16>) v = to_float(x[place]);
                else v = x[place];
                return magnitude ? std::fabs(v) : v;
              };
              int before = 0;
              for (int64_t b = a / m * m; b < a / m * m + m; ++b) {
                const double other = value(i + (b - a) * inner);
                before += other > value(i) || (other == value(i) && b < a);
              }
              same = same && bit(mask, i) == (before < n);
            }
            CHECK(same);
          }
        }
      }
    };
    run(float{});
    run(double{});
    run(BFloat16{});
    std::vector<float> x(256, 1);
    x[131] = std::numeric_limits<float>::quiet_NaN();
    uint64_t mask[4];
    for (int64_t inner : {1, 8}) {
      CHECK(c.kernels.masks.nm(c, {DType::f32, true, 2, 4, 1, 256 / inner, inner, x.data(), mask}).code() ==
            Code::numerical);
    }
  });
}

TEST("masks: compact vectors come and go, and are carried to another mask") {
  at_every_level([](Context& c) {
    for (int64_t n : kSizes) {
      for (int density : {0, 3, 40, 100}) {
        const auto mask = random_mask(n, 5, density), next = random_mask(n, 6, density);
        std::vector<float> dense(n), back(n, -1), compact, after, expected;
        for (int64_t i = 0; i < n; ++i) dense[i] = wave(i);
        std::vector<float> truth;
        for (int64_t i = 0; i < n; ++i) {
          if (bit(mask, i)) truth.push_back(dense[i]);
          if (bit(next, i)) expected.push_back(bit(mask, i) ? dense[i] : 0);
        }
        compact.resize(truth.size());
        CHECK(c.kernels.masks.gather(c, {n, mask.data(), dense.data(), compact.data()}).ok());
        CHECK(compact == truth);
        CHECK(c.kernels.masks.scatter(c, {n, mask.data(), back.data(), compact.data()}).ok());
        bool same = true;
        for (int64_t i = 0; i < n; ++i) same = same && back[i] == (bit(mask, i) ? dense[i] : -1);
        CHECK(same);
        after.resize(expected.size());
        CHECK(c.kernels.masks.carry(c, {n, mask.data(), compact.data(), next.data(), after.data()}).ok());
        CHECK(after == expected);
      }
    }
  });
}
