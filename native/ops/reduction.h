// What eigh and svd share around their condensed forms: scaling, storage of reflectors, signs.
#pragma once

#include <cstring>
#include <vector>

#include "ops/householder.h"

namespace palimpsest {

inline constexpr int64_t kReductionBlock = 32;

// Reflectors as rows, each zero before its own start, with the triangles of their blocks.
template <typename T>
struct Reflectors {
  int64_t count = 0, length = 0;
  T* rows = nullptr;
  T* triangles = nullptr;
  std::vector<T> tau;

  Reflectors(Context& context, int64_t count, int64_t length)
      : count(count), length(length), rows(context.workspace.take<T>(std::max<int64_t>(1, count * length))),
        triangles(context.workspace.take<T>((count + kReflectorBlock) * kReflectorBlock)),
        tau(static_cast<size_t>(count)) {
    std::fill(rows, rows + count * length, T(0));
  }

  // Row `at` ← a reflector that begins at `start`.
  void set(int64_t at, int64_t start, const T* v, T factor) {
    std::memcpy(rows + at * length + start, v, static_cast<size_t>(length - start) * sizeof(T));
    tau[static_cast<size_t>(at)] = factor;
  }

  Status form(Context& context) {
    for (int64_t first = 0; first < count; first += kReflectorBlock) {
      PALIMPSEST_TRY(form_triangle(context, rows + first * length + first, length,
                                   std::min(kReflectorBlock, count - first), length - first,
                                   tau.data() + first, triangles + first * kReflectorBlock));
    }
    return {};
  }

  // The rows of c, `length` long, become H·row.
  Status apply(Context& context, T* c, int64_t c_rows) const {
    return apply_reflectors(context, rows, length, count, length, triangles, false, c, length, c_rows);
  }
};

// Whether the first entry of largest magnitude is negative.
template <typename T>
bool points_down(const T* x, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(x[best])) best = i;
  }
  return n > 0 && x[best] < 0;
}

template <typename T>
void negate(T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = -x[i];
}

// A power of two that brings the contiguous n values near 1 where squares of them would leave the
// range of T; 1 otherwise. The values are multiplied by it.
template <typename T>
double bring_near_one(T* x, int64_t n) {
  T largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  const double size = static_cast<double>(largest);
  const double limit = sizeof(T) == 4 ? 1e15 : 1e120;
  if (size == 0 || (size < limit && size > 1 / limit)) return 1;
  const int exponent = -std::ilogb(size);
  for (int64_t i = 0; i < n; ++i) x[i] = std::ldexp(x[i], exponent);
  return std::ldexp(1.0, exponent);
}

}  // namespace palimpsest
