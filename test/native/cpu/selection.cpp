#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "check.h"
#include "levels.h"

using namespace palimpsest;

namespace {

double plain(float x) { return x; }
double plain(double x) { return x; }
double plain(int32_t x) { return x; }
double plain(BFloat16 x) { return to_float(x); }

double noise(int64_t i) {
  const double x = std::sin(static_cast<double>(i) * 12.9898 + 78.233) * 43758.5453;
  return x - std::floor(x) - 0.5;
}

template <typename T>
T made(double x) {
  if constexpr (std::is_same_v<T, BFloat16>) return to_bf16(static_cast<float>(x));
  if constexpr (std::is_same_v<T, int32_t>) return static_cast<int32_t>(x * 1e6);
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(x);
}

struct Case {
  bool magnitude, largest;
  int64_t k;
};

// The entries by a stable sort of all, as one list of flags.
template <typename T>
std::vector<bool> expected(const std::vector<std::vector<T>>& pieces, const Case& c) {
  std::vector<double> all;
  for (const auto& piece : pieces) {
    for (T x : piece) {
      const double v = c.magnitude ? std::fabs(plain(x)) : plain(x);
      all.push_back(c.largest ? -v : v);
    }
  }
  std::vector<int64_t> order(all.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return all[a] < all[b]; });
  std::vector<bool> flags(all.size());
  for (int64_t i = 0; i < c.k; ++i) flags[order[i]] = true;
  return flags;
}

template <typename T>
std::vector<std::vector<uint64_t>> select(Context& context, const std::vector<std::vector<T>>& pieces,
                                          const Case& c, Status* status, double* threshold = nullptr) {
  std::vector<std::vector<uint64_t>> masks;
  for (const auto& piece : pieces) masks.emplace_back((piece.size() + 63) / 64, 0x5555);
  std::vector<SelectPiece> list;
  for (size_t p = 0; p < pieces.size(); ++p) {
    list.push_back({pieces[p].data(), static_cast<int64_t>(pieces[p].size()), masks[p].data()});
  }
  *status = context.kernels.selection.select(
      context, {dtype_of<T>, c.magnitude, c.largest, c.k, list.data(),
                static_cast<int64_t>(list.size()), threshold});
  return masks;
}

template <typename T>
void check_one(Context& context, const std::vector<std::vector<T>>& pieces, const Case& c) {
  Status status;
  double threshold = 0;
  const auto masks = select(context, pieces, c, &status, &threshold);
  CHECK(status.ok());
  const auto flags = expected(pieces, c);
  size_t at = 0;
  int64_t wrong = 0;
  double worst = c.largest ? HUGE_VAL : -HUGE_VAL;
  for (size_t p = 0; p < pieces.size(); ++p) {
    for (size_t i = 0; i < masks[p].size() * 64; ++i) {
      const bool bit = ((masks[p][i / 64] >> (i % 64)) & 1) != 0;
      if (i < pieces[p].size()) {
        const double v = c.magnitude ? std::fabs(plain(pieces[p][i])) : plain(pieces[p][i]);
        if (bit) worst = c.largest ? std::min(worst, v) : std::max(worst, v);
        wrong += bit != flags[at++];
      } else {
        wrong += bit;
      }
    }
  }
  CHECK(wrong == 0);
  if (c.k > 0) CHECK(threshold == worst);
}

template <typename T>
void check_all(Context& context, const std::vector<std::vector<T>>& pieces) {
  int64_t n = 0;
  for (const auto& piece : pieces) n += static_cast<int64_t>(piece.size());
  for (bool magnitude : {false, true}) {
    for (bool largest : {false, true}) {
      for (int64_t k : {int64_t{0}, std::min<int64_t>(n, 1), n / 10, n / 2, n - n / 50, n}) {
        check_one(context, pieces, {magnitude, largest, k});
      }
    }
  }
}

template <typename T, typename F>
std::vector<T> list(int64_t n, const F& value) {
  std::vector<T> x(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) x[i] = made<T>(value(i));
  return x;
}

}  // namespace

TEST("selection: exactly k, ties to the first, in every type and size") {
  at_every_level([](Context& c) {
    for (int64_t n : {1, 63, 64, 65, 1000, 70001}) {
      check_all<float>(c, {list<float>(n, noise)});
    }
    check_all<double>(c, {list<double>(30001, noise)});
    check_all<BFloat16>(c, {list<BFloat16>(30001, noise)});
    check_all<int32_t>(c, {list<int32_t>(30001, noise)});
  });
}

TEST("selection: over a list as over one tensor; empty pieces") {
  at_every_level([](Context& c) {
    std::vector<std::vector<float>> pieces;
    for (int64_t n : {0, 50000, 3, 0, 20001}) {
      pieces.push_back(list<float>(n, [&](int64_t i) { return noise(i + 1000 * n) * (n % 7 + 1); }));
    }
    check_all<float>(c, pieces);
    check_all<float>(c, {{}});
  });
}

TEST("selection: hard data: many ties, zeros of both signs, sorted, infinite, clustered") {
  at_every_level([](Context& c) {
    const double inf = std::numeric_limits<double>::infinity();
    const int64_t n = 40000;
    check_all<float>(c, {list<float>(n, [](int64_t i) { return i % 10 == 0 ? noise(i) : (i % 2 ? 0.0 : -0.0); })});
    check_all<float>(c, {list<float>(n, [](int64_t) { return 2.5; })});
    check_all<float>(c, {list<float>(n, [](int64_t i) { return std::floor(noise(i) * 20); })});
    check_all<double>(c, {list<double>(n, [](int64_t i) { return static_cast<double>(i); })});
    check_all<float>(c, {list<float>(n, [&](int64_t i) { return i % 3 == 0 ? (i % 2 ? inf : -inf) : noise(i); })});
    // The scores near the k-th all lie in one place, which the sample's error bound does not know.
    check_all<float>(c, {list<float>(200000, [](int64_t i) { return i < 20000 ? 1 + noise(i) * 1e-3 : (i % 2 ? 9.0 + noise(i) : noise(i)); })});
  });
}

// Large enough for the sample; every k that is special.
TEST("selection: adversarial orders, sizes and ranks") {
  at_every_level([](Context& c) {
    const int64_t n = 30001;
    const auto permuted = [n](int64_t i) { return static_cast<double>(i * 7919 % n); };
    const std::vector<std::vector<float>> data = {
        list<float>(n, [](int64_t i) { return 1.0 + static_cast<double>(i) * 1e-3; }),
        list<float>(n, [](int64_t i) { return -static_cast<double>(i); }),
        list<float>(n, [](int64_t) { return -0.0; }),
        list<float>(n, [](int64_t i) { return i % 3 == 0 ? 1.0 : 2.0; }),
        list<float>(n, [](int64_t i) { return i == 77777 ? 1.0 : 2.0; }),
        list<float>(n, [&](int64_t i) { return permuted(i) * 1e-45; }),  // denormal numbers
        list<float>(n, [&](int64_t i) { return (i % 2 ? 1 : -1) * permuted(i); }),
        // Zeros of both signs among the smallest numbers there are.
        list<float>(n, [](int64_t i) { return i % 4 == 0 ? 1e-45 : i % 4 == 1 ? -1e-45 : i % 4 == 2 ? 0.0 : -0.0; }),
    };
    for (const auto& x : data) {
      for (int64_t k : {int64_t{1}, n / 3, n - 1, n}) {
        check_one<float>(c, {x}, {false, true, k});
        check_one<float>(c, {x}, {true, false, k});
      }
    }
  });
}

// Lines of one scale each, as rows of a matrix have, and lines that differ from what the sample sees:
// bounds that fail, on either side.
TEST("selection: scores that mislead the sample") {
  at_every_level([](Context& c) {
    for (int64_t row : {16, 4096}) {
      const int64_t n = 60000;
      const auto x = list<float>(n, [row](int64_t i) { return noise(i) * std::exp(8 * noise(1000 + i / row)); });
      for (int64_t k : {int64_t{3}, n / 10, n / 2, n - n / 20}) check_one<float>(c, {x}, {true, true, k});
    }
    // The places that the sample reads, wherever they are, move no rank by much; everything else does.
    for (int64_t spared : {3, 5, 7}) {
      for (double other : {-1.0, 1.0}) {
        const auto x = list<float>(40000, [&](int64_t i) {
          return i / 16 % spared == 0 ? noise(i) : noise(i) * 1e-3 + other * 0.3;
        });
        for (int64_t k : {int64_t{100}, int64_t{4000}, int64_t{20000}}) check_one<float>(c, {x}, {false, true, k});
      }
    }
    // One line in 64 decides: the sample sees too few or too many of them.
    for (int64_t phase : {0, 21, 42}) {
      const auto x = list<float>(80000, [&](int64_t i) { return i / 16 % 64 == phase ? 1 + noise(i) : noise(i); });
      for (int64_t k : {int64_t{1248}, int64_t{1255}}) check_one<float>(c, {x}, {false, true, k});
    }
  });
}

TEST("selection: NaN is refused wherever it stands") {
  at_every_level([](Context& c) {
    for (int64_t n : {10, 50000}) {
      for (int64_t place : {int64_t{0}, n / 2 + 3, n - 1}) {
        auto x = list<float>(n, noise);
        x[place] = std::numeric_limits<float>::quiet_NaN();
        Status status;
        for (int64_t k : {int64_t{0}, n / 3, n}) {
          select<float>(c, {x}, {true, true, k}, &status);
          CHECK(status.code() == Code::numerical);
        }
      }
    }
  });
}

TEST("selection: NaN beside any other is found at every level") {
  at_every_level([](Context& c) {
    for (int64_t place = 0; place < 130; ++place) {
      auto x = list<float>(40000, noise);
      auto y = list<double>(40000, noise);
      x[size_t(20000 + place)] = std::numeric_limits<float>::quiet_NaN();
      y[size_t(20000 + place)] = -std::numeric_limits<double>::quiet_NaN();
      Status status;
      select<float>(c, {x}, {place % 2 == 0, true, 4000}, &status);
      CHECK(status.code() == Code::numerical);
      select<double>(c, {y}, {place % 2 == 0, false, 4000}, &status);
      CHECK(status.code() == Code::numerical);
    }
  });
}

TEST("selection: the same bits for any number of threads") {
  const auto x = list<float>(300001, noise);
  CHECK(same_for_any_threads([&](Context& c) {
    Status status;
    return select<float>(c, {x}, {true, true, 30000}, &status);
  }));
}

TEST("sortRows: as a stable sort with NaN last") {
  at_every_level([](Context& c) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const auto run = [&]<typename T>(T) {
      for (int64_t cols : {1, 7, 300, 3000}) {
        const int64_t rows = 3;
        const auto x = list<T>(rows * cols, [&](int64_t i) {
          return std::is_same_v<T, int32_t> || i % 11 != 3 ? std::floor(noise(i) * 50) / 50 : nan;
        });
        for (bool descending : {false, true}) {
          for (int64_t k : {int64_t{1}, (cols + 1) / 2, cols}) {
            std::vector<T> values(rows * k);
            std::vector<int32_t> indices(rows * k);
            CHECK(c.kernels.selection
                      .sort_rows(c, {dtype_of<T>, rows, cols, k, descending, x.data(), values.data(),
                                     indices.data()})
                      .ok());
            for (int64_t r = 0; r < rows; ++r) {
              std::vector<int64_t> order(cols);
              std::iota(order.begin(), order.end(), 0);
              std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
                const double u = plain(x[r * cols + a]), v = plain(x[r * cols + b]);
                const bool less = v != v ? u == u : u < v;
                const bool more = u != u ? v == v : u > v;
                return descending ? more : less;
              });
              bool same = true;
              for (int64_t i = 0; i < k; ++i) {
                const double v = plain(values[r * k + i]), u = plain(x[r * cols + order[i]]);
                same = same && indices[r * k + i] == order[i] && (v == u || (v != v && u != u));
              }
              CHECK(same);
            }
          }
        }
      }
    };
    run(1.0f);
    run(1.0);
    run(BFloat16{});
    run(int32_t{});
  });
}

TEST("selection: counts of magnitudes by upper and lower bits, for any number of threads") {
  for (int64_t n : {0, 1, 31, 1000, 300001}) {
    std::vector<float> x(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) x[size_t(i)] = static_cast<float>(noise(i) * (i % 9 == 0 ? 1e-6 : 1));
    if (n > 4) x[3] = 0.0f, x[4] = -0.0f;
    const int64_t upper = 0x3e80;  // [0.25, 0.25 + 2⁻⁹)
    std::vector<double> above(kMagnitudeUpper, 1), below(kMagnitudeLower, 2);
    for (float v : x) {
      const auto bits = std::bit_cast<uint32_t>(std::fabs(v));
      above[bits >> 16] += 1;
      if (bits >> 16 == upper) below[bits & 0xffff] += 1;
    }
    CHECK(same_for_any_threads([&](Context& c) {
      std::vector<double> first(kMagnitudeUpper, 1), second(kMagnitudeLower, 2);
      CHECK(c.kernels.selection.magnitude_counts(c, {n, x.data(), -1, first.data()}).ok());
      CHECK(c.kernels.selection.magnitude_counts(c, {n, x.data(), upper, second.data()}).ok());
      CHECK(first == above && second == below);
      return first;
    }));
  }
}
