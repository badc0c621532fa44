// Visits every kernel of a table without a list of their names: the table's families are aggregates of
// function pointers, taken apart by structured bindings.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "palimpsest/kernels.h"

namespace palimpsest::detail {

struct AnyField {
  template <typename T>
  operator T() const;  // NOLINT: only named in unevaluated code
};

template <typename T, size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
  return requires { T{(void(I), AnyField{})...}; };
}

template <typename T, size_t N = 0>
constexpr size_t field_count() {
  if constexpr (!takes<T>(std::make_index_sequence<N + 1>{})) {
    return N;
  } else {
    return field_count<T, N + 1>();
  }
}

#define PALIMPSEST_TAKE(n, ...)       \
  if constexpr (count == n) {         \
    auto& [__VA_ARGS__] = aggregate;  \
    return f(__VA_ARGS__);            \
  }

// f(every field …).
template <typename T, typename F>
void unpack(T& aggregate, const F& f) {
  constexpr size_t count = field_count<T>();
  static_assert(count >= 1 && count <= 24, "add a line to table_visit.h");
  PALIMPSEST_TAKE(1, a)
  PALIMPSEST_TAKE(2, a, b)
  PALIMPSEST_TAKE(3, a, b, c)
  PALIMPSEST_TAKE(4, a, b, c, d)
  PALIMPSEST_TAKE(5, a, b, c, d, e)
  PALIMPSEST_TAKE(6, a, b, c, d, e, g)
  PALIMPSEST_TAKE(7, a, b, c, d, e, g, h)
  PALIMPSEST_TAKE(8, a, b, c, d, e, g, h, i)
  PALIMPSEST_TAKE(9, a, b, c, d, e, g, h, i, j)
  PALIMPSEST_TAKE(10, a, b, c, d, e, g, h, i, j, k)
  PALIMPSEST_TAKE(11, a, b, c, d, e, g, h, i, j, k, l)
  PALIMPSEST_TAKE(12, a, b, c, d, e, g, h, i, j, k, l, m)
  PALIMPSEST_TAKE(13, a, b, c, d, e, g, h, i, j, k, l, m, n)
  PALIMPSEST_TAKE(14, a, b, c, d, e, g, h, i, j, k, l, m, n, o)
  PALIMPSEST_TAKE(15, a, b, c, d, e, g, h, i, j, k, l, m, n, o, p)
  PALIMPSEST_TAKE(16, a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q)
  PALIMPSEST_TAKE(17, a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q, r)
  PALIMPSEST_TAKE(18, a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q, r, s)
  PALIMPSEST_TAKE(19, a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q, r, s, t)
  PALIMPSEST_TAKE(20, a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u)
  PALIMPSEST_TAKE(21, a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v)
  PALIMPSEST_TAKE(22, a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w)
  PALIMPSEST_TAKE(23, a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x)
  PALIMPSEST_TAKE(24, a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y)
}
#undef PALIMPSEST_TAKE

template <typename T>
inline constexpr bool is_kernel =
    std::is_pointer_v<T> && std::is_function_v<std::remove_pointer_t<T>>;

template <size_t kPath, typename T, typename F>
void visit(T& aggregate, const F& f) {
  unpack(aggregate, [&f]<typename... Fields>(Fields&... fields) {
    [&]<size_t... I>(std::index_sequence<I...>) {
      const auto one = [&f]<size_t kIndex, typename Field>(std::integral_constant<size_t, kIndex>,
                                                           Field& field) {
        if constexpr (is_kernel<Field>) {
          f(std::integral_constant<size_t, kPath * 64 + kIndex>{}, field);
        } else if constexpr (std::is_class_v<Field>) {
          visit<kPath * 64 + kIndex + 1>(field, f);
        }
      };
      (one(std::integral_constant<size_t, I>{}, fields), ...);
    }(std::index_sequence_for<Fields...>{});
  });
}

}  // namespace palimpsest::detail

namespace palimpsest {

// f(number, kernel) for every function pointer of the table; the number is a std::integral_constant
// that no other kernel has.
template <typename F>
void each_kernel(KernelTable& table, const F& f) {
  detail::visit<1>(table, f);
}

}  // namespace palimpsest
