// Attention as products of tiles with an online softmax between them (Dao et al. 2022,
// FlashAttention). Memory: a tile of scores a thread, and one number a query. Floor: the products'
// FLOPs, 4·b·h·tq·tk·d forward and 10 backward (half of it where causal).

#include "cpu/attention/driver.h"

#include <algorithm>

#include "core/matrix_view.h"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace {

constexpr int64_t kQueries = 64;      // of a tile
constexpr int64_t kKeys = 128;
constexpr int64_t kEnoughHeads = 8;   // heads that are enough tasks by themselves

// One head of a view [b, h, t, d] as a matrix of rows from `first` on.
Matrix rows_of(const View& x, int64_t head, int64_t first, int64_t rows) {
  const int64_t b = head / x.shape[1], h = head % x.shape[1];
  const int64_t offset = b * x.strides[0] + h * x.strides[1] + first * x.strides[2];
  return {static_cast<std::byte*>(x.data) + offset * static_cast<int64_t>(size_of(x.dtype)),
          x.dtype, rows, x.shape[3], x.strides[2], x.strides[3] == 0 ? 1 : x.strides[3], 0};
}

class Heads {
 public:
  Heads(const AttentionArgs& args, const AttentionRows& kernels)
      : a_(args),
        steps_(kernels),
        width_(static_cast<int64_t>(size_of(args.q.dtype))),
        queries_(args.q.shape[2]),
        keys_(args.k.shape[2]) {}

  // Keys that any of the queries before `last` sees.
  int64_t keys_before(int64_t last) const { return a_.causal ? std::min(last, keys_) : keys_; }
  int64_t queries() const { return queries_; }
  int64_t keys() const { return keys_; }
  int64_t heads() const { return a_.q.shape[0] * a_.q.shape[1]; }
  static int64_t tiles(int64_t n, int64_t size) { return (n + size - 1) / size; }

  // A score tile in memory from the calling thread's workspace.
  void* take_tile() const {
    return Workspace::local().take_bytes(static_cast<size_t>(kQueries * kKeys * width_));
  }

  ScoreTile tile(void* scores, int64_t head, int64_t query, int64_t rows, int64_t key,
                 int64_t cols) const {
    ScoreTile t{a_.q.dtype, rows, cols, cols, scores, a_.causal && key + cols > query + 1, query, key,
                nullptr, 0, 0};
    if (a_.mask.data != nullptr) {
      const View& m = a_.mask;
      t.mask = m.as<const uint8_t>() + head / m.shape[1] * m.strides[0] +
               head % m.shape[1] * m.strides[1] + query * m.strides[2] + key * m.strides[3];
      t.mask_row = m.strides[2];
      t.mask_col = m.strides[3];
    }
    return t;
  }

  Matrix matrix(void* data, int64_t rows, int64_t cols) const {
    return {data, a_.q.dtype, rows, cols, cols, 1, 0};
  }

  // d = alpha·a·b (+ d where `adds`).
  Status multiply(Context& context, const Matrix& a, const Matrix& b, const Matrix& d, bool adds,
                  double alpha = 1) const {
    GemmArgs gemm;
    gemm.a = a;
    gemm.b = b;
    gemm.d = d;
    gemm.alpha = alpha;
    if (adds) {
      gemm.c = d;
      gemm.beta = 1;
    }
    return (a_.q.dtype == DType::f64 ? context.kernels.gemm.f64 : context.kernels.gemm.f32)(context,
                                                                                            gemm);
  }

  void* at(const void* data, int64_t index) const {
    return const_cast<std::byte*>(static_cast<const std::byte*>(data)) + index * width_;
  }

 protected:
  const AttentionArgs& a_;
  const AttentionRows& steps_;
  int64_t width_, queries_, keys_;
};

class Forward : Heads {
 public:
  using Heads::Heads;

  Status run(Context& context) const {
    const int64_t blocks = tiles(queries_, kQueries);
    context.parallel(heads() * blocks, [&](int64_t task) {
      // Longest first: with a causal mask the last queries see most.
      const int64_t head = task % heads();
      block(context.kernels, head, (blocks - 1 - task / heads()) * kQueries);
    });
    return {};
  }

 private:
  void block(const KernelTable& kernels, int64_t head, int64_t query) const {
    Workspace& workspace = Workspace::local();
    const Workspace::Scope scope(workspace);
    Context inner(kernels, workspace, 1);
    const int64_t rows = std::min(kQueries, queries_ - query);
    const int64_t visible = keys_before(query + rows);
    void* scores = take_tile();
    void* m = workspace.take_bytes(static_cast<size_t>(rows * width_));
    void* l = workspace.take_bytes(static_cast<size_t>(rows * width_));
    const Matrix q = rows_of(a_.q, head, query, rows);
    const Matrix out = rows_of(a_.out, head, query, rows);
    for (int64_t key = 0; key < visible; key += kKeys) {
      const int64_t cols = std::min(kKeys, visible - key);
      const Matrix s = matrix(scores, rows, cols);
      (void)multiply(inner, q, rows_of(a_.k, head, key, cols).transposed(), s, false, a_.scale);
      steps_.softmax_tile({tile(scores, head, query, rows, key, cols), m, l, out.data,
                                      out.cols, out.row_stride, key == 0});
      (void)multiply(inner, s, rows_of(a_.v, head, key, cols), out, key > 0);
    }
    if (visible == 0) std::fill_n(static_cast<std::byte*>(l), rows * width_, std::byte{0});
    steps_.softmax_finish({a_.q.dtype, rows, out.cols, out.row_stride, m, l, out.data,
                                      at(a_.lse, head * queries_ + query)});
  }
};

class Backward : Heads {
 public:
  Backward(const AttentionBackwardArgs& args, const AttentionRows& kernels)
      : Heads(args.forward, kernels), b_(args) {}

  Status run(Context& context) {
    const Workspace::Scope scope(context.workspace);
    delta_ = context.workspace.take_bytes(static_cast<size_t>(heads() * queries_ * width_));
    const int64_t query_blocks = tiles(queries_, kQueries);
    const int64_t key_blocks = tiles(keys_, kKeys);
    context.parallel(heads() * query_blocks, [&](int64_t task) {
      const int64_t head = task / query_blocks, query = task % query_blocks * kQueries;
      const int64_t rows = std::min(kQueries, queries_ - query);
      const Matrix out = rows_of(a_.out, head, query, rows), dout = rows_of(b_.dout, head, query, rows);
      steps_.row_dots({a_.q.dtype, rows, out.cols, out.data, out.row_stride,
                                          dout.data, dout.row_stride,
                                          at(delta_, head * queries_ + query)});
    });
    if (heads() >= kEnoughHeads) {
      // A task has a head to itself and computes each tile of scores once.
      context.parallel(heads(), [&](int64_t head) {
        for (int64_t key = 0; key < keys_; key += kKeys) {
          for (int64_t query = 0; query < queries_; query += kQueries) {
            block(context.kernels, head, query, key, true, true);
          }
        }
      });
      return {};
    }
    // Few heads: once for the keys' gradients and once for the queries', each tile by one task.
    context.parallel(heads() * (key_blocks + query_blocks), [&](int64_t task) {
      const int64_t head = task % heads(), index = task / heads();
      if (index < key_blocks) {
        for (int64_t query = 0; query < queries_; query += kQueries) {
          block(context.kernels, head, query, index * kKeys, true, false);
        }
      } else {
        for (int64_t key = 0; key < keys_; key += kKeys) {
          block(context.kernels, head, (index - key_blocks) * kQueries, key, false, true);
        }
      }
    });
    return {};
  }

 private:
  // Adds a tile's part to the gradients; the first tile of a row or column of tiles overwrites.
  void block(const KernelTable& kernels, int64_t head, int64_t query, int64_t key, bool for_keys,
             bool for_queries) const {
    Workspace& workspace = Workspace::local();
    const Workspace::Scope scope(workspace);
    Context inner(kernels, workspace, 1);
    const int64_t rows = std::min(kQueries, queries_ - query);
    const int64_t cols = std::min(kKeys, keys_ - key);
    const bool hidden = a_.causal && key >= query + rows;
    const Matrix dk = rows_of(b_.dk, head, key, cols), dv = rows_of(b_.dv, head, key, cols);
    if (hidden) {
      // Keys that no query sees at all get zeros from the first tile that meets them.
      if (for_keys && query == 0) {
        zero(inner, dk);
        zero(inner, dv);
      }
      return;
    }
    void* scores = take_tile();
    void* slopes = take_tile();
    const Matrix q = rows_of(a_.q, head, query, rows), k = rows_of(a_.k, head, key, cols);
    const Matrix dout = rows_of(b_.dout, head, query, rows);
    const Matrix s = matrix(scores, rows, cols), ds = matrix(slopes, rows, cols);
    (void)multiply(inner, q, k.transposed(), s, false, a_.scale);
    (void)multiply(inner, dout, rows_of(a_.v, head, key, cols).transposed(), ds, false);
    const int64_t row = head * queries_ + query;
    steps_.softmax_tile_backward({tile(scores, head, query, rows, key, cols),
                                             at(a_.lse, row), at(delta_, row), slopes, a_.scale});
    if (for_keys) {
      (void)multiply(inner, s.transposed(), dout, dv, query > 0);
      (void)multiply(inner, ds.transposed(), q, dk, query > 0);
    }
    if (for_queries) (void)multiply(inner, ds, k, rows_of(b_.dq, head, query, rows), key > 0);
  }

  void zero(Context& context, const Matrix& m) const {
    (void)context.kernels.elementwise.binary(context, {Binary::maximum, view_of(m), {}, {}, 0.0});
  }

  const AttentionBackwardArgs& b_;
  void* delta_ = nullptr;
};

}  // namespace

Status attention_forward(Context& context, const AttentionArgs& args, const AttentionRows& rows) {
  if (args.out.size() == 0) return {};
  return Forward(args, rows).run(context);
}

Status attention_backward(Context& context, const AttentionBackwardArgs& args,
                          const AttentionRows& rows) {
  if (args.forward.q.shape[0] * args.forward.q.shape[1] == 0) return {};
  return Backward(args, rows).run(context);
}

}  // namespace palimpsest::cpu
