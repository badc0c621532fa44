// Walks views, converts what is strided or of another dtype through small buffers that stay in the
// first-level cache, calls row functions, and spreads rows over threads.

#include <algorithm>
#include <cstring>
#include <string>

#include "cpu/elementwise/rows.h"
#include "cpu/walk.h"
#include "palimpsest/context.h"

namespace palimpsest::cpu {
namespace {

constexpr int64_t kBlock = 512;            // elements a buffer holds
constexpr int64_t kGrain = 16384;          // elements a task takes
constexpr int kMaxInputs = 3;

DType dtype_of_arithmetic(Arithmetic a) {
  return a == Arithmetic::f64 ? DType::f64 : a == Arithmetic::i32 ? DType::i32 : DType::f32;
}

struct Input {
  const View* view;  // null data: the constant
  double constant = 0;
};

Arithmetic common_arithmetic(const Input* inputs, int count) {
  Arithmetic best = Arithmetic::i32;
  for (int k = 0; k < count; ++k) {
    if (inputs[k].view->data == nullptr) continue;
    const DType dtype = inputs[k].view->dtype;
    if (dtype == DType::f64) return Arithmetic::f64;
    if (is_floating(dtype)) best = Arithmetic::f32;
  }
  return best;
}

// dst[i] = src[i · stride] in elements of `width` bytes.
template <typename T>
void gather(void* dst, const std::byte* src, int64_t stride, int64_t n) {
  auto* to = static_cast<T*>(dst);
  const auto* from = reinterpret_cast<const T*>(src);
  if (stride == 0) {
    std::fill_n(to, n, *from);
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i * stride];
  }
}
template <typename T>
void scatter(std::byte* dst, const void* src, int64_t stride, int64_t n) {
  auto* to = reinterpret_cast<T*>(dst);
  const auto* from = static_cast<const T*>(src);
  for (int64_t i = 0; i < n; ++i) to[i * stride] = from[i];
}
void gather(size_t width, void* dst, const std::byte* src, int64_t stride, int64_t n) {
  switch (width) {
    case 8: return gather<uint64_t>(dst, src, stride, n);
    case 4: return gather<uint32_t>(dst, src, stride, n);
    case 2: return gather<uint16_t>(dst, src, stride, n);
    default: return gather<uint8_t>(dst, src, stride, n);
  }
}
void scatter(size_t width, std::byte* dst, const void* src, int64_t stride, int64_t n) {
  switch (width) {
    case 8: return scatter<uint64_t>(dst, src, stride, n);
    case 4: return scatter<uint32_t>(dst, src, stride, n);
    case 2: return scatter<uint16_t>(dst, src, stride, n);
    default: return scatter<uint8_t>(dst, src, stride, n);
  }
}

struct alignas(64) Buffer {
  std::byte bytes[kBlock * sizeof(double)];
};

// Everything that is the same for all rows of a call.
class Runner {
 public:
  Runner(const ElementwiseRows& rows, RowFunction function, Arithmetic arithmetic, const View& out,
         const Input* inputs, int count)
      : function_(function), out_(&out), count_(count) {
    const int a = static_cast<int>(arithmetic);
    const DType native = dtype_of_arithmetic(arithmetic);
    const View* views[kMaxOperands] = {&out};
    for (int k = 0; k < count; ++k) {
      const View& view = *inputs[k].view;
      constants_[k] = inputs[k].constant;
      is_constant_[k] = view.data == nullptr;
      views[k + 1] = is_constant_[k] ? &out : &view;
      const DType dtype = is_constant_[k] ? DType::f64 : view.dtype;
      widen_[k] = dtype == native ? nullptr : rows.widen[a][static_cast<int>(dtype)];
      data_[k] = static_cast<const std::byte*>(view.data);
      width_[k] = size_of(dtype);
    }
    narrow_ = out.dtype == native ? nullptr : rows.narrow[a][static_cast<int>(out.dtype)];
    walk_ = make_walk(views, count + 1);
  }

  void run(Context& context) const {
    if (walk_.size == 0) return;
    const int64_t inner = walk_.inner();
    if (inner >= kGrain) {
      const int64_t pieces = (inner + kGrain - 1) / kGrain;
      context.parallel(walk_.outer() * pieces, [&](int64_t task) {
        Task work(*this);
        const int64_t begin = task % pieces * kGrain;
        work.row(task / pieces, begin, std::min(begin + kGrain, inner));
      });
    } else {
      const int64_t rows_a_task = std::max<int64_t>(1, kGrain / inner);
      context.parallel_chunks(walk_.outer(), rows_a_task, [&](int64_t begin, int64_t end) {
        Task work(*this);
        for (int64_t i = begin; i < end; ++i) work.row(i, 0, inner);
      });
    }
  }

 private:
  // One thread's buffers.
  struct Task {
    explicit Task(const Runner& r) : runner(r) {
      for (int k = 0; k < r.count_; ++k) {
        if (!r.is_constant_[k]) continue;
        double value[kBlock];
        const auto used = static_cast<size_t>(std::min(kBlock, r.walk_.inner()));
        std::fill_n(value, used, r.constants_[k]);
        if (r.widen_[k] != nullptr) {
          r.widen_[k](inputs[k].bytes, value, static_cast<int64_t>(used));
        } else {
          std::memcpy(inputs[k].bytes, value, used * sizeof(double));
        }
      }
    }

    void row(int64_t index, int64_t begin, int64_t end) {
      const Walk& walk = runner.walk_;
      const int last = walk.rank - 1;
      int64_t offsets[kMaxOperands];
      walk.row(index, offsets);
      const size_t out_width = size_of(runner.out_->dtype);
      auto* out_data = static_cast<std::byte*>(runner.out_->data);
      for (int64_t at = begin; at < end;) {
        bool direct = true;  // no buffer bounds the block
        const void* in[kMaxInputs];
        for (int k = 0; k < runner.count_; ++k) {
          direct = direct && !runner.is_constant_[k] && runner.widen_[k] == nullptr &&
                   walk.strides[k + 1][last] == 1;
        }
        direct = direct && runner.narrow_ == nullptr && walk.strides[0][last] == 1;
        const int64_t n = direct ? end - at : std::min(kBlock, end - at);
        for (int k = 0; k < runner.count_; ++k) in[k] = input(k, offsets[k + 1], at, n);
        const int64_t stride = walk.strides[0][last];
        std::byte* target =
            out_data + (offsets[0] + at * stride) * static_cast<int64_t>(out_width);
        const bool through_buffer = stride != 1 || runner.narrow_ != nullptr;
        void* result = through_buffer ? static_cast<void*>(output.bytes) : target;
        runner.function_(result, in, n);
        if (runner.narrow_ != nullptr) {
          void* narrowed = stride == 1 ? static_cast<void*>(target) : staging.bytes;
          runner.narrow_(narrowed, result, n);
          result = narrowed;
        }
        if (stride != 1) scatter(out_width, target, result, stride, n);
        at += n;
      }
    }

    const void* input(int k, int64_t offset, int64_t at, int64_t n) {
      if (runner.is_constant_[k]) return inputs[k].bytes;
      const int64_t stride = runner.walk_.strides[k + 1][runner.walk_.rank - 1];
      const std::byte* source =
          runner.data_[k] + (offset + at * stride) * static_cast<int64_t>(runner.width_[k]);
      if (stride != 1) {
        void* to = runner.widen_[k] == nullptr ? inputs[k].bytes : staging.bytes;
        gather(runner.width_[k], to, source, stride, n);
        source = static_cast<const std::byte*>(to);
      }
      if (runner.widen_[k] == nullptr) return source;
      runner.widen_[k](inputs[k].bytes, source, n);
      return inputs[k].bytes;
    }

    const Runner& runner;
    Buffer inputs[kMaxInputs];
    Buffer output;
    Buffer staging;
  };

  RowFunction function_;
  const View* out_;
  int count_;
  Walk walk_;
  const std::byte* data_[kMaxInputs] = {};
  size_t width_[kMaxInputs] = {};
  double constants_[kMaxInputs] = {};
  bool is_constant_[kMaxInputs] = {};
  ConvertFunction widen_[kMaxInputs] = {};
  ConvertFunction narrow_ = nullptr;
};

}  // namespace

Status elementwise_unary(Context& context, const UnaryArgs& args, const ElementwiseRows& rows) {
  const Input input{&args.in};
  Arithmetic arithmetic = common_arithmetic(&input, 1);
  // A conversion keeps what both ends can hold: int32 ↔ float64 exactly.
  if (args.op == Unary::copy && args.out.dtype == DType::f64) arithmetic = Arithmetic::f64;
  const auto op = static_cast<int>(args.op);
  if (rows.unary[static_cast<int>(arithmetic)][op] == nullptr) arithmetic = Arithmetic::f32;
  Runner(rows, rows.unary[static_cast<int>(arithmetic)][op], arithmetic, args.out, &input, 1)
      .run(context);
  return {};
}

Status elementwise_binary(Context& context, const BinaryArgs& args, const ElementwiseRows& rows) {
  const Input inputs[] = {{&args.a, args.scalar}, {&args.b, args.scalar}};
  Arithmetic arithmetic = common_arithmetic(inputs, 2);
  if (args.a.data == nullptr && args.b.data == nullptr && is_floating(args.out.dtype)) {
    arithmetic = args.out.dtype == DType::f64 ? Arithmetic::f64 : Arithmetic::f32;
  }
  const bool constant = args.a.data == nullptr || args.b.data == nullptr;
  const bool fractional = constant && !(args.scalar == static_cast<double>(static_cast<int32_t>(
                                            std::clamp(args.scalar, -2147483648.0, 2147483647.0))));
  const auto op = static_cast<int>(args.op);
  if (arithmetic == Arithmetic::i32 &&
      (fractional || rows.binary[static_cast<int>(arithmetic)][op] == nullptr)) {
    arithmetic = Arithmetic::f32;
  }
  Runner(rows, rows.binary[static_cast<int>(arithmetic)][op], arithmetic, args.out, inputs, 2)
      .run(context);
  return {};
}

Status elementwise_where(Context& context, const WhereArgs& args, const ElementwiseRows& rows) {
  const Input inputs[] = {
      {&args.condition}, {&args.a, args.scalar_a}, {&args.b, args.scalar_b}};
  Arithmetic arithmetic = common_arithmetic(inputs, 3);
  if (args.out.dtype == DType::f64) arithmetic = Arithmetic::f64;
  if (arithmetic == Arithmetic::i32 && is_floating(args.out.dtype)) arithmetic = Arithmetic::f32;
  Runner(rows, rows.where[static_cast<int>(arithmetic)], arithmetic, args.out, inputs, 3)
      .run(context);
  return {};
}

}  // namespace palimpsest::cpu
