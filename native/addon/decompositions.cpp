// Bindings of decompositions. Every view has rank 3, its first axis counts the batch.

#include "addon/bindings.h"
#include "palimpsest/ops/decompositions.h"
#include "palimpsest/ops/randomized_svd.h"

namespace palimpsest::addon {
namespace {

// Batches of matrices up to this many elements are divided among threads, larger ones within.
constexpr int64_t kSmallMatrix = 128 * 128;

int64_t batch_of(const View& view) { return view.shape[0]; }

Matrix matrix_of(const View& view, int64_t index) {
  if (view.data == nullptr) return {};
  return {static_cast<std::byte*>(view.data) +
              index * view.strides[0] * static_cast<int64_t>(size_of(view.dtype)),
          view.dtype, view.shape[1], view.shape[2], view.strides[1], view.strides[2], 0};
}

View stack(Call& call, const char* name, Access access) {
  const View view = call.view(name, access);
  if (view.rank != 3 || (view.dtype != DType::f32 && view.dtype != DType::f64)) {
    refuse(Code::shape, std::string("'") + name + "' must be float32 or float64 of rank 3");
  }
  return view;
}

View optional_stack(Call& call, const char* name, Access access) {
  const View view = call.optional_view(name, access);
  if (view.data != nullptr && view.rank != 3) {
    refuse(Code::shape, std::string("'") + name + "' must have rank 3");
  }
  return view;
}

void expect(bool condition, const char* what) {
  if (!condition) refuse(Code::shape, what);
}

bool is(const View& view, const View& like, int64_t rows, int64_t cols) {
  return view.dtype == like.dtype && view.shape[0] == like.shape[0] && view.shape[1] == rows &&
         view.shape[2] == cols;
}

// one(context, index) for every matrix of a batch.
template <typename One>
Status each(Context& context, const View& view, const One& one) {
  const int64_t batch = batch_of(view);
  if (batch > 1 && context.access == nullptr && view.shape[1] * view.shape[2] <= kSmallMatrix) {
    std::vector<Status> results(static_cast<size_t>(batch));
    context.parallel(batch, [&](int64_t i) {
      Context own(context.kernels, Workspace::local(), 1);
      own.abort = context.abort;
      results[static_cast<size_t>(i)] = guarded([&] { return one(own, i); });
    });
    for (Status& result : results) {
      if (!result.ok()) return std::move(result);
    }
    return {};
  }
  for (int64_t i = 0; i < batch; ++i) PALIMPSEST_TRY(one(context, i));
  return {};
}

// qr(a, q, r)
auto qr(Call& call) {
  const View a = stack(call, "a", Access::read);
  const View q = stack(call, "q", Access::write);
  const View r = stack(call, "r", Access::write);
  const int64_t k = std::min(a.shape[1], a.shape[2]);
  expect(is(q, a, a.shape[1], k) && is(r, a, k, a.shape[2]), "qr: outputs of the wrong shape");
  return [=](Context& context) {
    return each(context, a, [&](Context& own, int64_t i) {
      return palimpsest::qr(own, matrix_of(a, i), matrix_of(q, i), matrix_of(r, i));
    });
  };
}

// cholesky(a, l)
auto cholesky(Call& call) {
  const View a = stack(call, "a", Access::read);
  const View l = stack(call, "l", Access::write);
  expect(is(l, a, a.shape[1], a.shape[2]), "cholesky: 'l' must have the shape of 'a'");
  return [=](Context& context) {
    return each(context, a, [&](Context& own, int64_t i) {
      return palimpsest::cholesky(own, matrix_of(a, i), matrix_of(l, i));
    });
  };
}

// solve(a, b, x)
auto solve(Call& call) {
  const View a = stack(call, "a", Access::read);
  const View b = stack(call, "b", Access::read);
  const View x = stack(call, "x", Access::write);
  expect(is(b, a, a.shape[1], b.shape[2]) && is(x, b, b.shape[1], b.shape[2]),
         "solve: 'b' and 'x' must have as many rows as 'a', and its batch");
  return [=](Context& context) {
    return each(context, a, [&](Context& own, int64_t i) {
      return palimpsest::solve(own, matrix_of(a, i), matrix_of(b, i), matrix_of(x, i));
    });
  };
}

// solveTriangular(t, b, x); then lower, unit
auto solve_triangular(Call& call) {
  const View t = stack(call, "t", Access::read);
  const View b = stack(call, "b", Access::read);
  const View x = stack(call, "x", Access::write);
  const bool lower = call.flag();
  const bool unit = call.flag();
  expect(is(b, t, t.shape[1], b.shape[2]) && is(x, b, b.shape[1], b.shape[2]),
         "solveTriangular: 'b' and 'x' must have as many rows as 't', and its batch");
  return [=](Context& context) {
    return each(context, t, [&](Context& own, int64_t i) {
      return palimpsest::solve_triangular(own, matrix_of(t, i), lower, unit, matrix_of(b, i),
                                          matrix_of(x, i));
    });
  };
}

// eigh(a, w, v | null), w [batch, 1, n]
auto eigh(Call& call) {
  const View a = stack(call, "a", Access::read);
  const View w = stack(call, "w", Access::write);
  const View v = optional_stack(call, "v", Access::write);
  const int64_t n = a.shape[1];
  expect(is(w, a, 1, n) && w.contiguous(), "eigh: 'w' must be contiguous [batch, 1, n]");
  expect(v.data == nullptr || is(v, a, n, n), "eigh: 'v' must have the shape of 'a'");
  return [=](Context& context) {
    return each(context, a, [&](Context& own, int64_t i) {
      return palimpsest::eigh(own, matrix_of(a, i), matrix_of(w, i).data, matrix_of(v, i));
    });
  };
}

// svd(a, u | null, s, vt | null), s [batch, 1, k]
auto svd(Call& call) {
  const View a = stack(call, "a", Access::read);
  const View u = optional_stack(call, "u", Access::write);
  const View s = stack(call, "s", Access::write);
  const View vt = optional_stack(call, "vt", Access::write);
  const int64_t k = std::min(a.shape[1], a.shape[2]);
  expect(is(s, a, 1, k) && s.contiguous(), "svd: 's' must be contiguous [batch, 1, k]");
  expect((u.data == nullptr) == (vt.data == nullptr), "svd: 'u' and 'vt' go together");
  expect(u.data == nullptr || (is(u, a, a.shape[1], k) && is(vt, a, k, a.shape[2])),
         "svd: outputs of the wrong shape");
  return [=](Context& context) {
    return each(context, a, [&](Context& own, int64_t i) {
      return palimpsest::svd(own, matrix_of(a, i), matrix_of(u, i), matrix_of(s, i).data,
                             matrix_of(vt, i));
    });
  };
}

// randomizedSvd(a, u, s, vt); then rank, oversamples, powerIterations, normalizer, method, seed,
// tolerance; returns the rank found (of the last matrix)
auto randomized_svd(Call& call) {
  const View a = stack(call, "a", Access::read);
  const View u = stack(call, "u", Access::write);
  const View s = stack(call, "s", Access::write);
  const View vt = stack(call, "vt", Access::write);
  constexpr int64_t kMost = int64_t{1} << 40;
  RandomizedSvdArgs args;
  args.rank = call.integer("rank", 1, kMost);
  args.oversamples = call.integer("oversamples", 0, kMost);
  args.power_iterations = call.integer("powerIterations", 0, 1000);
  args.normalizer = call.choice("normalizer", Normalizer::lu);
  args.method = call.choice("method", RangeFinder::single_pass);
  args.seed = static_cast<uint64_t>(call.integer("seed", 0, int64_t{1} << 53));
  args.tolerance = call.number();
  const int64_t k = std::min({args.rank, a.shape[1], a.shape[2]});
  expect(is(u, a, a.shape[1], k) && is(vt, a, k, a.shape[2]) && is(s, a, 1, k) && s.contiguous(),
         "randomizedSvd: outputs of the wrong shape");
  double* const found = call.result();
  return [=](Context& context) {
    return each(context, a, [&](Context& own, int64_t i) {
      RandomizedSvdArgs one = args;
      one.a = matrix_of(a, i);
      one.u = matrix_of(u, i);
      one.s = matrix_of(s, i).data;
      one.vt = matrix_of(vt, i);
      int64_t rank = 0;
      PALIMPSEST_TRY(palimpsest::randomized_svd(own, one, rank));
      if (i + 1 == batch_of(a)) *found = static_cast<double>(rank);
      return Status();
    });
  };
}

}  // namespace

void register_decompositions(Exports& exports) {
  exports.add_with_async<qr>("qr");
  exports.add_with_async<cholesky>("cholesky");
  exports.add_with_async<solve>("solve");
  exports.add_with_async<solve_triangular>("solveTriangular");
  exports.add_with_async<eigh>("eigh");
  exports.add_with_async<svd>("svd");
  exports.add_with_async<randomized_svd>("randomizedSvd");
}

}  // namespace palimpsest::addon
