#include "cpu/dense/small.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace palimpsest::cpu {

template <typename T>
void exchange_rows(Context& context, T* a, int64_t stride, int64_t cols, int64_t first, int64_t count,
                   const int32_t* pivots) {
  context.parallel_chunks(cols, 512, [&](int64_t begin, int64_t end) {
    for (int64_t j = 0; j < count; ++j) {
      if (pivots[j] == first + j) continue;
      T* const row = a + (first + j) * stride;
      std::swap_ranges(row + begin, row + end, a + pivots[j] * stride + begin);
    }
  });
}

template <typename T>
void keep_triangle(Context&, T* a, int64_t stride, int64_t rows, int64_t cols, Triangle which) {
  for (int64_t i = 0; i < rows; ++i) {
    T* const row = a + i * stride;
    if (which == Triangle::upper) {
      std::fill(row, row + std::min(i, cols), T(0));
    } else {
      for (int64_t j = i + 1; j < cols; ++j) row[j] = which == Triangle::lower ? T(0) : a[j * stride + i];
    }
  }
}

template <typename T>
void reflector_panel(Context&, T* a, int64_t stride, int64_t w, int64_t length, T* r, int64_t r_stride, T* t,
                     int64_t t_stride) {
  const auto dot = [&](const T* x, const T* y, int64_t from) {
    double sum = 0;
    for (int64_t i = from; i < length; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
    return sum;
  };
  for (int64_t j = 0; j < w; ++j) {
    T* const v = a + j * stride;
    // Scaled by the largest entry: squares neither overflow nor vanish.
    double largest = 0;
    double rest = 0;
    for (int64_t i = j; i < length; ++i) {
      const double size = std::fabs(static_cast<double>(v[i]));
      largest = std::max(largest, size);
      if (i > j) rest = std::max(rest, size);
    }
    const double head = static_cast<double>(v[j]);
    double tau = 0;
    double beta = head;
    if (rest > 0) {
      double squares = 0;
      for (int64_t i = j; i < length; ++i) {
        const double x = static_cast<double>(v[i]) / largest;
        squares += x * x;
      }
      const double norm = std::sqrt(squares) * largest;
      beta = head >= 0 ? -norm : norm;
      tau = (beta - head) / beta;
      for (int64_t i = j + 1; i < length; ++i) v[i] = static_cast<T>(static_cast<double>(v[i]) / (head - beta));
    }
    v[j] = 1;
    for (int64_t i = 0; i < w; ++i) r[i * r_stride + j] = i <= j ? r[i * r_stride + j] : T(0);
    r[j * r_stride + j] = static_cast<T>(beta);
    for (int64_t i = j + 1; i < w; ++i) {
      T* const row = a + i * stride;
      const double factor = tau * dot(row, v, j);
      for (int64_t k = j; k < length; ++k) row[k] = static_cast<T>(static_cast<double>(row[k]) - factor * static_cast<double>(v[k]));
      r[j * r_stride + i] = row[j];
      row[j] = 0;
    }
    for (int64_t i = 0; i < w; ++i) t[i * t_stride + j] = i == j ? static_cast<T>(tau) : T(0);
    double along[kTriangle];
    for (int64_t i = 0; i < j; ++i) along[i] = dot(a + i * stride, v, j);
    for (int64_t i = 0; i < j; ++i) {
      double sum = 0;
      for (int64_t k = i; k < j; ++k) sum += static_cast<double>(t[i * t_stride + k]) * along[k];
      t[i * t_stride + j] = static_cast<T>(-tau * sum);
    }
  }
}

template <typename T>
Status jacobi(Context&, const JacobiArgs<T>& args) {
  const double tolerance = std::numeric_limits<T>::epsilon() * std::sqrt(static_cast<double>(std::max<int64_t>(args.length, 64))) / 2;
  const auto rotate = [](T* x, T* y, int64_t n, double c, double s) {
    for (int64_t i = 0; i < n; ++i) {
      const auto p = static_cast<double>(x[i]);
      const auto q = static_cast<double>(y[i]);
      x[i] = static_cast<T>(c * p - s * q);
      y[i] = static_cast<T>(s * p + c * q);
    }
  };
  for (int sweep = 0; sweep < 60; ++sweep) {
    bool turned = false;
    for (int64_t i = 0; i < args.rows; ++i) {
      for (int64_t j = i + 1; j < args.rows; ++j) {
        T* const x = args.a + i * args.a_stride;
        T* const y = args.a + j * args.a_stride;
        double xx = 0;
        double yy = 0;
        double xy = 0;
        for (int64_t k = 0; k < args.length; ++k) {
          const auto p = static_cast<double>(x[k]);
          const auto q = static_cast<double>(y[k]);
          xx += p * p;
          yy += q * q;
          xy += p * q;
        }
        const double ratio = tolerance * 1e-3;
        if (!(std::min(xx, yy) > ratio * ratio * std::max(xx, yy))) continue;
        if (!(std::fabs(xy) > tolerance * std::sqrt(xx) * std::sqrt(yy))) continue;
        turned = true;
        const double zeta = (yy - xx) / (2 * xy);
        const double tangent = (zeta >= 0 ? 1 : -1) / (std::fabs(zeta) + std::sqrt(1 + zeta * zeta));
        const double c = 1 / std::sqrt(1 + tangent * tangent);
        rotate(x, y, args.length, c, c * tangent);
        if (args.v != nullptr) rotate(args.v + i * args.v_stride, args.v + j * args.v_stride, args.v_length, c, c * tangent);
      }
    }
    if (!turned) return {};
  }
  return {Code::numerical, "Jacobi's rotations did not converge"};
}

template <typename T>
void gram_factor(Context&, const double* g, int64_t width, double least, double* upper, T* inverse, int32_t* failed) {
  const auto at = [width](int64_t i, int64_t j) { return static_cast<size_t>(i * width + j); };
  const size_t size = at(width, 0);
  std::vector<double> lower(size);
  std::vector<double> turned(size);
  std::vector<double> scale(static_cast<size_t>(width));
  bool good = true;
  for (int64_t i = 0; i < width && good; ++i) {
    const double square = g[at(i, i)];
    good = square > 0 && std::isfinite(square);
    scale[static_cast<size_t>(i)] = std::sqrt(square);
  }
  for (int64_t i = 0; i < width && good; ++i) {
    for (int64_t j = 0; j <= i && good; ++j) {
      double sum = g[at(i, j)] / (scale[static_cast<size_t>(i)] * scale[static_cast<size_t>(j)]);
      for (int64_t k = 0; k < j; ++k) sum -= lower[at(i, k)] * lower[at(j, k)];
      if (i == j) good = sum > least;
      lower[at(i, j)] = i == j ? std::sqrt(sum) : sum / lower[at(j, j)];
    }
  }
  if (!good) *failed = 1;
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      upper[at(i, j)] = !good ? (i == j ? 1 : 0) : j >= i ? lower[at(j, i)] * scale[static_cast<size_t>(j)] : 0;
    }
  }
  // Row i of the inverse from those below it.
  for (int64_t i = width - 1; i >= 0; --i) {
    turned[at(i, i)] = 1;
    for (int64_t k = i + 1; k < width; ++k) {
      for (int64_t j = k; j < width; ++j) turned[at(i, j)] -= upper[at(i, k)] * turned[at(k, j)];
    }
    for (int64_t j = i; j < width; ++j) turned[at(i, j)] /= upper[at(i, i)];
  }
  std::transform(turned.begin(), turned.end(), inverse, [](double x) { return static_cast<T>(x); });
}

#define PALIMPSEST_INSTANTIATE(T)                                                                                  \
  template void exchange_rows(Context&, T*, int64_t, int64_t, int64_t, int64_t, const int32_t*);                    \
  template void keep_triangle(Context&, T*, int64_t, int64_t, int64_t, Triangle);                                   \
  template void reflector_panel(Context&, T*, int64_t, int64_t, int64_t, T*, int64_t, T*, int64_t);                 \
  template Status jacobi(Context&, const JacobiArgs<T>&);                                                           \
  template void gram_factor(Context&, const double*, int64_t, double, double*, T*, int32_t*);
PALIMPSEST_INSTANTIATE(float)
PALIMPSEST_INSTANTIATE(double)

}  // namespace palimpsest::cpu
