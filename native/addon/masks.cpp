// Bindings of masks and of selection. A mask is a Uint8Array of whole 64-bit words.

#include "addon/bindings.h"
#include "addon/masks.h"
#include "palimpsest/kernels.h"

namespace palimpsest::addon {

uint64_t* mask_of(const View& view, const char* name, int64_t entries) {
  if (view.dtype != DType::u8 || !view.contiguous() || view.size() != 8 * mask_words(entries)) {
    refuse(Code::shape, std::string("'") + name + "' must be a mask of " + std::to_string(entries) +
                            " entries");
  }
  if (reinterpret_cast<uintptr_t>(view.data) % 8 != 0) {
    refuse(Code::argument, std::string("'") + name + "' does not begin at a multiple of 8 bytes");
  }
  return view.as<uint64_t>();
}

namespace {

constexpr int64_t kEntries = int64_t{1} << 53;

void need_contiguous(const View& view, const char* name) {
  if (!view.contiguous()) refuse(Code::shape, std::string("'") + name + "' must be contiguous");
}

int64_t read_entries(Call& call) { return call.integer("entries", 0, kEntries); }

// select(scores[], masks[]); then magnitude, largest, k → the last score chosen
auto select(Call& call) {
  const auto scores = call.views("scores", Access::read);
  const auto masks = call.views("masks", Access::write);
  if (scores.empty() || masks.size() != scores.size()) {
    refuse(Code::shape, "'masks' must have one entry a tensor of 'scores'");
  }
  SelectArgs args{};
  args.dtype = scores[0].dtype;
  call.read(args.magnitude, args.largest);
  std::vector<SelectPiece> pieces;
  int64_t total = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    need_contiguous(scores[i], "scores");
    if (scores[i].dtype != args.dtype) refuse(Code::dtype, "'scores' must be of one dtype");
    const int64_t n = scores[i].size();
    pieces.push_back({scores[i].data, n, mask_of(masks[i], "masks", n)});
    total += n;
  }
  args.k = call.integer("k", 0, total);
  args.threshold = call.result();
  return [args, pieces](Context& context) {
    SelectArgs whole = args;
    whole.pieces = pieces.data();
    whole.count = static_cast<int64_t>(pieces.size());
    return context.kernels.selection.select(context, whole);
  };
}

// sortRows(x, values | null, indices) over [rows, cols] and [rows, k]; then descending
auto sort_rows(Call& call) {
  const View x = call.view("x", Access::read);
  const View values = call.optional_view("values", Access::write);
  const View indices = call.view("indices", Access::write);
  if (x.rank != 2 || indices.rank != 2 || indices.shape[0] != x.shape[0] ||
      indices.shape[1] > x.shape[1] || x.shape[1] > INT32_MAX) {
    refuse(Code::shape, "'indices' must be [rows, k] for 'x' of [rows, cols], k ≤ cols");
  }
  need_contiguous(x, "x");
  need_contiguous(indices, "indices");
  if (indices.dtype != DType::i32) refuse(Code::dtype, "'indices' must be int32");
  if (values.data != nullptr &&
      (values.dtype != x.dtype || !values.contiguous() || values.size() != indices.size())) {
    refuse(Code::shape, "'values' must have the dtype of 'x' and the shape of 'indices'");
  }
  const SortRowsArgs args{x.dtype,     x.shape[0], x.shape[1],  indices.shape[1],
                          call.flag(), x.data,     values.data, indices.as<int32_t>()};
  return [args](Context& context) { return context.kernels.selection.sort_rows(context, args); };
}

// magnitudeCounts(x, counts); then upper (−1: by upper bits)
auto magnitude_counts(Call& call) {
  const View x = call.view("x", Access::read);
  const View counts = call.view("counts", Access::write);
  need_contiguous(x, "x");
  need_contiguous(counts, "counts");
  if (x.dtype != DType::f32 || counts.dtype != DType::f64) {
    refuse(Code::dtype, "'x' must be float32 and 'counts' float64");
  }
  const int64_t upper = call.integer("upper", -1, kMagnitudeUpper - 1);
  if (counts.size() != (upper < 0 ? kMagnitudeUpper : kMagnitudeLower)) {
    refuse(Code::shape, "'counts' must have one entry for every value of the bits");
  }
  const MagnitudeCountsArgs args{x.size(), x.as<float>(), upper, counts.as<double>()};
  return [args](Context& context) { return context.kernels.selection.magnitude_counts(context, args); };
}

// maskLogic(a, b | null, out); then op, entries
auto logic(Call& call) {
  const View a = call.view("a", Access::read);
  const View b = call.optional_view("b", Access::read);
  const View out = call.view("out", Access::write);
  MaskLogicArgs args{};
  args.op = call.choice("op", MaskLogic::complement);
  args.n = read_entries(call);
  args.a = mask_of(a, "a", args.n);
  args.b = b.data == nullptr ? nullptr : mask_of(b, "b", args.n);
  args.out = mask_of(out, "out", args.n);
  if (args.b == nullptr && args.n > 0 && args.op != MaskLogic::complement) {
    refuse(Code::argument, "'b' is missing");
  }
  return [args](Context& context) { return context.kernels.masks.logic(context, args); };
}

// maskCount(mask); then entries → the number of bits that are on
auto count(Call& call) {
  const View mask = call.view("mask", Access::read);
  const int64_t n = read_entries(call);
  const MaskCountArgs args{n, mask_of(mask, "mask", n), nullptr};
  double* result = call.result();
  return [args, result](Context& context) -> Status {
    int64_t on = 0;
    MaskCountArgs own = args;
    own.count = &on;
    PALIMPSEST_TRY(context.kernels.masks.count(context, own));
    *result = static_cast<double>(on);
    return {};
  };
}

// maskPack(x, mask)
auto pack(Call& call) {
  const View x = call.view("x", Access::read);
  const View mask = call.view("mask", Access::write);
  need_contiguous(x, "x");
  const MaskTensorArgs args{x.dtype, x.size(), mask_of(mask, "mask", x.size()), x.data, nullptr};
  return [args](Context& context) { return context.kernels.masks.pack(context, args); };
}

// maskUnpack(mask, y) into bool or uint8
auto unpack(Call& call) {
  const View mask = call.view("mask", Access::read);
  const View y = call.view("y", Access::write);
  need_contiguous(y, "y");
  if (size_of(y.dtype) != 1) refuse(Code::dtype, "'y' must be bool or uint8");
  const MaskTensorArgs args{y.dtype, y.size(), mask_of(mask, "mask", y.size()), nullptr, y.data};
  return [args](Context& context) { return context.kernels.masks.unpack(context, args); };
}

// maskApply(mask, x, y)
auto apply(Call& call) {
  const View mask = call.view("mask", Access::read);
  const View x = call.view("x", Access::read);
  const View y = call.view("y", Access::write);
  need_contiguous(x, "x");
  need_contiguous(y, "y");
  if (y.dtype != x.dtype || y.size() != x.size()) {
    refuse(Code::shape, "'y' must have the dtype and length of 'x'");
  }
  const MaskTensorArgs args{x.dtype, x.size(), mask_of(mask, "mask", x.size()), x.data, y.data};
  return [args](Context& context) { return context.kernels.masks.apply(context, args); };
}

// maskNm(x, mask) over a view [outer, length, inner]; then magnitude, n, m
auto nm(Call& call) {
  const View x = call.view("x", Access::read);
  const View mask = call.view("mask", Access::write);
  need_contiguous(x, "x");
  if (x.rank != 3) refuse(Code::shape, "'x' must have rank 3");
  NmArgs args{};
  args.dtype = x.dtype;
  args.magnitude = call.flag();
  args.n = call.integer("n", 0, 64);
  args.m = call.integer("m", 1, 64);
  if (args.n > args.m) refuse(Code::argument, "'n' must not be above 'm'");
  args.outer = x.shape[0];
  args.length = x.shape[1];
  args.inner = x.shape[2];
  if (args.length % args.m != 0) refuse(Code::shape, "'m' must divide the axis");
  args.x = x.data;
  args.mask = mask_of(mask, "mask", x.size());
  return [args](Context& context) { return context.kernels.masks.nm(context, args); };
}

// maskCarry(oldMask, oldCompact, mask, compact); then entries. Both compact vectors must be as long as
// their masks have bits.
auto carry(Call& call) {
  const View old_mask = call.view("oldMask", Access::read);
  const View old_compact = call.view("oldCompact", Access::read);
  const View mask = call.view("mask", Access::read);
  const View compact = call.view("compact", Access::write);
  MaskCarryArgs args{};
  args.n = read_entries(call);
  args.old_mask = mask_of(old_mask, "oldMask", args.n);
  args.mask = mask_of(mask, "mask", args.n);
  need_contiguous(old_compact, "oldCompact");
  need_contiguous(compact, "compact");
  if (old_compact.dtype != DType::f32 || compact.dtype != DType::f32) {
    refuse(Code::dtype, "compact vectors must be float32");
  }
  args.old_compact = old_compact.as<float>();
  args.compact = compact.as<float>();
  const int64_t before = old_compact.size();
  const int64_t after = compact.size();
  return [args, before, after](Context& context) -> Status {
    int64_t counts[2];
    PALIMPSEST_TRY(context.kernels.masks.count(context, {args.n, args.old_mask, &counts[0]}));
    PALIMPSEST_TRY(context.kernels.masks.count(context, {args.n, args.mask, &counts[1]}));
    if (counts[0] != before || counts[1] != after) {
      return {Code::shape, "a compact vector is not as long as its mask has bits"};
    }
    return context.kernels.masks.carry(context, args);
  };
}

}  // namespace

void register_masks(Exports& exports) {
  exports.add_with_async<select>("select");
  exports.add<sort_rows>("sortRows");
  exports.add<magnitude_counts>("magnitudeCounts");
  exports.add<logic>("maskLogic");
  exports.add<count>("maskCount");
  exports.add<pack>("maskPack");
  exports.add<unpack>("maskUnpack");
  exports.add<apply>("maskApply");
  exports.add<nm>("maskNm");
  exports.add<carry>("maskCarry");
}

}  // namespace palimpsest::addon
