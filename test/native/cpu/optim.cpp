#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "levels.h"
#include "numbers.h"

using namespace palimpsest;

namespace {

std::vector<float> wave(int64_t n, double phase) { return numbers<float>(n, 1.3, 1, 0, phase); }

// Sizes around vector widths and the task size; several in one call.
const std::vector<int64_t> kSizes = {0, 1, 17, 1000, 32768, 70001};

// A masked tensor with compact states, for one step of any optimizer.
struct Masked {
  int64_t n;
  std::vector<uint64_t> mask;
  std::vector<int64_t> on;
  std::vector<float> p0, g, m0, v0, p, m, v;

  Masked(int64_t size, int density)
      : n(size), mask(random_mask(n, 7, density)), p0(wave(n, 1)), g(wave(n, 2)), p(p0) {
    for (int64_t i = 0; i < n; ++i) {
      if (bit(mask, i)) on.push_back(i);
    }
    m = m0 = wave(static_cast<int64_t>(on.size()), 3);
    v0 = wave(static_cast<int64_t>(on.size()), 4);
    for (float& x : v0) x = std::fabs(x);
    v = v0;
  }

  // Whether what is off has its bits still.
  bool rest_stays() const {
    for (int64_t i = 0; i < n; ++i) {
      if (!bit(mask, i) && p[size_t(i)] != p0[size_t(i)]) return false;
    }
    return true;
  }
};

const int kDensities[] = {0, 3, 50, 100};

}  // namespace

TEST("optim: a list of tensors steps as float64 formulas do, one by one") {
  at_every_level([](Context& c) {
    for (bool amsgrad : {false, true}) {
      std::vector<std::vector<float>> p, g, m, v, top;
      std::vector<AdamWTensor> list;
      for (int64_t n : kSizes) {
        p.push_back(wave(n, 1));
        g.push_back(wave(n, 2));
        m.push_back(wave(n, 3));
        v.push_back(wave(n, 4));
        for (float& x : v.back()) x = std::fabs(x);
        top.push_back(wave(n, 5));
        for (float& x : top.back()) x = std::fabs(x);
      }
      const auto p0 = p, m0 = m, v0 = v, top0 = top;
      for (size_t i = 0; i < kSizes.size(); ++i) {
        list.push_back({kSizes[i], p[i].data(), g[i].data(), m[i].data(), v[i].data(),
                        amsgrad ? top[i].data() : nullptr, static_cast<int64_t>(i) + 1});
      }
      const AdamWArgs args{DType::f32, 0.1, 0.9, 0.99, 1e-3, 0.5, {0.25}, true, false};
      c.kernels.optim.adamw(c, args, list.data(), static_cast<int64_t>(list.size()));
      for (size_t i = 0; i < kSizes.size(); ++i) {
        const double t = static_cast<double>(i) + 1;
        for (int64_t j = 0; j < kSizes[i]; j += 13) {
          const double grad = 0.25 * g[i][j];
          const double m1 = 0.9 * m0[i][j] + 0.1 * grad;
          const double v1 = 0.99 * v0[i][j] + 0.01 * grad * grad;
          const double second = amsgrad ? std::max<double>(top0[i][j], v1) : v1;
          const double step = 0.1 / (1 - std::pow(0.9, t)) * m1 /
                              (std::sqrt(second / (1 - std::pow(0.99, t))) + 1e-3);
          CHECK_NEAR(p[i][j], p0[i][j] * 0.95 - step, 2e-6 * (1 + std::fabs(step)));
          CHECK_NEAR(m[i][j], m1, 1e-6);
          CHECK_NEAR(v[i][j], v1, 1e-6);
        }
      }
    }
  });
}

TEST("optim: SGD and Lion against float64") {
  at_every_level([](Context& c) {
    for (int64_t n : kSizes) {
      const auto p0 = wave(n, 1), g = wave(n, 2), b0 = wave(n, 3);
      for (bool nesterov : {false, true}) {
        for (int64_t step : {1, 2}) {
          auto p = p0, b = b0;
          const SgdTensor one{n, p.data(), g.data(), b.data(), step};
          c.kernels.optim.sgd(c, {DType::f32, 0.1, 0.9, 0.3, 0.2, {0.5}, nesterov, false}, &one, 1);
          for (int64_t j = 0; j < n; j += 7) {
            const double grad = 0.5 * g[j] + 0.2 * p0[j];
            const double buffer = step == 1 ? grad : 0.9 * b0[j] + 0.7 * grad;
            CHECK_NEAR(b[j], buffer, 1e-6);
            CHECK_NEAR(p[j], p0[j] - 0.1 * (nesterov ? grad + 0.9 * buffer : buffer), 1e-6);
          }
        }
      }
      auto p = p0, m = b0;
      const LionTensor one{n, p.data(), g.data(), m.data(), 1};
      c.kernels.optim.lion(c, {DType::f32, 0.1, 0.9, 0.99, 0.2, 1}, &one, 1);
      for (int64_t j = 0; j < n; j += 7) {
        const double u = 0.9 * b0[j] + 0.1 * g[j];
        if (std::fabs(u) > 1e-6) CHECK_NEAR(p[j], 0.98 * p0[j] - (u > 0 ? 0.1 : -0.1), 1e-6);
        CHECK_NEAR(m[j], 0.99 * b0[j] + 0.01 * g[j], 1e-6);
      }
    }
  });
}

TEST("optim: Muon's momentum and the decayed update by rows and columns") {
  at_every_level([](Context& c) {
    const int64_t rows = 5, cols = 37, n = rows * cols;
    const auto g = wave(n, 1), m0 = wave(n, 2), p0 = wave(n, 3), o = wave(n, 4), f = wave(n, 5);
    for (bool nesterov : {false, true}) {
      auto m = m0;
      std::vector<float> u(n);
      const MomentumTensor one{n, g.data(), m.data(), u.data(), 1};
      c.kernels.optim.momentum(c, {DType::f32, 0.9, 0.1, {0.5}, nesterov}, &one, 1);
      for (int64_t j = 0; j < n; ++j) {
        const double m1 = 0.9 * m0[j] + 0.05 * g[j];
        CHECK_NEAR(m[j], m1, 1e-6);
        CHECK_NEAR(u[j], nesterov ? 0.05 * g[j] + 0.9 * m1 : m1, 1e-6);
      }
    }
    for (bool cautious : {false, true}) {
      for (int which : {0, 1, 2}) {
        auto p = p0;
        c.kernels.optim.decayed_update(
            c, {rows, cols, p.data(), o.data(), which == 1 ? f.data() : nullptr,
                which == 2 ? f.data() : nullptr, 0.3, 0.1, cautious});
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t j = 0; j < cols; ++j) {
            const int64_t k = r * cols + j;
            const double factor = which == 1 ? f[r] : which == 2 ? f[j] : 1;
            const bool decays = !cautious || p0[k] * o[k] > 0;
            CHECK_NEAR(p[k], p0[k] * (decays ? 0.9 : 1) - 0.3 * factor * o[k], 1e-6);
          }
        }
      }
    }
  });
}

TEST("optim: bfloat16 state is rounded without bias, and slow averages arrive") {
  at_every_level([](Context& c) {
    const int64_t n = 4096;
    std::vector<float> p(n, 0), g(n, 0.5f);
    std::vector<BFloat16> m(n, BFloat16{0}), v(n, BFloat16{0});
    for (int64_t step = 1; step <= 3000; ++step) {
      const AdamWTensor one{n, p.data(), g.data(), m.data(), v.data(), nullptr, step};
      c.kernels.optim.adamw(c, {DType::bf16, 0, 0.9, 0.999, 1e-8, 0, {1}, true, false}, &one, 1);
    }
    double mean_m = 0, mean_v = 0;
    for (int64_t i = 0; i < n; ++i) {
      mean_m += to_float(m[i]) / n;
      mean_v += to_float(v[i]) / n;
    }
    CHECK_NEAR(mean_m, 0.5, 1e-3);
    CHECK_NEAR(mean_v, 0.25 * (1 - std::pow(0.999, 3000)), 1e-3);
  });
}

TEST("optim: sums of squares tell what is not finite, and never overflow") {
  at_every_level([](Context& c) {
    std::vector<std::vector<float>> g;
    std::vector<GradientTensor> list;
    for (int64_t n : kSizes) g.push_back(wave(n, 1));
    g.push_back({1e30f, -1e30f, 1e-30f});
    g.push_back({1, std::numeric_limits<float>::quiet_NaN()});
    g.push_back({-std::numeric_limits<float>::infinity(), 1});
    for (const auto& x : g) list.push_back({static_cast<int64_t>(x.size()), x.data()});
    std::vector<double> squares(list.size());
    c.kernels.optim.sum_of_squares(c, list.data(), static_cast<int64_t>(list.size()),
                                   squares.data());
    for (size_t i = 0; i < kSizes.size(); ++i) {
      double sum = 0;
      for (float x : g[i]) sum += double(x) * x;
      CHECK_NEAR(squares[i], sum, 1e-12 * (1 + sum));
    }
    CHECK_NEAR(squares[kSizes.size()] / 2e60, 1, 1e-6);
    CHECK(std::isnan(squares[kSizes.size() + 1]));
    CHECK(std::isinf(squares[kSizes.size() + 2]));
  });
}

TEST("optim: the same bits for any number of threads, with bfloat16 state too") {
  CHECK(same_for_any_threads([](Context& c) {
    std::vector<float> all;
    for (DType state : {DType::f32, DType::bf16}) {
      std::vector<std::vector<float>> p, g;
      std::vector<std::vector<uint64_t>> m, v;  // room for either type
      std::vector<AdamWTensor> list;
      for (int64_t n : kSizes) {
        p.push_back(wave(n, 1));
        g.push_back(wave(n, 2));
        m.emplace_back(n);
        v.emplace_back(n);
      }
      for (size_t i = 0; i < kSizes.size(); ++i) {
        list.push_back(
            {kSizes[i], p[i].data(), g[i].data(), m[i].data(), v[i].data(), nullptr, 3});
      }
      const AdamWArgs args{state, 0.1, 0.9, 0.99, 1e-8, 0, {1}, true, false};
      for (int k = 0; k < 3; ++k) {
        c.kernels.optim.adamw(c, args, list.data(), static_cast<int64_t>(list.size()));
      }
      for (const auto& x : p) all.insert(all.end(), x.begin(), x.end());
    }
    return all;
  }));
}

TEST("optim: a masked AdamW steps what is on, with compact state in either type, and nothing else") {
  at_every_level([](Context& c) {
    for (int64_t n : kSizes) {
      for (int density : kDensities) {
        Masked x(n, density);
        AdamWTensor one{n, x.p.data(), x.g.data(), x.m.data(), x.v.data(), nullptr, 2, x.mask.data()};
        AdamWArgs args{DType::f32, 0.1, 0.9, 0.99, 1e-3, 0.5, {0.25}, true, false};
        c.kernels.optim.adamw(c, args, &one, 1);
        CHECK(x.rest_stays());
        std::vector<BFloat16> m16, v16;
        for (size_t k = 0; k < x.on.size(); ++k) {
          const size_t i = size_t(x.on[k]);
          const double grad = 0.25 * x.g[i];
          const double m = 0.9 * x.m0[k] + 0.1 * grad, v = 0.99 * x.v0[k] + 0.01 * grad * grad;
          const double step = 0.1 / (1 - 0.81) * m / (std::sqrt(v / (1 - 0.9801)) + 1e-3);
          CHECK_NEAR(x.p[i], x.p0[i] * 0.95 - step, 2e-6 * (1 + std::fabs(step)));
          CHECK_NEAR(x.m[k], m, 1e-6);
          CHECK_NEAR(x.v[k], v, 1e-6);
          m16.push_back(to_bf16(x.m0[k]));
          v16.push_back(to_bf16(x.v0[k]));
        }
        const auto m0 = m16, v0 = v16;
        x.p = x.p0;
        one.m = m16.data();
        one.v = v16.data();
        args.state = DType::bf16;
        c.kernels.optim.adamw(c, args, &one, 1);
        CHECK(x.rest_stays());
        for (size_t k = 0; k < x.on.size(); ++k) {
          const size_t i = size_t(x.on[k]);
          const double grad = 0.25 * x.g[i];
          const double m = 0.9 * to_float(m0[k]) + 0.1 * grad;
          const double v = 0.99 * to_float(v0[k]) + 0.01 * grad * grad;
          const double step = 0.1 / (1 - 0.81) * m / (std::sqrt(v / (1 - 0.9801)) + 1e-3);
          CHECK_NEAR(x.p[i], x.p0[i] * 0.95 - step, 2e-6 * (1 + std::fabs(step)));
          // Rounded to one of the two neighbours.
          CHECK_NEAR(to_float(m16[k]), m, std::fabs(m) / 128 + 1e-7);
          CHECK_NEAR(to_float(v16[k]), v, v / 128 + 1e-7);
        }
      }
    }
  });
}

TEST("optim: masked SGD and Lion against float64") {
  at_every_level([](Context& c) {
    for (int64_t n : kSizes) {
      for (int density : kDensities) {
        for (bool nesterov : {false, true}) {
          Masked x(n, density);
          const SgdTensor one{n, x.p.data(), x.g.data(), x.m.data(), 2, x.mask.data()};
          c.kernels.optim.sgd(c, {DType::f32, 0.1, 0.9, 0.3, 0.2, {0.5}, nesterov, false}, &one, 1);
          CHECK(x.rest_stays());
          for (size_t k = 0; k < x.on.size(); ++k) {
            const size_t i = size_t(x.on[k]);
            const double grad = 0.5 * x.g[i] + 0.2 * x.p0[i], buffer = 0.9 * x.m0[k] + 0.7 * grad;
            CHECK_NEAR(x.m[k], buffer, 1e-6);
            CHECK_NEAR(x.p[i], x.p0[i] - 0.1 * (nesterov ? grad + 0.9 * buffer : buffer), 1e-6);
          }
        }
        Masked plain(n, density);
        const SgdTensor without{n, plain.p.data(), plain.g.data(), nullptr, 1, plain.mask.data()};
        c.kernels.optim.sgd(c, {DType::f32, 0.1, 0, 0, 0.2, {1}, false, false}, &without, 1);
        CHECK(plain.rest_stays());
        for (int64_t i : plain.on) {
          CHECK_NEAR(plain.p[size_t(i)], 0.98 * plain.p0[size_t(i)] - 0.1 * plain.g[size_t(i)], 1e-6);
        }
        Masked x(n, density);
        const LionTensor one{n, x.p.data(), x.g.data(), x.m.data(), 1, x.mask.data()};
        c.kernels.optim.lion(c, {DType::f32, 0.1, 0.9, 0.99, 0.2, 1}, &one, 1);
        CHECK(x.rest_stays());
        for (size_t k = 0; k < x.on.size(); ++k) {
          const size_t i = size_t(x.on[k]);
          const double u = 0.9 * x.m0[k] + 0.1 * x.g[i];
          if (std::fabs(u) > 1e-6) CHECK_NEAR(x.p[i], 0.98 * x.p0[i] - (u > 0 ? 0.1 : -0.1), 1e-6);
          CHECK_NEAR(x.m[k], 0.99 * x.m0[k] + 0.01 * x.g[i], 1e-6);
        }
      }
    }
  });
}

TEST("optim: sums of squares under a mask are those of what is on") {
  at_every_level([](Context& c) {
    for (int64_t n : kSizes) {
      for (int density : kDensities) {
        Masked x(n, density);
        double sum = 0, found = -1;
        for (int64_t i : x.on) sum += double(x.g[size_t(i)]) * x.g[size_t(i)];
        // What is off may be anything.
        for (int64_t i = 0; i < n; ++i) {
          if (!bit(x.mask, i)) x.g[size_t(i)] = std::numeric_limits<float>::quiet_NaN();
        }
        const GradientTensor one{n, x.g.data(), x.mask.data()};
        c.kernels.optim.sum_of_squares(c, &one, 1, &found);
        CHECK_NEAR(found, sum, 1e-12 * (1 + sum));
      }
    }
  });
}

TEST("optim: what a look at the gradients kept, compact, steps as the gradients do, to the bit") {
  at_every_level([](Context& c) {
    CHECK(c.kernels.optim.keeps_compact);
    for (int64_t n : kSizes) {
      for (int density : kDensities) {
        Masked x(n, density), y(n, density);
        const auto on = static_cast<int64_t>(x.on.size());
        std::vector<float> kept(x.on.size() + 16, -7);
        double whole = 0, squares = -1;
        GradientTensor gradient{n, x.g.data(), x.mask.data(), on, nullptr};
        c.kernels.optim.sum_of_squares(c, &gradient, 1, &whole);
        gradient.compact = kept.data();
        c.kernels.optim.sum_of_squares(c, &gradient, 1, &squares);
        CHECK(squares == whole);
        for (size_t k = 0; k < kept.size(); ++k) {
          CHECK(kept[k] == (k < x.on.size() ? x.g[size_t(x.on[k])] : -7));
        }
        const std::vector<float> unread(size_t(n), std::numeric_limits<float>::quiet_NaN());
        const auto step = [&](Masked& t, const float* g, const float* compact) {
          AdamWTensor a{n, t.p.data(), g, t.m.data(), t.v.data(), nullptr, 2, t.mask.data(), compact};
          c.kernels.optim.adamw(c, {DType::f32, 0.1, 0.9, 0.99, 1e-3, 0.5, {0.25}, true, false}, &a, 1);
          SgdTensor s{n, t.p.data(), g, t.m.data(), 2, t.mask.data(), compact};
          c.kernels.optim.sgd(c, {DType::f32, 0.1, 0.9, 0.3, 0.2, {0.5}, true, false}, &s, 1);
          LionTensor l{n, t.p.data(), g, t.m.data(), 1, t.mask.data(), compact};
          c.kernels.optim.lion(c, {DType::f32, 0.1, 0.9, 0.99, 0.2, 1}, &l, 1);
        };
        step(x, x.g.data(), nullptr);
        step(y, unread.data(), kept.data());
        CHECK(x.p == y.p && x.m == y.m && x.v == y.v);
      }
    }
  });
}

TEST("optim: lists that mix masked and whole tensors, of any size, step as one by one") {
  CHECK(same_for_any_threads([](Context& c) {
    std::vector<Masked> own, all;
    for (int64_t n : kSizes) own.emplace_back(n, 30);
    all = own;
    std::vector<AdamWTensor> list;
    std::vector<GradientTensor> gradients;
    const AdamWArgs args{DType::f32, 0.1, 0.9, 0.99, 1e-3, 0.5, {0.25}, true, false};
    const auto tensor = [](Masked& x, bool masked) {
      // A whole tensor's states are as long as it.
      if (!masked) x.m = x.v = x.g;
      for (float& v : x.v) v = std::fabs(v);
      return AdamWTensor{x.n, x.p.data(), x.g.data(), x.m.data(), x.v.data(), nullptr, 2,
                         masked ? x.mask.data() : nullptr};
    };
    std::vector<double> squares(own.size()), single(own.size());
    for (size_t i = 0; i < own.size(); ++i) {
      const bool masked = i % 2 == 1;
      const auto one = tensor(own[i], masked);
      c.kernels.optim.adamw(c, args, &one, 1);
      list.push_back(tensor(all[i], masked));
      gradients.push_back({all[i].n, all[i].g.data(), masked ? all[i].mask.data() : nullptr});
      c.kernels.optim.sum_of_squares(c, &gradients[i], 1, &single[i]);
    }
    c.kernels.optim.adamw(c, args, list.data(), static_cast<int64_t>(list.size()));
    c.kernels.optim.sum_of_squares(c, gradients.data(), static_cast<int64_t>(list.size()), squares.data());
    CHECK(squares == single);
    std::vector<float> bits;
    for (size_t i = 0; i < own.size(); ++i) {
      CHECK(own[i].p == all[i].p && own[i].m == all[i].m && own[i].v == all[i].v);
      bits.insert(bits.end(), all[i].p.begin(), all[i].p.end());
    }
    return bits;
  }));
}

TEST("optim: the Fisher average of one gradient and of many against float64") {
  at_every_level([](Context& c) {
    for (int64_t n : kSizes) {
      for (int64_t samples : {1, 2, 9}) {
        auto f = wave(n, 1);
        for (float& x : f) x = std::fabs(x);
        const auto f0 = f, g = wave(n * samples, 2);
        c.kernels.optim.fisher(c, {n, samples, g.data(), f.data(), 0.75, 0.25 / double(samples)});
        for (int64_t i = 0; i < n; ++i) {
          double sum = 0;
          for (int64_t s = 0; s < samples; ++s) sum += double(g[size_t(s * n + i)]) * g[size_t(s * n + i)];
          CHECK_NEAR(f[size_t(i)], 0.75 * f0[size_t(i)] + 0.25 / double(samples) * sum, 1e-6);
        }
      }
    }
  });
}

TEST("optim: NorMuon's factors of neurons against float64") {
  at_every_level([](Context& c) {
    for (double norm : {0.0, 5.0}) {
      const int64_t neurons = 37, inputs = 11;
      auto squares = wave(neurons, 1), second = wave(neurons, 2);
      for (auto* list : {&squares, &second}) {
        for (float& x : *list) x = std::fabs(x);
      }
      const auto v0 = second;
      std::vector<float> factors(neurons);
      CHECK(c.kernels.optim
                .neuron_factors(c, {neurons, inputs, squares.data(), second.data(), factors.data(), 0.9,
                                    1e-8, norm})
                .ok());
      double before = 0, after = 0, check = 0;
      std::vector<double> truth;
      for (int64_t i = 0; i < neurons; ++i) {
        const double v = 0.9 * v0[size_t(i)] + 0.1 * squares[size_t(i)] / inputs;
        CHECK_NEAR(second[size_t(i)], v, 1e-6);
        truth.push_back(1 / (std::sqrt(v) + 1e-8));
        before += squares[size_t(i)];
        after += squares[size_t(i)] * truth.back() * truth.back();
      }
      const double scale = (norm > 0 ? norm : std::sqrt(before)) / std::sqrt(after);
      for (int64_t i = 0; i < neurons; ++i) {
        CHECK_NEAR(factors[size_t(i)], scale * truth[size_t(i)], 1e-5 * scale * truth[size_t(i)]);
        check += squares[size_t(i)] * double(factors[size_t(i)]) * factors[size_t(i)];
      }
      CHECK_NEAR(std::sqrt(check), norm > 0 ? norm : std::sqrt(before), 1e-4);
    }
  });
}

TEST("optim: masked steps and Fisher have the same bits for any number of threads") {
  CHECK(same_for_any_threads([](Context& c) {
    std::vector<float> all;
    for (int density : {3, 50}) {
      Masked x(70001, density);
      const AdamWTensor one{x.n, x.p.data(), x.g.data(), x.m.data(), x.v.data(), nullptr, 2, x.mask.data()};
      c.kernels.optim.adamw(c, {DType::f32, 0.1, 0.9, 0.99, 1e-3, 0.5, {0.25}, true, false}, &one, 1);
      c.kernels.optim.fisher(c, {x.n / 7, 7, x.g.data(), x.p0.data(), 0.5, 0.1});
      for (const auto* list : {&x.p, &x.m, &x.v, &x.p0}) all.insert(all.end(), list->begin(), list->end());
    }
    return all;
  }));
}
