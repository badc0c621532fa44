// The blocked product: packs both operands into panels, then computes D block by block.

#include "cpu/gemm/driver.h"

#include <algorithm>
#include <cmath>

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
  Blocking b{};
  b.row_blocks = divide_up(row_panels, rows);
  b.col_blocks = divide_up(col_panels, cols);
  b.row_panels = divide_up(row_panels, b.row_blocks);
  b.col_panels = divide_up(col_panels, b.col_blocks);
  b.row_blocks = divide_up(row_panels, b.row_panels);
  b.col_blocks = divide_up(col_panels, b.col_panels);
  return b;
}

class Product {
 public:
  Product(Context& context, const GemmArgs& args, const TileKernel& kernel)
      : context_(context), args_(args), kernel_(kernel) {
    swapped_ = is_swapped(args);
    a_ = swapped_ ? args.b.transposed() : args.a;
    b_ = swapped_ ? args.a.transposed() : args.b;
    d_ = swapped_ ? args.d.transposed() : args.d;
    c_ = swapped_ ? args.c.transposed() : args.c;
    depth_ = a_.cols;
    row_panels_ = divide_up(d_.rows, kernel.rows);
    col_panels_ = divide_up(d_.cols, kernel.cols);
    const int64_t units = divide_up(depth_, kernel.values_per_unit);
    slices_ = std::max<int64_t>(1, divide_up(units, kernel.units_per_slice));
    units_per_slice_ = divide_up(units, slices_);
    if (units_per_slice_ > 0) slices_ = divide_up(units, units_per_slice_);
    blocking_ = choose_blocks(kernel, row_panels_, col_panels_, args.batch);
    packs_a_first_ = blocking_.col_blocks > 1 || kernel.may_refuse;
    packs_b_first_ = blocking_.row_blocks > 1 || kernel.may_refuse;
  }

  bool run() {
    const Workspace::Scope scope(context_.workspace);
    const int64_t units = divide_up(depth_, kernel_.values_per_unit);
    a_bytes_ = row_panels_ * kernel_.rows * units * kernel_.unit_size_a;
    b_bytes_ = col_panels_ * kernel_.cols * units * kernel_.unit_size_b;
    const int64_t a_copies = args_.a.batch_stride == 0 && args_.b.batch_stride == 0 ? 1 : args_.batch;
    if (packs_a_first_) packed_a_ = context_.workspace.take<std::byte>(a_copies * a_bytes_);
    if (packs_b_first_) packed_b_ = context_.workspace.take<std::byte>(a_copies * b_bytes_);
    copies_ = a_copies;
    const int64_t a_panels = packs_a_first_ ? row_panels_ : 0;
    const int64_t panels = a_panels + (packs_b_first_ ? col_panels_ : 0);
    context_.parallel(units == 0 ? 0 : copies_ * panels * slices_, [&](int64_t task) {
      const int64_t slice = task / panels % slices_;
      const int64_t batch = task / panels / slices_;
      const int64_t panel = task % panels;
      if (panel < a_panels) {
        pack(true, batch, slice, panel,
             packed_a_ + batch * a_bytes_ + panel_offset(slice, panel, row_panels_, unit_a()));
      } else {
        const int64_t index = panel - a_panels;
        pack(false, batch, slice, index,
             packed_b_ + batch * b_bytes_ + panel_offset(slice, index, col_panels_, unit_b()));
      }
    });
    if (__atomic_load_n(&unusual_, __ATOMIC_RELAXED)) return false;
    const int64_t blocks = blocking_.row_blocks * blocking_.col_blocks;
    context_.parallel(args_.batch * blocks, [&](int64_t task) {
      // The lowest blocks of a symmetric product are the fullest: they come first.
      const int64_t block = task % blocks;
      compute(task / blocks, args_.symmetric ? blocks - 1 - block : block);
    });
    return true;
  }

 private:
  int64_t slice_units(int64_t slice) const {
    const int64_t units = divide_up(depth_, kernel_.values_per_unit);
    return std::min(units_per_slice_, units - slice * units_per_slice_);
  }

  // Bytes of a panel's unit.
  int unit_a() const { return kernel_.rows * kernel_.unit_size_a; }
  int unit_b() const { return kernel_.cols * kernel_.unit_size_b; }

  // Where panel `panel` of slice `slice` lies in a packed operand of `panels` panels.
  int64_t panel_offset(int64_t slice, int64_t panel, int64_t panels, int unit_bytes) const {
    return (slice * units_per_slice_ * panels + panel * slice_units(slice)) * unit_bytes;
  }

  void pack(bool is_a, int64_t batch, int64_t slice, int64_t index, std::byte* panel) {
    const Matrix& m = is_a ? a_ : b_;
    const int width = is_a ? kernel_.rows : kernel_.cols;
    const int64_t first_k = slice * units_per_slice_ * kernel_.values_per_unit;
    PackArgs pack;
    pack.dtype = m.dtype;
    pack.line_stride = is_a ? m.row_stride : m.col_stride;
    pack.k_stride = is_a ? m.col_stride : m.row_stride;
    pack.source = at(m, batch) + (index * width * pack.line_stride + first_k * pack.k_stride) *
                                     static_cast<int64_t>(size_of(m.dtype));
    pack.lines = std::min<int64_t>(width, (is_a ? m.rows : m.cols) - index * width);
    pack.depth = std::min(slice_units(slice) * kernel_.values_per_unit, depth_ - first_k);
    pack.panel = panel;
    pack.unusual = &unusual_;
    (is_a ? kernel_.pack_a : kernel_.pack_b)(pack);
  }

  // An operand that one task alone reads is packed by that task, slice by slice, into scratch memory
  // that stays in cache: a large operand is then read once and never written.
  const std::byte* pack_own(bool is_a, int64_t batch, int64_t slice, int64_t first, int64_t panels,
                            std::byte* scratch) {
    const int64_t bytes = slice_units(slice) * (is_a ? unit_a() : unit_b());
    for (int64_t i = 0; i < panels && bytes > 0; ++i) {
      pack(is_a, batch, slice, first + i, scratch + i * bytes);
    }
    return scratch;
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
    const double scale = args_.scales == nullptr ? 1 : args_.scales[batch];
    const Epilogue epilogue = {batch_member(d_, batch), batch_member(c_, batch), scale * args_.alpha,
                               scale * args_.beta, args_.bias, swapped_, args_.activation,
                               args_.symmetric};
    block.epilogue = &epilogue;
    Workspace& local = Workspace::local();
    const Workspace::Scope scope(local);
    block.sums = slices_ == 1 ? nullptr
                              : local.take_bytes(static_cast<size_t>(
                                    block.row_panels * kernel_.rows * block.col_panels *
                                    kernel_.cols * kernel_.sum_size));
    const int64_t copy = copies_ == 1 ? 0 : batch;
    const auto own = [&](bool packed_first, int64_t bytes) {
      return packed_first ? nullptr : local.take<std::byte>(bytes * units_per_slice_);
    };
    std::byte* const own_a = own(packs_a_first_, block.row_panels * unit_a());
    std::byte* const own_b = own(packs_b_first_, block.col_panels * unit_b());
    for (int64_t slice = 0; slice < slices_; ++slice) {
      block.units = slice_units(slice);
      block.a = packs_a_first_
                    ? packed_a_ + copy * a_bytes_ +
                          panel_offset(slice, row_panel, row_panels_, unit_a())
                    : pack_own(true, batch, slice, row_panel, block.row_panels, own_a);
      block.b = packs_b_first_
                    ? packed_b_ + copy * b_bytes_ +
                          panel_offset(slice, col_panel, col_panels_, unit_b())
                    : pack_own(false, batch, slice, col_panel, block.col_panels, own_b);
      const bool ready = packs_a_first_ && packs_b_first_ && slice + 1 < slices_;
      block.next_a = ready ? packed_a_ + copy * a_bytes_ +
                                 panel_offset(slice + 1, row_panel, row_panels_, unit_a())
                           : nullptr;
      block.next_b = ready ? packed_b_ + copy * b_bytes_ +
                                 panel_offset(slice + 1, col_panel, col_panels_, unit_b())
                           : nullptr;
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
  int64_t units_per_slice_ = 0;
  bool packs_a_first_ = true;
  bool packs_b_first_ = true;
  bool unusual_ = false;  // written by several threads at once: atomically
  Blocking blocking_{};
  std::byte* packed_a_ = nullptr;
  std::byte* packed_b_ = nullptr;
  int64_t a_bytes_ = 0, b_bytes_ = 0, copies_ = 1;
};

template <typename T>
void activate_each(Activation activation, T* x, int64_t n) {
  switch (activation) {
    case Activation::none: break;
    case Activation::relu:
      for (int64_t i = 0; i < n; ++i) x[i] = x[i] < 0 ? T(0) : x[i];
      break;
    case Activation::gelu:
      for (int64_t i = 0; i < n; ++i) {
        x[i] = T(0.5) * x[i] * (1 + std::erf(x[i] * T(0.70710678118654752)));
      }
      break;
    case Activation::silu:
      for (int64_t i = 0; i < n; ++i) x[i] = x[i] / (1 + std::exp(-x[i]));
      break;
    case Activation::tanh:
      for (int64_t i = 0; i < n; ++i) x[i] = std::tanh(x[i]);
      break;
    case Activation::sigmoid:
      for (int64_t i = 0; i < n; ++i) x[i] = 1 / (1 + std::exp(-x[i]));
      break;
  }
}

}  // namespace

void activate(Activation activation, float* x, int64_t n) { activate_each(activation, x, n); }
void activate(Activation activation, double* x, int64_t n) { activate_each(activation, x, n); }

bool try_blocked_gemm(Context& context, const GemmArgs& args, const TileKernel& kernel) {
  if (args.d.rows == 0 || args.d.cols == 0 || args.batch == 0) return true;
  return Product(context, args, kernel).run();
}

Status blocked_gemm(Context& context, const GemmArgs& args, const TileKernel& kernel) {
  try_blocked_gemm(context, args, kernel);
  return {};
}

}  // namespace palimpsest::cpu
