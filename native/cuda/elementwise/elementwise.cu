// Elementwise operations. Floor: each operand read once, the result written once. Contiguous float32
// goes 16 bytes a thread; everything else (views, other dtypes) an element a thread, converted on the
// way. The operation is a switch that is the same for a whole launch: it costs a few instructions where
// memory costs hundreds of cycles, and keeps this file to six kernels.

#include "cpu/walk.h"
#include "cuda/elementwise/operations.cuh"
#include "cuda/primitives.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxInputs = 3;

struct Operand {
  const void* data;  // null: the constant
  DType dtype;
  double constant;
};

// Everything that a launch needs to know; dimensions innermost last, as cpu/walk.h merges them.
struct Plan {
  Operand in[kMaxInputs];
  void* out;
  DType out_dtype;
  int rank;
  int64_t size;
  int64_t shape[kMaxRank];
  int64_t strides[kMaxInputs + 1][kMaxRank];  // of out, then of the inputs
};

template <typename Index, int kInputs>
__device__ inline void offsets_of(const Plan& plan, int64_t at, int64_t* offsets) {
  for (int k = 0; k <= kInputs; ++k) offsets[k] = 0;
  auto rest = static_cast<Index>(at);
  for (int i = plan.rank - 1; i >= 0; --i) {
    const auto extent = static_cast<Index>(plan.shape[i]);
    const Index next = rest / extent;
    const int64_t position = static_cast<int64_t>(rest - next * extent);
    rest = next;
    for (int k = 0; k <= kInputs; ++k) offsets[k] += position * plan.strides[k][i];
  }
}

template <typename T>
__device__ inline T operand(const Operand& in, int64_t at) {
  if (in.data == nullptr) {
    if constexpr (T(0.5) == T(0)) return to_int(in.constant);
    else return static_cast<T>(in.constant);
  }
  return load_as<T>(in.data, in.dtype, at);
}

template <typename T, typename Index>
__global__ void __launch_bounds__(kThreads) unary_kernel(const Plan plan, Unary op) {
  for (int64_t i = global_thread(); i < plan.size; i += all_threads()) {
    int64_t at[2];
    offsets_of<Index, 1>(plan, i, at);
    store_as<T>(plan.out, plan.out_dtype, at[0], apply_unary<T>(op, operand<T>(plan.in[0], at[1])));
  }
}

template <typename T, typename Index>
__global__ void __launch_bounds__(kThreads) binary_kernel(const Plan plan, Binary op) {
  for (int64_t i = global_thread(); i < plan.size; i += all_threads()) {
    int64_t at[3];
    offsets_of<Index, 2>(plan, i, at);
    store_as<T>(plan.out, plan.out_dtype, at[0],
                apply_binary<T>(op, operand<T>(plan.in[0], at[1]), operand<T>(plan.in[1], at[2])));
  }
}

template <typename T, typename Index>
__global__ void __launch_bounds__(kThreads) where_kernel(const Plan plan) {
  for (int64_t i = global_thread(); i < plan.size; i += all_threads()) {
    int64_t at[4];
    offsets_of<Index, 3>(plan, i, at);
    const bool condition = operand<T>(plan.in[0], at[1]) != T(0);
    const T x = condition ? operand<T>(plan.in[1], at[2]) : operand<T>(plan.in[2], at[3]);
    store_as<T>(plan.out, plan.out_dtype, at[0], x);
  }
}

// Contiguous float32, 16-byte aligned; n in elements.
__global__ void __launch_bounds__(kThreads) unary_vector_kernel(Unary op, const float* in, float* out, int64_t n) {
  for (int64_t i = global_thread(); i < n / 4; i += all_threads()) {
    float4 x = reinterpret_cast<const float4*>(in)[i];
    x.x = float_unary(op, x.x);
    x.y = float_unary(op, x.y);
    x.z = float_unary(op, x.z);
    x.w = float_unary(op, x.w);
    reinterpret_cast<float4*>(out)[i] = x;
  }
  const int64_t tail = n / 4 * 4 + global_thread();
  if (tail < n) out[tail] = float_unary(op, in[tail]);
}

// A null operand is the constant.
__global__ void __launch_bounds__(kThreads)
    binary_vector_kernel(Binary op, const float* a, const float* b, float constant, float* out, int64_t n) {
  const float4 fixed = make_float4(constant, constant, constant, constant);
  for (int64_t i = global_thread(); i < n / 4; i += all_threads()) {
    float4 x = a == nullptr ? fixed : reinterpret_cast<const float4*>(a)[i];
    const float4 y = b == nullptr ? fixed : reinterpret_cast<const float4*>(b)[i];
    x.x = float_binary(op, x.x, y.x);
    x.y = float_binary(op, x.y, y.y);
    x.z = float_binary(op, x.z, y.z);
    x.w = float_binary(op, x.w, y.w);
    reinterpret_cast<float4*>(out)[i] = x;
  }
  const int64_t tail = n / 4 * 4 + global_thread();
  if (tail < n) {
    out[tail] = float_binary(op, a == nullptr ? constant : a[tail], b == nullptr ? constant : b[tail]);
  }
}

enum class Arithmetic { f32, f64, i32 };

Arithmetic common_arithmetic(const Operand* in, int count) {
  Arithmetic best = Arithmetic::i32;
  for (int k = 0; k < count; ++k) {
    if (in[k].data == nullptr) continue;
    if (in[k].dtype == DType::f64) return Arithmetic::f64;
    if (is_floating(in[k].dtype)) best = Arithmetic::f32;
  }
  return best;
}

Plan make_plan(const View& out, const View* const* inputs, const double* constants, int count) {
  Plan plan{};
  const View* views[kMaxInputs + 1] = {&out};
  for (int k = 0; k < count; ++k) {
    const View& view = *inputs[k];
    plan.in[k] = {view.data, view.dtype, constants[k]};
    views[k + 1] = view.data == nullptr ? &out : &view;
  }
  const cpu::Walk walk = cpu::make_walk(views, count + 1);
  plan.out = out.data;
  plan.out_dtype = out.dtype;
  plan.rank = walk.rank;
  plan.size = walk.size;
  for (int i = 0; i < walk.rank; ++i) {
    plan.shape[i] = walk.shape[i];
    for (int k = 0; k <= count; ++k) plan.strides[k][i] = walk.strides[k][i];
  }
  return plan;
}

bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

// All operands that are there are float32, one after the other in memory.
bool vectors(const Plan& plan, int count) {
  bool good = plan.rank == 1 && plan.out_dtype == DType::f32 && plan.strides[0][0] == 1 &&
              aligned(plan.out);
  for (int k = 0; k < count; ++k) {
    if (plan.in[k].data == nullptr) continue;
    good = good && plan.in[k].dtype == DType::f32 && plan.strides[k + 1][0] == 1 &&
           aligned(plan.in[k].data);
  }
  return good;
}

#define BY_ARITHMETIC(kernel, ...)                                                             \
  do {                                                                                         \
    const dim3 grid(blocks_for(context, plan.size, kThreads));                                 \
    const bool small = plan.size <= INT32_MAX;                                                 \
    switch (arithmetic) {                                                                      \
      case Arithmetic::f64:                                                                    \
        return small ? launch(context, kernel<double, uint32_t>, grid, kThreads, 0, __VA_ARGS__)  \
                     : launch(context, kernel<double, uint64_t>, grid, kThreads, 0, __VA_ARGS__); \
      case Arithmetic::i32:                                                                    \
        return small ? launch(context, kernel<int32_t, uint32_t>, grid, kThreads, 0, __VA_ARGS__)  \
                     : launch(context, kernel<int32_t, uint64_t>, grid, kThreads, 0, __VA_ARGS__); \
      default:                                                                                 \
        return small ? launch(context, kernel<float, uint32_t>, grid, kThreads, 0, __VA_ARGS__)  \
                     : launch(context, kernel<float, uint64_t>, grid, kThreads, 0, __VA_ARGS__); \
    }                                                                                          \
  } while (false)

Status unary(Context& context, const UnaryArgs& args) {
  const View* inputs[] = {&args.in};
  const double constants[] = {0};
  const Plan plan = make_plan(args.out, inputs, constants, 1);
  if (plan.size == 0) return {};
  Arithmetic arithmetic = common_arithmetic(plan.in, 1);
  if (args.op == Unary::copy && args.out.dtype == DType::f64) arithmetic = Arithmetic::f64;
  if (arithmetic == Arithmetic::i32 && !integer_has(args.op)) arithmetic = Arithmetic::f32;
  if (arithmetic == Arithmetic::f32 && vectors(plan, 1)) {
    return launch(context, unary_vector_kernel, blocks_for(context, plan.size, 4 * kThreads), kThreads, 0,
                  args.op, args.in.as<const float>(), args.out.as<float>(), plan.size);
  }
  BY_ARITHMETIC(unary_kernel, plan, args.op);
}

Status binary(Context& context, const BinaryArgs& args) {
  const View* inputs[] = {&args.a, &args.b};
  const double constants[] = {args.scalar, args.scalar};
  const Plan plan = make_plan(args.out, inputs, constants, 2);
  if (plan.size == 0) return {};
  Arithmetic arithmetic = common_arithmetic(plan.in, 2);
  const bool no_operand = args.a.data == nullptr && args.b.data == nullptr;
  if (no_operand && is_floating(args.out.dtype)) {
    arithmetic = args.out.dtype == DType::f64 ? Arithmetic::f64 : Arithmetic::f32;
  }
  const bool constant = args.a.data == nullptr || args.b.data == nullptr;
  const bool whole = args.scalar >= -2147483648.0 && args.scalar <= 2147483647.0 &&
                     args.scalar == static_cast<double>(static_cast<int32_t>(args.scalar));
  if (arithmetic == Arithmetic::i32 && ((constant && !whole) || !integer_has(args.op))) {
    arithmetic = Arithmetic::f32;
  }
  if (arithmetic == Arithmetic::f32 && vectors(plan, 2)) {
    return launch(context, binary_vector_kernel, blocks_for(context, plan.size, 4 * kThreads), kThreads, 0,
                  args.op, args.a.as<const float>(), args.b.as<const float>(),
                  static_cast<float>(args.scalar), args.out.as<float>(), plan.size);
  }
  BY_ARITHMETIC(binary_kernel, plan, args.op);
}

Status where(Context& context, const WhereArgs& args) {
  const View* inputs[] = {&args.condition, &args.a, &args.b};
  const double constants[] = {0, args.scalar_a, args.scalar_b};
  const Plan plan = make_plan(args.out, inputs, constants, 3);
  if (plan.size == 0) return {};
  Arithmetic arithmetic = common_arithmetic(plan.in, 3);
  if (args.out.dtype == DType::f64) arithmetic = Arithmetic::f64;
  if (arithmetic == Arithmetic::i32 && is_floating(args.out.dtype)) arithmetic = Arithmetic::f32;
  BY_ARITHMETIC(where_kernel, plan);
}

}  // namespace

void fill_elementwise(KernelTable& table) {
  table.elementwise = {.unary = unary, .binary = binary, .where = where};
}

}  // namespace palimpsest::cuda
