// Every matrix product of every level against sums in f64.
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

using namespace palimpsest;

namespace {

// A small generator of its own, so that these tests rest on nothing else.
struct Random {
  uint64_t state;
  double operator()() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(state >> 40) / static_cast<double>(1 << 23) - 1;
  }
};

enum class Layout { rows, cols, rows_padded, cols_padded, strided, reversed };

// A matrix with its own memory; gaps hold NaN, so that a kernel that reads or writes them is seen.
struct Owned {
  DType dtype;
  std::vector<double> values;  // batch × rows × cols, as stored (rounded to dtype)
  std::vector<std::byte> bytes;
  Matrix view;
  int64_t batch;
  int64_t origin = 0;  // element index of [0, 0, 0]
  int64_t elements = 0;

  Owned(DType type, int64_t rows, int64_t cols, Layout layout, int64_t batches)
      : dtype(type), batch(batches) {
    view.dtype = type;
    view.rows = rows;
    view.cols = cols;
    switch (layout) {
      case Layout::rows: view.row_stride = cols; view.col_stride = 1; break;
      case Layout::cols: view.row_stride = 1; view.col_stride = rows; break;
      case Layout::rows_padded: view.row_stride = cols + 3; view.col_stride = 1; break;
      case Layout::cols_padded: view.row_stride = 1; view.col_stride = rows + 5; break;
      case Layout::strided: view.row_stride = 2 * cols + 1; view.col_stride = 2; break;
      case Layout::reversed: view.row_stride = -cols; view.col_stride = 1; break;
    }
    const int64_t row_extent = rows > 0 ? (rows - 1) * std::abs(view.row_stride) : 0;
    const int64_t col_extent = cols > 0 ? (cols - 1) * view.col_stride : 0;
    const int64_t extent = row_extent + col_extent + 1;
    view.batch_stride = extent + 2;
    elements = batches * view.batch_stride + 1;
    origin = 1 + (layout == Layout::reversed ? row_extent : 0);
    bytes.resize(static_cast<size_t>(elements) * size_of(type));
    for (int64_t i = 0; i < elements; ++i) put(i, std::nan(""));
    view.data = bytes.data() + origin * static_cast<int64_t>(size_of(type));
    values.resize(static_cast<size_t>(batches * rows * cols));
  }

  void put(int64_t at, double x) {
    switch (dtype) {
      case DType::f64: reinterpret_cast<double*>(bytes.data())[at] = x; break;
      case DType::bf16:
        reinterpret_cast<BFloat16*>(bytes.data())[at] = to_bf16(static_cast<float>(x));
        break;
      default: reinterpret_cast<float*>(bytes.data())[at] = static_cast<float>(x);
    }
  }
  double get(int64_t at) const {
    switch (dtype) {
      case DType::f64: return reinterpret_cast<const double*>(bytes.data())[at];
      case DType::bf16: return to_float(reinterpret_cast<const BFloat16*>(bytes.data())[at]);
      default: return reinterpret_cast<const float*>(bytes.data())[at];
    }
  }
  int64_t index(int64_t b, int64_t i, int64_t j) const {
    return origin + b * view.batch_stride + i * view.row_stride + j * view.col_stride;
  }
  double& value(int64_t b, int64_t i, int64_t j) {
    return values[static_cast<size_t>((b * view.rows + i) * view.cols + j)];
  }
  void set(int64_t b, int64_t i, int64_t j, double x) {
    put(index(b, i, j), x);
    value(b, i, j) = get(index(b, i, j));
  }
  void fill(Random& random) {
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t i = 0; i < view.rows; ++i) {
        for (int64_t j = 0; j < view.cols; ++j) set(b, i, j, random());
      }
    }
  }
  // Elements that belong to no matrix still hold NaN.
  bool gaps_untouched() const {
    std::vector<bool> inside(static_cast<size_t>(elements));
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t i = 0; i < view.rows; ++i) {
        for (int64_t j = 0; j < view.cols; ++j) inside[static_cast<size_t>(index(b, i, j))] = true;
      }
    }
    for (int64_t i = 0; i < elements; ++i) {
      if (!inside[static_cast<size_t>(i)] && !std::isnan(get(i))) return false;
    }
    return true;
  }
};

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x < 0 ? 0 : x;
    case Activation::gelu: return 0.5 * x * (1 + std::erf(x * std::sqrt(0.5)));
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
    case Activation::sigmoid: return 1 / (1 + std::exp(-x));
  }
  return x;
}

struct Case {
  int64_t m = 5, n = 7, k = 3;
  DType in_a = DType::f32, in_b = DType::f32, out = DType::f32, add = DType::f32;
  bool bf16 = false;  // which kernel of those that take f32
  bool mixed = false;
  Layout a = Layout::rows, b = Layout::rows, c = Layout::rows, d = Layout::rows;
  double alpha = 1, beta = 0;
  bool adds_c = false, aliased = false, bias = false, symmetric = false;
  Activation activation = Activation::none;
  int64_t batch = 1;
  bool scaled = false;  // a factor and a beta for each matrix of the batch
};

GemmKernel kernel_of(const KernelTable& table, const Case& t) {
  if (t.in_a == DType::f64) return table.gemm.f64;
  if (t.mixed) return table.gemm.mixed;
  return t.bf16 ? table.gemm.bf16 : table.gemm.f32;
}

std::string describe(const Case& t, CpuLevel level) {
  return std::string(name_of(level)) + " " + std::to_string(t.m) + "x" + std::to_string(t.n) + "x" +
         std::to_string(t.k) + " layouts " + std::to_string(int(t.a)) + std::to_string(int(t.b)) +
         std::to_string(int(t.c)) + std::to_string(int(t.d)) + " types " + name_of(t.in_a) + " " +
         name_of(t.in_b) + " " + name_of(t.out) + (t.bf16 ? " bf16" : "") +
         (t.symmetric ? " symmetric" : "") + (t.aliased ? " aliased" : "") + " activation " +
         std::to_string(int(t.activation)) + " batch " + std::to_string(t.batch);
}

double rounded(double x, bool to_bf16_first) {
  return to_bf16_first ? to_float(to_bf16(static_cast<float>(x))) : x;
}

void run(const Case& t, const std::vector<int>& threads = {2}) {
  Random random{static_cast<uint64_t>(t.m * 1000003 + t.n * 1009 + t.k)};
  Owned a(t.in_a, t.m, t.k, t.a, t.batch);
  Owned b(t.in_b, t.k, t.n, t.b, t.batch);
  Owned c(t.aliased ? t.out : t.add, t.m, t.n, t.aliased ? t.d : t.c, t.batch);
  a.fill(random);
  b.fill(random);
  c.fill(random);
  if (t.symmetric) {  // B = Aᵀ, C = Cᵀ
    for (int64_t x = 0; x < t.batch; ++x) {
      for (int64_t i = 0; i < t.m; ++i) {
        for (int64_t l = 0; l < t.k; ++l) b.set(x, l, i, a.value(x, i, l));
        for (int64_t j = 0; j < i; ++j) c.set(x, j, i, c.value(x, i, j));
      }
    }
  }
  std::vector<double> bias64(static_cast<size_t>(t.n));
  std::vector<float> bias32(static_cast<size_t>(t.n));
  for (size_t j = 0; j < bias64.size(); ++j) {
    bias64[j] = random();
    bias32[j] = static_cast<float>(bias64[j]);
    if (t.in_a != DType::f64) bias64[j] = bias32[j];
  }

  std::vector<double> expected, bound;
  std::vector<double> scales, betas;
  for (int64_t x = 0; x < t.batch && t.scaled; ++x) {
    scales.push_back(0.5 + random());
    betas.push_back(t.beta + random());
  }
  const double epsilon = t.in_a == DType::f64 ? 3e-16 : t.mixed ? 8e-6 : 8e-8;
  for (int64_t x = 0; x < t.batch; ++x) {
    for (int64_t i = 0; i < t.m; ++i) {
      for (int64_t j = 0; j < t.n; ++j) {
        double sum = 0, size = 0;
        for (int64_t l = 0; l < t.k; ++l) {
          const double p = rounded(a.value(x, i, l), t.bf16) * rounded(b.value(x, l, j), t.bf16);
          sum += p;
          size += std::fabs(p);
        }
        const double scale = t.scaled ? scales[size_t(x)] : 1;
        sum *= t.alpha * scale;
        size *= std::fabs(t.alpha * scale);
        if (t.adds_c) {
          const double beta = t.scaled ? betas[size_t(x)] : t.beta;
          sum += scale * beta * c.value(x, i, j);
          size += std::fabs(scale * beta * c.value(x, i, j));
        }
        if (t.bias) sum += bias64[static_cast<size_t>(j)], size += 1;
        const double y = activated(t.activation, sum);
        expected.push_back(y);
        // Rounding errors of a sum grow at most like its length, in practice like its root; the
        // last term is the rounding of the result itself.
        bound.push_back(epsilon * (2 * std::sqrt(double(t.k)) + 8) * (size + 1e-3) +
                        (t.out == DType::bf16 ? std::fabs(y) / 256 : 0) +
                        (t.out == DType::bf16 && t.beta != 0 ? 1e-7 : 0));
      }
    }
  }

  for (CpuLevel level : available_cpu_levels()) {
    std::vector<std::byte> first;
    for (int count : threads) {
      Owned d(t.out, t.m, t.n, t.d, t.batch);
      if (t.aliased) d.bytes = c.bytes, d.view.data = d.bytes.data() + d.origin * int64_t(size_of(t.out));
      Workspace workspace;
      Context context(cpu_kernels(level), workspace, count);
      GemmArgs args;
      args.a = a.view;
      args.b = b.view;
      args.d = d.view;
      if (t.adds_c) args.c = t.aliased ? d.view : c.view;
      args.alpha = t.alpha;
      args.beta = t.beta;
      if (t.bias) {
        args.bias = t.in_a == DType::f64 ? static_cast<const void*>(bias64.data()) : bias32.data();
      }
      args.activation = t.activation;
      args.symmetric = t.symmetric;
      args.batch = t.batch;
      if (t.scaled) args.scales = scales.data(), args.betas = betas.data();
      const bool ok = kernel_of(context.kernels, t)(context, args).ok();
      size_t wrong = 0;
      double worst = 0;
      for (int64_t x = 0, at = 0; x < t.batch; ++x) {
        for (int64_t i = 0; i < t.m; ++i) {
          for (int64_t j = 0; j < t.n; ++j, ++at) {
            const double error = std::fabs(d.get(d.index(x, i, j)) - expected[size_t(at)]);
            if (!(error <= bound[size_t(at)])) ++wrong, worst = error;
            if (t.symmetric && d.get(d.index(x, i, j)) != d.get(d.index(x, j, i))) ++wrong;
          }
        }
      }
      if (!ok || wrong > 0 || !d.gaps_untouched()) {
        check::fail(__FILE__, __LINE__,
                    describe(t, level) + ": " + std::to_string(wrong) + " wrong, one by " +
                        std::to_string(worst) + (d.gaps_untouched() ? "" : ", wrote outside"));
      }
      if (first.empty()) {
        first = d.bytes;
      } else if (std::memcmp(first.data(), d.bytes.data(), first.size()) != 0) {
        check::fail(__FILE__, __LINE__,
                    describe(t, level) + ": other bits with " + std::to_string(count) + " threads");
      }
    }
  }
}

Case typed(Case t, int kind) {
  if (kind == 1) t.in_a = t.in_b = t.out = t.add = DType::f64;
  if (kind == 2) t.bf16 = true;
  return t;
}

}  // namespace

TEST("gemm: odd sizes") {
  const int64_t sizes[] = {0, 1, 2, 13, 31, 47};
  for (int kind = 0; kind < 3; ++kind) {
    for (int64_t m : sizes) {
      for (int64_t n : sizes) {
        for (int64_t k : sizes) run(typed({.m = m, .n = n, .k = k}, kind));
      }
    }
  }
}

// Panels come some slices at a time, and the sums wait meanwhile.
TEST("gemm: long sums of a small result") {
  run({.m = 90, .n = 70, .k = 6000, .b = Layout::cols, .alpha = 0.5, .beta = 2, .adds_c = true, .bias = true,
       .activation = Activation::relu},
      {1, 2, 3, 5});
  run({.m = 33, .n = 66, .k = 9001, .a = Layout::cols}, {2});
  run(typed({.m = 70, .n = 66, .k = 4500}, 1), {1, 3});
}

TEST("gemm: every layout of every operand") {
  const Layout layouts[] = {Layout::rows,        Layout::cols,    Layout::rows_padded,
                            Layout::cols_padded, Layout::strided, Layout::reversed};
  for (int kind = 0; kind < 3; ++kind) {
    for (Layout a : layouts) {
      for (Layout b : layouts) {
        for (Layout d : layouts) {
          run(typed({.m = 37, .n = 41, .k = 23, .a = a, .b = b, .c = b, .d = d, .alpha = -0.5,
                     .beta = 2, .adds_c = true, .bias = true},
                    kind));
        }
      }
    }
  }
}

TEST("gemm: alpha, beta, c aliasing d, bias") {
  for (int kind = 0; kind < 3; ++kind) {
    for (double alpha : {1.0, 0.0, -1.5}) {
      for (double beta : {0.0, 1.0, 0.25}) {
        for (int bits = 0; bits < 8; ++bits) {
          run(typed({.m = 29, .n = 67, .k = 19, .d = (bits & 4) ? Layout::cols : Layout::rows,
                     .alpha = alpha, .beta = beta, .adds_c = true, .aliased = (bits & 1) != 0,
                     .bias = (bits & 2) != 0},
                    kind));
        }
      }
    }
  }
}

TEST("gemm: activations") {
  for (int kind = 0; kind < 3; ++kind) {
    for (int activation = 0; activation < 6; ++activation) {
      run(typed({.m = 17, .n = 53, .k = 11, .alpha = 3, .bias = true,
                 .activation = static_cast<Activation>(activation)},
                kind));
    }
  }
}

TEST("gemm: bf16 and f32 operands and results") {
  const DType types[] = {DType::f32, DType::bf16};
  for (DType a : types) {
    for (DType b : types) {
      for (DType c : types) {
        for (DType d : types) {
          for (Layout layout : {Layout::rows, Layout::cols, Layout::strided}) {
            for (int64_t k : {1, 32, 45}) {
              run({.m = 33, .n = 50, .k = k, .in_a = a, .in_b = b, .out = d, .add = c, .bf16 = true,
                   .a = layout, .b = layout, .c = layout, .d = layout, .beta = 0.5,
                   .adds_c = true});
            }
          }
        }
      }
    }
  }
}

TEST("gemm: operands of mixed types, each with its own precision") {
  const DType types[] = {DType::f32, DType::bf16};
  for (DType a : types) {
    for (DType b : types) {
      for (Layout layout : {Layout::rows, Layout::cols, Layout::strided}) {
        for (int64_t k : {1, 33, 700}) {
          run({.m = 49, .n = 70, .k = k, .in_a = a, .in_b = b, .mixed = true, .a = layout,
               .b = layout, .d = layout, .beta = 0.5, .adds_c = true},
              {1, 3});
        }
      }
    }
  }
}

TEST("gemm: symmetric products are exactly symmetric") {
  for (int kind = 0; kind < 4; ++kind) {
    for (int64_t m : {1, 14, 33, 65, 131, 300}) {
      for (Layout layout : {Layout::rows, Layout::cols, Layout::strided}) {
        Case t = typed({.m = m, .n = m, .k = 29, .a = layout, .b = layout, .d = layout, .alpha = 0.5,
                        .beta = -1, .adds_c = true, .symmetric = true},
                       kind == 3 ? 2 : kind);
        if (kind == 3) t.out = DType::bf16;
        run(t);
        t.aliased = true;
        run(t);
      }
    }
  }
}

TEST("gemm: strips beside an operand that each thread keeps, and products too large for that") {
  for (int kind = 0; kind < 3; ++kind) {
    for (Layout d : {Layout::rows, Layout::cols}) {
      run(typed({.m = 65, .n = 390, .k = 70, .d = d, .adds_c = true, .aliased = true, .bias = true}, kind),
          {1, 2, 3, 5});
      run(typed({.m = 390, .n = 65, .k = 70, .a = Layout::cols, .d = d, .bias = true}, kind),
          {1, 2, 3, 5});
    }
    run(typed({.m = 130, .n = 130, .k = 96, .batch = 3}, kind), {1, 2, 3, 5});
  }
  run({.m = 560, .n = 550, .k = 530, .adds_c = true, .bias = true}, {1, 2, 3, 5});
}

TEST("gemm: small products in every form, the same bits for any number of threads") {
  const std::vector<int> threads = {1, 2, 3, 5};
  for (int kind = 0; kind < 2; ++kind) {
    for (Layout a : {Layout::rows, Layout::cols}) {
      for (Layout b : {Layout::rows, Layout::cols, Layout::cols_padded}) {
        for (Layout d : {Layout::rows, Layout::cols}) {
          // Few lines, dots or wide tiles; many, panels or in place; edges in both directions.
          for (auto [m, n, k] : {std::array<int64_t, 3>{1, 130, 67}, {2, 261, 33}, {6, 75, 130}, {20, 150, 131},
                                 {90, 100, 64}, {150, 20, 70}, {131, 9, 150}, {140, 1, 90}, {1, 1, 200}}) {
            run(typed({.m = m, .n = n, .k = k, .a = a, .b = b, .d = d, .alpha = 0.5, .bias = true,
                       .activation = Activation::relu},
                      kind),
                threads);
          }
        }
      }
    }
    // Lines a power of two apart; what the registers cannot finish alone.
    run(typed({.m = 33, .n = 64, .k = 1024, .b = Layout::cols}, kind), threads);
    run(typed({.m = 17, .n = 1024, .k = 33}, kind), threads);
    run(typed({.m = 40, .n = 70, .k = 50, .beta = 2, .adds_c = true, .aliased = true, .activation = Activation::tanh,
               .batch = 7, .scaled = true},
              kind),
        threads);
  }
}

TEST("gemm: batches") {
  for (int kind = 0; kind < 3; ++kind) {
    run(typed({.m = 15, .n = 33, .k = 9, .adds_c = true, .bias = true, .batch = 5}, kind));
    run(typed({.m = 65, .n = 65, .k = 20, .symmetric = true, .batch = 3}, kind));
    run(typed({.m = 15, .n = 33, .k = 9, .batch = 0}, kind));
    run(typed({.m = 15, .n = 33, .k = 9, .beta = 2, .adds_c = true, .batch = 3, .scaled = true}, kind));
  }
}

TEST("gemm: the same bits for any number of threads, sums longer than a slice") {
  for (int kind = 0; kind < 3; ++kind) {
    run(typed({.m = 131, .n = 151, .k = 1601, .adds_c = true, .bias = true}, kind), {1, 2, 3, 5});
    run(typed({.m = 199, .n = 199, .k = 811, .b = Layout::cols, .symmetric = true}, kind),
        {1, 2, 3, 5});
    run(typed({.m = 7, .n = 300, .k = 801, .d = Layout::strided}, kind), {1, 2, 3, 5});
    run(typed({.m = 300, .n = 9, .k = 801, .a = Layout::cols}, kind), {1, 2, 3, 5});
    run(typed({.m = 1, .n = 700, .k = 401}, kind), {1, 2, 3, 5});
    run(typed({.m = 700, .n = 1, .k = 401}, kind), {1, 2, 3, 5});
  }
}

// Ones and a few unusual values, in products of one task, of strips, and too large for strips.
TEST("gemm: NaN and infinity reach the elements that depend on them and no other") {
  struct Size {
    int64_t m, n, k;
  };
  for (CpuLevel level : available_cpu_levels()) {
    for (const auto [m, n, k] : {Size{20, 40, 30}, Size{40, 300, 64}, Size{300, 40, 64}, Size{600, 580, 560}}) {
      if (m == 600 && level == CpuLevel::scalar) continue;
      for (int kind = 0; kind < 4; ++kind) {
        const bool by_column = kind >= 2;  // D is computed as its transpose
        std::vector<float> a(m * k, 1), b(k * n, 1), d(m * n, 2), bias(n, 1);
        bias[static_cast<size_t>(n - 1)] = 3;
        a[3 * k + 7] = std::numeric_limits<float>::quiet_NaN();
        b[5 * n + 11] = std::numeric_limits<float>::infinity();
        Workspace workspace;
        Context context(cpu_kernels(level), workspace, 2);
        GemmArgs args;
        args.a = row_major(a.data(), m, k);
        args.b = row_major(b.data(), k, n);
        args.d = row_major(d.data(), m, n);
        if (by_column) args.d = row_major(d.data(), n, m).transposed();
        args.c = args.d;
        args.beta = 0.5;
        args.bias = bias.data();
        args.activation = Activation::relu;
        CHECK((kind % 2 == 0 ? context.kernels.gemm.f32 : context.kernels.gemm.bf16)(context, args).ok());
        int64_t wrong = 0;
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < n; ++j) {
            const float x = d[static_cast<size_t>(by_column ? j * m + i : i * n + j)];
            const float finite = static_cast<float>(k) + 1 + bias[static_cast<size_t>(j)];
            wrong += !(i == 3 ? std::isnan(x) : j == 11 ? std::isinf(x) : x == finite);
          }
        }
        CHECK(wrong == 0);
      }
    }
  }
}
