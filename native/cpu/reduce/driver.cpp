// Splits the axes of a reduction into kept and reduced ones, merges what is contiguous, and picks a
// way: along rows, down columns, or element by element for what is left.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/dimensions.h"
#include "cpu/reduce/rows.h"
#include "palimpsest/context.h"

namespace palimpsest::cpu {
namespace {

double load(const View& view, int64_t at) {
  switch (view.dtype) {
    case DType::f32: return view.as<const float>()[at];
    case DType::f64: return view.as<const double>()[at];
    case DType::bf16: return to_float(view.as<const BFloat16>()[at]);
    case DType::i32: return view.as<const int32_t>()[at];
    case DType::u8: return view.as<const uint8_t>()[at];
    case DType::boolean: return view.as<const uint8_t>()[at] != 0;
  }
  return 0;
}

void store(const View& view, int64_t at, double x) {
  const auto integer = [x](double low, double high) {
    return static_cast<int64_t>(std::clamp(x != x ? 0.0 : x, low, high));
  };
  switch (view.dtype) {
    case DType::f32: view.as<float>()[at] = static_cast<float>(x); break;
    case DType::f64: view.as<double>()[at] = x; break;
    case DType::bf16: view.as<BFloat16>()[at] = to_bf16(static_cast<float>(x)); break;
    case DType::i32:
      view.as<int32_t>()[at] = static_cast<int32_t>(integer(-2147483648.0, 2147483647.0));
      break;
    case DType::u8: view.as<uint8_t>()[at] = static_cast<uint8_t>(integer(0, 255)); break;
    case DType::boolean: view.as<uint8_t>()[at] = x != 0; break;
  }
}

template <typename T>
double row_result(Reduction op, const ReduceRows<T>& rows, const T* x, int64_t n) {
  switch (op) {
    case Reduction::sum_of_squares: return rows.sum_of_squares(x, n);
    case Reduction::sum_of_magnitudes: return rows.sum_of_magnitudes(x, n);
    case Reduction::max: return rows.max(x, n);
    case Reduction::min: return rows.min(x, n);
    default: return rows.sum(x, n);
  }
}

// Two partial results of a row, in order.
double combine(Reduction op, double a, double b) {
  switch (op) {
    case Reduction::max: return std::isnan(b) || (b > a && !std::isnan(a)) ? b : a;
    case Reduction::min: return std::isnan(b) || (b < a && !std::isnan(a)) ? b : a;
    default: return a + b;
  }
}

struct Plan {
  Reduction op;
  const View* in;
  const View* out;
  Dimensions kept;
  Dimensions reduced;

  double finish(double x) const {
    return op == Reduction::mean ? x / static_cast<double>(reduced.size) : x;
  }
};

bool has_rows(Reduction op) {
  return op == Reduction::sum || op == Reduction::mean || op == Reduction::sum_of_squares ||
         op == Reduction::sum_of_magnitudes || op == Reduction::max || op == Reduction::min;
}

// Each output is one contiguous row of the input.
template <typename T>
void reduce_rows(Context& context, const Plan& plan, const ReduceRows<T>& rows) {
  constexpr int64_t kChunk = 65536;
  const int64_t n = plan.reduced.size;
  const T* x = plan.in->as<const T>();
  const auto locate = [&](int64_t i, int64_t& in_at, int64_t& out_at) {
    plan.kept.locate(i, plan.kept.rank, in_at, out_at);
  };
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  if (chunks <= 1) {
    context.parallel_chunks(plan.kept.size, std::max<int64_t>(1, 32768 / n),
                            [&](int64_t begin, int64_t end) {
                              for (int64_t i = begin; i < end; ++i) {
                                int64_t in_at, out_at;
                                locate(i, in_at, out_at);
                                const double r = row_result(plan.op, rows, x + in_at, n);
                                store(*plan.out, out_at, plan.finish(r));
                              }
                            });
    return;
  }
  const Workspace::Scope scope(Workspace::local());
  auto* partial = Workspace::local().take<double>(plan.kept.size * chunks);
  context.parallel(plan.kept.size * chunks, [&](int64_t task) {
    int64_t in_at, out_at;
    locate(task / chunks, in_at, out_at);
    const int64_t begin = task % chunks * kChunk;
    partial[task] =
        row_result(plan.op, rows, x + in_at + begin, std::min(kChunk, n - begin));
  });
  for (int64_t i = 0; i < plan.kept.size; ++i) {
    double total = partial[i * chunks];
    for (int64_t c = 1; c < chunks; ++c) total = combine(plan.op, total, partial[i * chunks + c]);
    int64_t in_at, out_at;
    locate(i, in_at, out_at);
    store(*plan.out, out_at, plan.finish(total));
  }
}

// Each output is several runs of contiguous elements (a channel's pixels over all images): runs are cut
// into pieces by their number alone and put together in order.
template <typename T>
void reduce_runs(Context& context, const Plan& plan, const ReduceRows<T>& rows) {
  constexpr int64_t kPiece = 32768;
  const int last = plan.reduced.rank - 1;
  const int64_t length = plan.reduced.shape[last];
  const int64_t runs = plan.reduced.size / length;
  const int64_t runs_a_piece = std::max<int64_t>(1, kPiece / length);
  const int64_t pieces = (runs + runs_a_piece - 1) / runs_a_piece;
  const T* x = plan.in->as<const T>();
  const Workspace::Scope scope(context.workspace);
  auto* partial = context.workspace.take<double>(plan.kept.size * pieces);
  const auto body = [&](int64_t task) {
    int64_t in_at, unused;
    plan.kept.locate(task % plan.kept.size, plan.kept.rank, in_at, unused);
    const int64_t piece = task / plan.kept.size;
    const int64_t end = std::min(runs, (piece + 1) * runs_a_piece);
    double total = 0;
    for (int64_t r = piece * runs_a_piece; r < end; ++r) {
      int64_t run_at;
      plan.reduced.locate(r, last, run_at, unused);
      const double part = row_result(plan.op, rows, x + in_at + run_at, length);
      total = r == piece * runs_a_piece ? part : combine(plan.op, total, part);
    }
    partial[task] = total;
  };
  const int64_t tasks = plan.kept.size * pieces;
  const int64_t work = std::min(runs, runs_a_piece) * length;
  context.parallel_chunks(tasks, std::max<int64_t>(1, kPiece / work), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) body(task);
  });
  for (int64_t i = 0; i < plan.kept.size; ++i) {
    double total = partial[i];
    for (int64_t c = 1; c < pieces; ++c) {
      total = combine(plan.op, total, partial[c * plan.kept.size + i]);
    }
    int64_t in_at, out_at;
    plan.kept.locate(i, plan.kept.rank, in_at, out_at);
    store(*plan.out, out_at, plan.finish(total));
  }
}

// The innermost kept dimension is contiguous: rows are added into a tile of accumulators, which is
// folded into float64 every 64 rows. Many rows are cut into pieces by the shape alone, which are put
// together in order.
template <typename T>
void reduce_columns(Context& context, const Plan& plan, const ReduceRows<T>& rows) {
  constexpr int64_t kTile = 256;
  constexpr int64_t kFold = 64;
  constexpr int64_t kPiece = 32768;  // elements
  const int last = plan.kept.rank - 1;
  const int64_t columns = plan.kept.shape[last];
  const int64_t tiles = (columns + kTile - 1) / kTile;
  const int64_t outer = plan.kept.size / columns;
  const int64_t count = plan.reduced.size;
  const int64_t rows_a_piece =
      std::max(kPiece / std::min(columns, kTile) / kFold * kFold, (count / 64 + kFold) / kFold * kFold);
  const int64_t pieces = (count + rows_a_piece - 1) / rows_a_piece;
  const bool extreme = plan.op == Reduction::max || plan.op == Reduction::min;
  const bool dense = plan.reduced.rank == 1;  // rows at equal distances
  const auto sum_piece = [&](const T* x, int64_t width, int64_t begin, int64_t end, double* total) {
    alignas(64) T block[kTile];
    const auto row_of = [&](int64_t r) {
      if (dense) return x + r * plan.reduced.in[0];
      int64_t row_at, unused;
      plan.reduced.locate(r, plan.reduced.rank, row_at, unused);
      return x + row_at;
    };
    for (int64_t r0 = begin; r0 < end; r0 += kFold) {
      const int64_t r1 = std::min(r0 + kFold, end);
      int64_t r = r0;
      if (extreme) {
        std::memcpy(block, row_of(r++), static_cast<size_t>(width) * sizeof(T));
      } else {
        std::memset(block, 0, static_cast<size_t>(width) * sizeof(T));
      }
      for (; r < r1; ++r) {
        const T* row = row_of(r);
        switch (plan.op) {
          case Reduction::sum_of_squares: rows.add_squares(block, row, width); break;
          case Reduction::sum_of_magnitudes: rows.add_magnitudes(block, row, width); break;
          case Reduction::max: rows.take_max(block, row, width); break;
          case Reduction::min: rows.take_min(block, row, width); break;
          default: rows.add(block, row, width);
        }
      }
      for (int64_t j = 0; j < width; ++j) {
        total[j] = r0 == begin ? static_cast<double>(block[j]) : combine(plan.op, total[j], block[j]);
      }
    }
  };
  const auto finish = [&](int64_t strip, int64_t width, const double* total) {
    int64_t in_at, out_at;
    plan.kept.locate(strip / tiles, last, in_at, out_at);
    const int64_t begin = strip % tiles * kTile;
    for (int64_t j = 0; j < width; ++j) {
      store(*plan.out, out_at + (begin + j) * plan.kept.out[last], plan.finish(total[j]));
    }
  };
  const auto width_of = [&](int64_t strip) { return std::min(kTile, columns - strip % tiles * kTile); };
  const auto source = [&](int64_t strip) {
    int64_t in_at, out_at;
    plan.kept.locate(strip / tiles, last, in_at, out_at);
    return plan.in->as<const T>() + in_at + strip % tiles * kTile;
  };
  if (pieces == 1) {
    const auto body = [&](int64_t strip) {
      double total[kTile];
      sum_piece(source(strip), width_of(strip), 0, count, total);
      finish(strip, width_of(strip), total);
    };
    const int64_t work = count * std::min(columns, kTile);
    context.parallel_chunks(outer * tiles, std::max<int64_t>(1, kPiece / work),
                            [&](int64_t begin, int64_t end) {
                              for (int64_t strip = begin; strip < end; ++strip) body(strip);
                            });
    return;
  }
  const Workspace::Scope scope(context.workspace);
  auto* partial = context.workspace.take<double>(outer * tiles * pieces * kTile);
  // The tiles of one piece of rows come one after the other: they share its pages.
  context.parallel(outer * tiles * pieces, [&](int64_t task) {
    const int64_t strip = task / (tiles * pieces) * tiles + task % tiles;
    const int64_t piece = task / tiles % pieces;
    sum_piece(source(strip), width_of(strip), piece * rows_a_piece,
              std::min(count, (piece + 1) * rows_a_piece), partial + (strip * pieces + piece) * kTile);
  });
  for (int64_t strip = 0; strip < outer * tiles; ++strip) {
    double* total = partial + strip * pieces * kTile;
    for (int64_t piece = 1; piece < pieces; ++piece) {
      for (int64_t j = 0; j < width_of(strip); ++j) {
        total[j] = combine(plan.op, total[j], total[piece * kTile + j]);
      }
    }
    finish(strip, width_of(strip), total);
  }
}

// One output after the other, in float64.
void reduce_elements(Context& context, const Plan& plan) {
  const Dimensions& reduced = plan.reduced;
  const auto one = [&](int64_t base) {
    double result = 0;
    int64_t index = 0;
    switch (plan.op) {
      case Reduction::prod:
      case Reduction::all: result = 1; break;
      case Reduction::max:
      case Reduction::argmax: result = -std::numeric_limits<double>::infinity(); break;
      case Reduction::min:
      case Reduction::argmin: result = std::numeric_limits<double>::infinity(); break;
      default: break;
    }
    for (int64_t i = 0; i < reduced.size; ++i) {
      int64_t at, unused;
      reduced.locate(i, reduced.rank, at, unused);
      const double x = load(*plan.in, base + at);
      switch (plan.op) {
        case Reduction::sum:
        case Reduction::mean: result += x; break;
        case Reduction::prod: result *= x; break;
        case Reduction::sum_of_squares: result += x * x; break;
        case Reduction::sum_of_magnitudes: result += std::fabs(x); break;
        case Reduction::max:
        case Reduction::min: result = combine(plan.op, result, x); break;
        case Reduction::argmax:
          if (i == 0 || (x > result && !std::isnan(result)) || (std::isnan(x) && !std::isnan(result))) {
            result = x;
            index = i;
          }
          break;
        case Reduction::argmin:
          if (i == 0 || (x < result && !std::isnan(result)) || (std::isnan(x) && !std::isnan(result))) {
            result = x;
            index = i;
          }
          break;
        case Reduction::any: result = result != 0 || x != 0; break;
        case Reduction::all: result = result != 0 && x != 0; break;
      }
    }
    if (plan.op == Reduction::argmax || plan.op == Reduction::argmin) {
      return static_cast<double>(index);
    }
    return plan.finish(result);
  };
  const int64_t grain = std::max<int64_t>(1, 8192 / std::max<int64_t>(1, reduced.size));
  context.parallel_chunks(plan.kept.size, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t in_at, out_at;
      plan.kept.locate(i, plan.kept.rank, in_at, out_at);
      store(*plan.out, out_at, one(in_at));
    }
  });
}

template <typename T>
bool reduce_fast(Context& context, const Plan& plan, const ReduceRows<T>& rows) {
  if (!has_rows(plan.op) || plan.reduced.size == 0) return false;
  if (plan.reduced.rank == 0 || (plan.reduced.rank == 1 && plan.reduced.in[0] == 1)) {
    if (plan.reduced.size == 1 && plan.kept.rank > 0) return false;
    reduce_rows(context, plan, rows);
    return true;
  }
  if (plan.kept.rank > 0 && plan.kept.in[plan.kept.rank - 1] == 1) {
    reduce_columns(context, plan, rows);
    return true;
  }
  const int last = plan.reduced.rank - 1;
  if (plan.reduced.in[last] == 1 && plan.reduced.shape[last] >= 8) {
    reduce_runs(context, plan, rows);
    return true;
  }
  return false;
}

}  // namespace

Status reduce(Context& context, const ReduceArgs& args, const ReduceRowSet& rows) {
  Plan plan{args.op, &args.in, &args.out, {}, {}};
  for (int i = 0; i < args.in.rank; ++i) {
    if ((args.axes >> i & 1) != 0) {
      plan.reduced.append(args.in.shape[i], args.in.strides[i], 0);
    } else {
      plan.kept.append(args.in.shape[i], args.in.strides[i], args.out.strides[i]);
    }
  }
  if (plan.kept.size == 0) return {};
  const bool needs_one = args.op == Reduction::max || args.op == Reduction::min ||
                         args.op == Reduction::argmax || args.op == Reduction::argmin;
  if (needs_one && plan.reduced.size == 0) {
    return {Code::argument, "the largest or smallest of no elements does not exist"};
  }
  const DType dtype = args.in.dtype;
  if (dtype == DType::f32 && reduce_fast(context, plan, rows.f32)) return {};
  if (dtype == DType::f64 && reduce_fast(context, plan, rows.f64)) return {};
  reduce_elements(context, plan);
  return {};
}

Status all_finite(Context& context, const View& in, bool& finite, const ReduceRowSet& rows) {
  finite = true;
  if (!is_floating(in.dtype)) return {};
  Dimensions all;
  for (int i = 0; i < in.rank; ++i) all.append(in.shape[i], in.strides[i], 0);
  if (all.size == 0) return {};
  const bool row = all.rank == 0 || all.in[all.rank - 1] == 1;
  if (!row || in.dtype == DType::bf16) {
    for (int64_t i = 0; i < all.size && finite; ++i) {
      int64_t at, unused;
      all.locate(i, all.rank, at, unused);
      finite = std::isfinite(load(in, at));
    }
    return {};
  }
  const int64_t n = all.rank == 0 ? 1 : all.shape[all.rank - 1];
  constexpr int64_t kChunk = 65536;
  const int64_t pieces = (n + kChunk - 1) / kChunk;
  std::atomic<bool> good{true};
  context.parallel(all.size / n * pieces, [&](int64_t task) {
    int64_t at, unused;
    all.locate(task / pieces, all.rank - 1, at, unused);
    const int64_t begin = task % pieces * kChunk;
    const int64_t count = std::min(kChunk, n - begin);
    const bool ok = in.dtype == DType::f32
                        ? rows.f32.all_finite(in.as<const float>() + at + begin, count)
                        : rows.f64.all_finite(in.as<const double>() + at + begin, count);
    if (!ok) good.store(false, std::memory_order_relaxed);
  });
  finite = good.load();
  return {};
}

}  // namespace palimpsest::cpu
