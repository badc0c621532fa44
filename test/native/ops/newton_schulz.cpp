// Newton–Schulz of every level and form against the plain formula in float64.
#include "palimpsest/ops/newton_schulz.h"

#include <cmath>
#include <utility>
#include <vector>

#include "check.h"
#include "levels.h"

using namespace palimpsest;

namespace {

constexpr Quintic kKeller[] = {{3.4445, -4.775, 2.0315}, {3.4445, -4.775, 2.0315},
                               {3.4445, -4.775, 2.0315}, {3.4445, -4.775, 2.0315},
                               {3.4445, -4.775, 2.0315}, {3.4445, -4.775, 2.0315},
                               {3.4445, -4.775, 2.0315}};

struct Random {
  uint64_t state = 11;
  double operator()() {
    double sum = 0;
    for (int i = 0; i < 4; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<double>(state >> 40) / static_cast<double>(1 << 24) - 0.5;
    }
    return sum;
  }
};

using Values = std::vector<double>;

// d = a·b + beta·d, with a m×k and b k×n.
void multiply(const Values& a, const Values& b, Values& d, int64_t m, int64_t k, int64_t n,
              double alpha = 1, double beta = 0) {
  for (int64_t i = 0; i < m; ++i) {
    Values line(static_cast<size_t>(n));
    for (int64_t l = 0; l < k; ++l) {
      const double x = a[size_t(i * k + l)];
      for (int64_t j = 0; j < n; ++j) line[size_t(j)] += x * b[size_t(l * n + j)];
    }
    for (int64_t j = 0; j < n; ++j) {
      double& to = d[size_t(i * n + j)];
      to = alpha * line[size_t(j)] + (beta == 0 ? 0 : beta * to);
    }
  }
}

Values transposed(const Values& a, int64_t m, int64_t n) {
  Values t(a.size());
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) t[size_t(j * m + i)] = a[size_t(i * n + j)];
  }
  return t;
}

double norm_of(const Values& x) {
  double squares = 0;
  for (double v : x) squares += v * v;
  return std::sqrt(squares);
}

Values exact(Values x, int64_t m, int64_t n, int steps, Normalization how = Normalization::frobenius) {
  if (m > n) return transposed(exact(transposed(x, m, n), n, m, steps, how), n, m);
  const double norm = norm_of(x);
  for (double& v : x) v /= norm;
  Values a(size_t(m * m)), b(size_t(m * m));
  multiply(x, transposed(x, m, n), a, m, n, m);
  if (how == Normalization::gelfand) {
    multiply(a, a, b, m, m, m);
    const double bound = std::pow(norm_of(b), 0.25);
    for (double& v : x) v /= bound;
  }
  for (int64_t i = 0; i < m && how == Normalization::aol; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < m; ++j) sum += std::fabs(a[size_t(i * m + j)]);
    for (int64_t j = 0; j < n; ++j) x[size_t(i * n + j)] /= std::sqrt(sum);
  }
  for (int i = 0; i < steps; ++i) {
    multiply(x, transposed(x, m, n), a, m, n, m);
    b = a;
    multiply(a, a, b, m, m, m, kKeller[i].c, kKeller[i].b);
    Values next = x;
    multiply(b, x, next, m, m, n, 1, kKeller[i].a);
    x = next;
  }
  return x;
}

enum class Spectrum { random, decaying, deficient };

std::vector<float> matrix(Spectrum spectrum, int64_t m, int64_t n, double size) {
  Random random;
  const int64_t inner = std::min(m, n) / (spectrum == Spectrum::deficient ? 4 : 1);
  Values left(size_t(m * inner)), right(size_t(inner * n)), x(size_t(m * n));
  for (double& v : right) v = random();
  for (int64_t i = 0; i < m * inner; ++i) {
    const double decay = spectrum == Spectrum::decaying
                             ? std::pow(1e-4, double(i % inner) / double(inner - 1)) : 1.0;
    left[size_t(i)] = random() * decay;
  }
  if (spectrum == Spectrum::random) {
    for (double& v : x) v = random();
  } else {
    multiply(left, right, x, m, inner, n);
  }
  std::vector<float> values(x.size());
  for (size_t i = 0; i < x.size(); ++i) values[i] = static_cast<float>(x[i] * size);
  return values;
}

double error_of(const float* got, const Values& wanted) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    difference += (got[i] - wanted[i]) * (got[i] - wanted[i]);
    size += wanted[i] * wanted[i];
  }
  return std::sqrt(difference / size);
}

NewtonSchulzArgs arguments(std::vector<float>& x, std::vector<float>& out, int64_t batch, int64_t m,
                           int64_t n, int steps, Compute compute, NewtonSchulzMethod method) {
  NewtonSchulzArgs args;
  args.x = row_major(x.data(), m, n);
  args.out = row_major(out.data(), m, n);
  args.batch = batch;
  args.steps = kKeller;
  args.step_count = steps;
  args.compute = compute;
  args.method = method;
  return args;
}

constexpr NewtonSchulzMethod kMethods[] = {NewtonSchulzMethod::direct, NewtonSchulzMethod::gram};

}  // namespace

TEST("Newton–Schulz: every form, shape, spectrum and scale against float64") {
  struct Case {
    Spectrum spectrum;
    // What rounding x to bfloat16 alone costs is most of the second bound: small singular values drown.
    double float32, bfloat16;
  };
  const Case cases[] = {{Spectrum::random, 3e-6, 0.02},
                        {Spectrum::decaying, 1e-5, 0.15},
                        {Spectrum::deficient, 1.5e-5, 0.31}};
  for (const auto& [m, n] : {std::pair{40, 40}, {36, 130}, {130, 36}}) {
    for (const Case& c : cases) {
      for (double size : {1.0, 1e-20, 1e20}) {
        std::vector<float> x = matrix(c.spectrum, m, n, size);
        const Values wanted = exact(Values(x.begin(), x.end()), m, n, 5);
        at_every_level([&](Context& context) {
          for (NewtonSchulzMethod method : kMethods) {
            for (Compute compute : {Compute::f32, Compute::bf16}) {
              std::vector<float> out(x.size());
              CHECK(orthogonalize(context, arguments(x, out, 1, m, n, 5, compute, method)).ok());
              CHECK(error_of(out.data(), wanted) <=
                    (compute == Compute::f32 ? c.float32 : c.bfloat16));
            }
          }
        });
      }
    }
  }
}

TEST("Newton–Schulz: any number of steps, in place, members of a batch each by itself") {
  const int64_t m = 20, n = 50;
  for (int steps : {0, 1, 2, 3, 4, 6, 7}) {
    std::vector<float> first = matrix(Spectrum::random, m, n, 1);
    std::vector<float> second = matrix(Spectrum::random, m, n, 3e-4);
    for (float& v : second) v = v * v * 1e4f + 1e-5f;
    const Values wanted1 = exact(Values(first.begin(), first.end()), m, n, steps);
    const Values wanted2 = exact(Values(second.begin(), second.end()), m, n, steps);
    at_every_level([&](Context& context) {
      for (NewtonSchulzMethod method : kMethods) {
        std::vector<float> both = first;
        both.insert(both.end(), second.begin(), second.end());
        CHECK(orthogonalize(context, arguments(both, both, 2, m, n, steps, Compute::f32, method)).ok());
        CHECK(error_of(both.data(), wanted1) < 2e-4);
        CHECK(error_of(both.data() + m * n, wanted2) < 2e-3);
      }
    });
  }
}

TEST("Newton–Schulz: other normalizations, of any scale, on the short side") {
  for (const auto& [m, n] : {std::pair{40, 40}, {36, 130}, {130, 36}}) {
    for (double size : {1.0, 1e-20}) {
      std::vector<float> x = matrix(Spectrum::random, m, n, size);
      for (int64_t i = 0; i < n; ++i) x[size_t(i)] *= 3;  // rows differ
      for (Normalization how : {Normalization::gelfand, Normalization::aol}) {
        const Values wanted = exact(Values(x.begin(), x.end()), m, n, 3, how);
        at_every_level([&](Context& context) {
          for (NewtonSchulzMethod method : kMethods) {
            for (Compute compute : {Compute::f32, Compute::bf16}) {
              std::vector<float> both = x;
              both.insert(both.end(), x.rbegin(), x.rend());
              auto args = arguments(both, both, 2, m, n, 3, compute, method);
              args.normalization = how;
              CHECK(orthogonalize(context, args).ok());
              CHECK(error_of(both.data(), wanted) <= (compute == Compute::f32 ? 3e-6 : 0.025));
              std::vector<float> zero(size_t(m * n)), out(size_t(m * n), 7.0f);
              args = arguments(zero, out, 1, m, n, 3, compute, method);
              args.normalization = how;
              CHECK(orthogonalize(context, args).ok());
              for (float v : out) CHECK(v == 0);
            }
          }
        });
      }
    }
  }
}

TEST("Newton–Schulz: zero stays zero, NaN is refused or passed on, the result untouched") {
  at_every_level([&](Context& context) {
    for (Compute compute : {Compute::f32, Compute::bf16}) {
      std::vector<float> zero(8 * 8), out(8 * 8, 7);
      auto args = arguments(zero, out, 1, 8, 8, 5, compute, NewtonSchulzMethod::automatic);
      CHECK(orthogonalize(context, args).ok());
      for (float v : out) CHECK(v == 0);
      out.assign(64, 7);
      zero[3] = std::nanf("");
      CHECK(orthogonalize(context, args).code() == Code::numerical);
      for (float v : out) CHECK(v == 7);
      args.allow_nonfinite = true;
      CHECK(orthogonalize(context, args).ok());
      CHECK(std::isnan(out[0]));
    }
  });
}

TEST("Newton–Schulz: the same bits for any number of threads") {
  CHECK(same_for_any_threads([](Context& context) {
    std::vector<float> x = matrix(Spectrum::random, 70, 240, 1), out(x.size());
    std::vector<float> all;
    for (NewtonSchulzMethod method : kMethods) {
      for (Compute compute : {Compute::f32, Compute::bf16}) {
        for (Normalization how : {Normalization::frobenius, Normalization::gelfand, Normalization::aol}) {
          auto args = arguments(x, out, 1, 70, 240, 5, compute, method);
          args.normalization = how;
          CHECK(orthogonalize(context, args).ok());
          all.insert(all.end(), out.begin(), out.end());
        }
      }
    }
    return all;
  }));
}
