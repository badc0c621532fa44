// The blocked product: packs both operands into panels, then computes D block by block.

#include "cpu/gemm/driver.h"

#include <algorithm>

#include "palimpsest/context.h"

namespace palimpsest::cpu {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

const std::byte* at(const Matrix& m, int64_t batch) {
  return static_cast<const std::byte*>(m.data) +
         batch * m.batch_stride * static_cast<int64_t>(size_of(m.dtype));
}

Matrix batch_member(const Matrix& m, int64_t batch) {
  Matrix member = m;
  if (m.data != nullptr) member.data = const_cast<std::byte*>(at(m, batch));
  return member;
}

// How many panels a block of D spans, and how many blocks there are.
struct Blocking {
  int64_t row_panels, col_panels;
  int64_t row_blocks, col_blocks;
};

constexpr int64_t kLeastPanels = 2;

Blocking even_blocks(int64_t row_panels, int64_t col_panels, int64_t rows, int64_t cols) {
  Blocking b{};
  b.row_blocks = divide_up(row_panels, rows);
  b.col_blocks = divide_up(col_panels, cols);
  b.row_panels = divide_up(row_panels, b.row_blocks);
  b.col_panels = divide_up(col_panels, b.col_blocks);
  b.row_blocks = divide_up(row_panels, b.row_panels);
  b.col_blocks = divide_up(col_panels, b.col_panels);
  return b;
}

Blocking choose_blocks(const TileKernel& kernel, int64_t row_panels, int64_t col_panels,
                       int64_t batch) {
  int64_t rows = std::min(kernel.most_row_panels, row_panels);
  int64_t cols = std::min(kernel.most_col_panels, col_panels);
  const auto blocks = [&] {
    return batch * divide_up(row_panels, rows) * divide_up(col_panels, cols);
  };
  while (blocks() < kernel.enough_blocks && (rows > kLeastPanels || cols > kLeastPanels)) {
    int64_t& larger = cols >= rows ? cols : rows;
    larger = std::max(kLeastPanels, larger / 2);
  }
  return even_blocks(row_panels, col_panels, rows, cols);
}

// Panels of one operand that a thread packed and keeps from task to task of one product.
struct Kept {
  Workspace memory;
  uint64_t product = 0;
  int64_t batch = 0;
  std::byte* panels = nullptr;
  bool unusual = false;
};
uint64_t last_product = 0;

constexpr int64_t kMostKept = 3 << 19;   // bytes, in L2
constexpr int64_t kMostStrip = 1 << 19;  // of the other operand beside it
constexpr int64_t kLarge = 1 << 21;      // bytes of D
constexpr int64_t kMostSums = 1 << 21;   // bytes of D whose sums wait in memory while panels come in turns
constexpr int64_t kMostPacked = 1 << 21; // bytes of panels of one turn
constexpr int64_t kGroup = 4;            // panels that one task packs
constexpr int64_t kStretch = 32;         // k's of each of them in turn
constexpr int64_t kLeastWork = 1 << 18;  // multiply-adds that are worth a thread's attention

Kept& kept_by_this_thread() {
  thread_local Kept kept;
  return kept;
}

class Product {
 public:
  Product(Context& context, const GemmArgs& args, const TileKernel& kernel)
      : context_(context), args_(args), kernel_(kernel) {
    const Operands m = in_rows(args);
    swapped_ = m.swapped;
    a_ = m.a, b_ = m.b, c_ = m.c, d_ = m.d;
    depth_ = a_.cols;
    row_panels_ = divide_up(d_.rows, kernel.rows);
    col_panels_ = divide_up(d_.cols, kernel.cols);
    is_large_ = d_.rows * d_.cols * static_cast<int64_t>(size_of(d_.dtype)) >= kLarge;
    const int64_t units = divide_up(depth_, kernel.values_per_unit);
    a_bytes_ = row_panels_ * units * unit_a();
    b_bytes_ = col_panels_ * units * unit_b();
    keeps_ = std::min(a_bytes_, b_bytes_) <= kMostKept && !(args.symmetric && kernel.otherwise);
    const int64_t most_units = keeps_ ? kernel.units_per_long_slice : kernel.units_per_slice;
    slices_ = std::max<int64_t>(1, divide_up(units, most_units));
    units_per_slice_ = divide_up(units, slices_);
    if (units_per_slice_ > 0) slices_ = divide_up(units, units_per_slice_);
    if (keeps_) {
      choose_strips();
      return;
    }
    blocking_ = choose_blocks(kernel, row_panels_, col_panels_, args.batch);
    const bool copied = kernel.copies_a && a_.dtype == DType::bf16 && a_.col_stride == 1 &&
                        blocking_.col_blocks <= 4;
    packs_a_first_ = (blocking_.col_blocks > 1 && !copied) || kernel.otherwise != nullptr;
    packs_b_first_ = blocking_.row_blocks > 1 || kernel.otherwise != nullptr;
    choose_turns();
  }

  // False, with D as it was, where the kernel refuses a value.
  bool run() {
    const Workspace::Scope scope(context_.workspace);
    if (!keeps_) take_panels();
    for (turn_begin_ = 0; turn_begin_ == 0 || turn_begin_ < slices_; turn_begin_ += slices_per_turn_) {
      turn_end_ = std::min(slices_, turn_begin_ + slices_per_turn_);
      if (!keeps_ && !pack_first()) return false;  // D is written with the last slice, so nothing has been
      compute_blocks();
    }
    return true;
  }

 private:
  void compute_blocks() {
    const int64_t blocks = blocking_.row_blocks * blocking_.col_blocks;
    context_.parallel(args_.batch * blocks, [&](int64_t task) {
      // The lowest blocks of a symmetric product, or the first strips of columns, are the fullest:
      // they come first.
      const int64_t block = task % blocks;
      const bool backwards = args_.symmetric && blocking_.row_blocks > 1;
      compute(task / blocks, backwards ? blocks - 1 - block : block);
    });
  }

  // Long sums of a small D: panels are packed some slices at a time, which stay in cache, and the sums wait
  // in memory meanwhile.
  void choose_turns() {
    const int64_t packed = a_bytes_ + b_bytes_;
    const int64_t sums = sums_bytes(row_panels_, col_panels_);
    slices_per_turn_ = slices_;
    if (args_.symmetric || args_.batch != 1 || !packs_a_first_ || !packs_b_first_ || sums > kMostSums ||
        packed <= 2 * kMostPacked) {
      return;
    }
    slices_per_turn_ = std::clamp<int64_t>(slices_ * kMostPacked / packed, 1, slices_);
  }

  // The smaller operand is packed by every thread for itself and kept, the other in strips, each by
  // the task that multiplies it: nothing that one core wrote is read by another.
  void choose_strips() {
    // Strips of rows write D's lines whole; of columns, neighbours may share a cache line.
    keeps_a_ = a_bytes_ < b_bytes_;
    const int64_t panels = keeps_a_ ? col_panels_ : row_panels_;
    const int64_t panel_bytes = units_per_slice_ * (keeps_a_ ? unit_b() : unit_a());
    const int64_t work = d_.rows * d_.cols * depth_ / kLeastWork;
    const int64_t strips = std::clamp<int64_t>(work, 1, std::max<int64_t>(1, kernel_.enough_blocks / args_.batch));
    const int64_t most = keeps_a_ ? kernel_.most_col_panels : kernel_.most_row_panels;
    const int64_t fitting = std::clamp<int64_t>(kMostStrip / std::max<int64_t>(1, panel_bytes), 1, most);
    const int64_t width = std::min(fitting, divide_up(panels, strips));
    blocking_ = keeps_a_ ? even_blocks(row_panels_, col_panels_, row_panels_, width)
                         : even_blocks(row_panels_, col_panels_, width, col_panels_);
    packs_a_first_ = packs_b_first_ = false;
    slices_per_turn_ = slices_;
  }

  bool takes_turns() const { return slices_per_turn_ < slices_; }

  int64_t sums_bytes(int64_t row_panels, int64_t col_panels) const {
    return row_panels * kernel_.rows * col_panels * kernel_.cols * kernel_.sum_size;
  }

  void take_panels() {
    copies_ = args_.a.batch_stride == 0 && args_.b.batch_stride == 0 ? 1 : args_.batch;
    const int64_t units = takes_turns() ? slices_per_turn_ * units_per_slice_ : divide_up(depth_, kernel_.values_per_unit);
    if (packs_a_first_) packed_a_ = context_.workspace.take<std::byte>(copies_ * row_panels_ * units * unit_a());
    if (packs_b_first_) packed_b_ = context_.workspace.take<std::byte>(copies_ * col_panels_ * units * unit_b());
    if (takes_turns()) {
      sums_ = context_.workspace.take<std::byte>(blocking_.row_blocks * blocking_.col_blocks *
                                                 sums_bytes(blocking_.row_panels, blocking_.col_panels));
    }
  }

  bool pack_first() {
    const int64_t a_groups = packs_a_first_ ? divide_up(row_panels_, kGroup) : 0;
    const int64_t groups = a_groups + (packs_b_first_ ? divide_up(col_panels_, kGroup) : 0);
    const int64_t slices = turn_end_ - turn_begin_;
    context_.parallel(depth_ == 0 ? 0 : copies_ * groups * slices, [&](int64_t task) {
      const int64_t slice = turn_begin_ + task / groups % slices;
      const int64_t batch = task / groups / slices;
      const bool is_a = task % groups < a_groups;
      const int64_t panels = is_a ? row_panels_ : col_panels_;
      const int64_t first = (task % groups - (is_a ? 0 : a_groups)) * kGroup;
      std::byte* to = (is_a ? packed_a_ + batch * a_bytes_ : packed_b_ + batch * b_bytes_) +
                      panel_offset(slice, first, panels, is_a ? unit_a() : unit_b());
      pack_panels(is_a, batch, slice, first, std::min(kGroup, panels - first), to, unusual_);
    });
    return !__atomic_load_n(&unusual_, __ATOMIC_RELAXED);
  }

  // The kept operand's panels, packed by the thread's first task.
  const Kept& keep(int64_t batch) {
    Kept& kept = kept_by_this_thread();
    const Matrix& m = keeps_a_ ? a_ : b_;
    if (m.batch_stride == 0) batch = 0;
    if (kept.product == id_ && kept.batch == batch) return kept;
    const Workspace::Scope scope(kept.memory);  // what it takes is read until the next product
    kept.product = id_;
    kept.batch = batch;
    kept.unusual = false;
    kept.panels = kept.memory.take<std::byte>(keeps_a_ ? a_bytes_ : b_bytes_);
    const int64_t panels = keeps_a_ ? row_panels_ : col_panels_;
    for (int64_t slice = 0; slice < slices_ && depth_ > 0; ++slice) {
      pack_panels(keeps_a_, batch, slice, 0, panels,
                  kept.panels + panel_offset(slice, 0, panels, keeps_a_ ? unit_a() : unit_b()),
                  kept.unusual);
    }
    return kept;
  }

  // A block of D with values that the kernel refused, by the other kernel.
  void compute_otherwise(int64_t batch, const BlockArgs& block) {
    const auto part = [&](const Matrix& m, int64_t row, int64_t rows, int64_t col, int64_t cols) {
      Matrix member = batch_member(m, batch);
      if (m.data == nullptr) return member;
      member.data = static_cast<std::byte*>(member.data) +
                    (row * m.row_stride + col * m.col_stride) * static_cast<int64_t>(size_of(m.dtype));
      member.rows = rows;
      member.cols = cols;
      return member;
    };
    const int64_t rows = std::min(block.row_panels * kernel_.rows, d_.rows - block.row);
    const int64_t cols = std::min(block.col_panels * kernel_.cols, d_.cols - block.col);
    GemmArgs args = args_;
    args.batch = 1;
    args.scales = args_.scales == nullptr ? nullptr : args_.scales + batch;
    args.betas = args_.betas == nullptr ? nullptr : args_.betas + batch;
    args.a = part(a_, block.row, rows, 0, depth_);
    args.b = part(b_, 0, depth_, block.col, cols);
    args.c = part(c_, block.row, rows, block.col, cols);
    args.d = part(d_, block.row, rows, block.col, cols);
    if (args.bias != nullptr) {
      args.bias = static_cast<const std::byte*>(args.bias) +
                  (swapped_ ? block.row : block.col) * kernel_.sum_size;
    }
    if (swapped_) {
      std::swap(args.a, args.b);
      for (Matrix* m : {&args.a, &args.b, &args.c, &args.d}) *m = m->transposed();
    }
    Context alone(context_.kernels, Workspace::local(), 1);
    alone.abort = context_.abort;
    (void)kernel_.otherwise(alone, args);
  }

  int64_t slice_units(int64_t slice) const {
    const int64_t units = divide_up(depth_, kernel_.values_per_unit);
    return std::min(units_per_slice_, units - slice * units_per_slice_);
  }

  // Bytes of a panel's unit.
  int unit_a() const { return kernel_.rows * kernel_.unit_size_a; }
  int unit_b() const { return kernel_.cols * kernel_.unit_size_b; }

  // Where panel `panel` of slice `slice` lies in a packed operand of `panels` panels.
  int64_t panel_offset(int64_t slice, int64_t panel, int64_t panels, int unit_bytes) const {
    return ((slice - turn_begin_) * units_per_slice_ * panels + panel * slice_units(slice)) * unit_bytes;
  }

  // Panels side by side, each `panel_bytes` after the one before. Where lines lie side by side in memory
  // too, some k's of all panels come before the next k's: long stretches of a row are read at once.
  void pack_panels(bool is_a, int64_t batch, int64_t slice, int64_t first, int64_t count,
                   std::byte* to, bool& unusual) {
    const Matrix& m = is_a ? a_ : b_;
    const int width = is_a ? kernel_.rows : kernel_.cols;
    const int64_t line_stride = is_a ? m.row_stride : m.col_stride;
    const int64_t k_stride = is_a ? m.col_stride : m.row_stride;
    const auto size = static_cast<int64_t>(size_of(m.dtype));
    const int64_t unit_bytes = is_a ? unit_a() : unit_b();
    const int64_t first_k = slice * units_per_slice_ * kernel_.values_per_unit;
    const int64_t depth = std::min(slice_units(slice) * kernel_.values_per_unit, depth_ - first_k);
    const int64_t step = line_stride == 1 && k_stride != 1 && count > 1 ? kStretch : depth;
    for (int64_t k = 0; k < depth; k += step) {
      for (int64_t i = 0; i < count; ++i) {
        PackArgs pack;
        pack.dtype = m.dtype;
        pack.line_stride = line_stride;
        pack.k_stride = k_stride;
        pack.source = at(m, batch) + ((first + i) * width * line_stride + (first_k + k) * k_stride) * size;
        pack.lines = std::min<int64_t>(width, (is_a ? m.rows : m.cols) - (first + i) * width);
        pack.depth = std::min(step, depth - k);
        pack.panel = to + (i * slice_units(slice) + k / kernel_.values_per_unit) * unit_bytes;
        pack.unusual = &unusual;
        (is_a ? kernel_.pack_a : kernel_.pack_b)(pack);
      }
    }
  }

  void compute(int64_t batch, int64_t index) {
    const int64_t row_panel = index / blocking_.col_blocks * blocking_.row_panels;
    const int64_t col_panel = index % blocking_.col_blocks * blocking_.col_panels;
    BlockArgs block;
    block.row_panels = std::min(blocking_.row_panels, row_panels_ - row_panel);
    block.col_panels = std::min(blocking_.col_panels, col_panels_ - col_panel);
    block.row = row_panel * kernel_.rows;
    block.col = col_panel * kernel_.cols;
    if (args_.symmetric && block.row + block.row_panels * kernel_.rows <= block.col) return;
    const Epilogue epilogue = {batch_member(d_, batch), batch_member(c_, batch), alpha_of(args_, batch),
                               beta_of(args_, batch), args_.bias, swapped_, args_.activation,
                               args_.symmetric, is_large_};
    block.epilogue = &epilogue;
    Workspace& local = Workspace::local();
    const Workspace::Scope scope(local);
    if (takes_turns()) {
      block.sums = sums_ + index * sums_bytes(blocking_.row_panels, blocking_.col_panels);
    } else {
      block.sums = slices_ == 1 ? nullptr
                                : local.take_bytes(static_cast<size_t>(sums_bytes(block.row_panels, block.col_panels)));
    }
    const int64_t copy = copies_ == 1 ? 0 : batch;
    const std::byte* packed_a = packed_a_ + copy * a_bytes_;
    const std::byte* packed_b = packed_b_ + copy * b_bytes_;
    bool has_a = packs_a_first_;
    bool has_b = packs_b_first_;
    bool unusual = false;
    if (keeps_) {
      const Kept& kept = keep(batch);
      (keeps_a_ ? packed_a : packed_b) = kept.panels;
      (keeps_a_ ? has_a : has_b) = true;
      unusual = kept.unusual;
    }
    const auto own = [&](bool has, int64_t bytes) {
      return has ? nullptr : local.take<std::byte>(bytes * units_per_slice_);
    };
    std::byte* const own_a = own(has_a, block.row_panels * unit_a());
    std::byte* const own_b = own(has_b, block.col_panels * unit_b());
    for (int64_t slice = turn_begin_; slice < turn_end_; ++slice) {
      block.units = slice_units(slice);
      block.a = own_a;
      block.b = own_b;
      if (has_a) {
        block.a = packed_a + panel_offset(slice, row_panel, row_panels_, unit_a());
      } else {
        pack_panels(true, batch, slice, row_panel, block.row_panels, own_a, unusual);
      }
      if (has_b) {
        block.b = packed_b + panel_offset(slice, col_panel, col_panels_, unit_b());
      } else {
        pack_panels(false, batch, slice, col_panel, block.col_panels, own_b, unusual);
      }
      if (unusual) {  // D is written with the last slice, so nothing has been
        compute_otherwise(batch, block);
        return;
      }
      const bool ready = has_a && has_b && slice + 1 < turn_end_;
      block.next_a =
          ready ? packed_a + panel_offset(slice + 1, row_panel, row_panels_, unit_a()) : nullptr;
      block.next_b =
          ready ? packed_b + panel_offset(slice + 1, col_panel, col_panels_, unit_b()) : nullptr;
      block.first = slice == 0;
      block.last = slice == slices_ - 1;
      kernel_.block(block);
    }
  }

  Context& context_;
  const GemmArgs& args_;
  const TileKernel& kernel_;
  bool swapped_ = false;
  Matrix a_, b_, c_, d_;
  int64_t depth_ = 0;
  int64_t row_panels_ = 0, col_panels_ = 0;
  int64_t slices_ = 1;
  int64_t slices_per_turn_ = 1;
  int64_t turn_begin_ = 0, turn_end_ = 1;  // the slices of this turn
  int64_t units_per_slice_ = 0;
  bool is_large_ = false;
  bool keeps_ = false;    // one operand is packed by each thread for itself,
  bool keeps_a_ = false;  // A
  bool packs_a_first_ = true;
  bool packs_b_first_ = true;
  const uint64_t id_ = __atomic_add_fetch(&last_product, 1, __ATOMIC_RELAXED);
  bool unusual_ = false;  // written by several threads at once: atomically
  Blocking blocking_{};
  std::byte* packed_a_ = nullptr;
  std::byte* packed_b_ = nullptr;
  std::byte* sums_ = nullptr;  // of all blocks, where panels come in turns
  int64_t a_bytes_ = 0, b_bytes_ = 0, copies_ = 1;
};

constexpr int64_t kMostSmall = 1 << 23;     // multiply-adds of one product
constexpr int64_t kMostInPlace = 1 << 20;   // bytes of B, in L2
constexpr int64_t kPage = 4096;             // bytes; lines such steps apart share a set of L1
constexpr int64_t kFewLines = 48;            // of A: panels of B would be read too few times

}  // namespace

Operands in_rows(const GemmArgs& args) {
  if (!is_swapped(args)) return {args.a, args.b, args.c, args.d, false};
  return {args.b.transposed(), args.a.transposed(), args.c.transposed(), args.d.transposed(), true};
}

SmallForm small_form(const GemmArgs& args) {
  const Operands m = in_rows(args);
  const int64_t depth = m.a.cols;
  if (args.symmetric || m.d.col_stride != 1 || depth == 0 || m.d.rows == 0 || m.d.cols == 0 || m.d.rows * m.d.cols * depth > kMostSmall) {
    return SmallForm::none;
  }
  const auto size = static_cast<int64_t>(size_of(m.d.dtype));
  if (m.b.cols * depth * size > kMostInPlace) return SmallForm::none;
  const bool along_k = m.a.col_stride == 1 && m.b.row_stride == 1;
  if (along_k && (m.d.rows <= kFewLines || m.d.cols <= 1)) return SmallForm::dots;
  return m.a.row_stride * size % kPage != 0 || m.d.rows < 8 ? SmallForm::rows : SmallForm::none;
}

Status blocked_gemm(Context& context, const GemmArgs& args, const TileKernel& kernel) {
  if (args.d.rows == 0 || args.d.cols == 0 || args.batch == 0) return {};
  return Product(context, args, kernel).run() ? Status() : kernel.otherwise(context, args);
}

}  // namespace palimpsest::cpu
