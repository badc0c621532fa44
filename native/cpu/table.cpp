// Fills the CPU's kernel tables, one for each level: the variants run from the lowest level up, and
// each overrides the entries that it has something better for.

#include <array>

#include "palimpsest/cpu_features.h"
#include "palimpsest/kernels.h"

// One line for each file native/cpu/<family>/<level>.cpp, lowest level first. The file defines
// `void palimpsest::cpu::fill_<family>_<level>(KernelTable&)`.
#define PALIMPSEST_PORTABLE(X) \
  X(attention, scalar)         \
  X(conv, scalar)              \
  X(dense, scalar)             \
  X(elementwise, scalar)       \
  X(embedding, scalar)         \
  X(gemm, scalar)              \
  X(indexing, scalar)          \
  X(masks, scalar)             \
  X(nn, scalar)                \
  X(norm, scalar)              \
  X(optim, scalar)             \
  X(panel, scalar)             \
  X(probe, scalar)             \
  X(random, scalar)            \
  X(reduce, scalar)            \
  X(selection, scalar) \
  X(scan, scalar)              \
  X(spiking, scalar)

#if defined(__x86_64__)
#define PALIMPSEST_SPECIAL(X) \
  X(attention, avx2)          \
  X(attention, avx512)        \
  X(conv, avx2)               \
  X(conv, avx512)             \
  X(dense, avx2)              \
  X(dense, avx512)            \
  X(elementwise, avx2)        \
  X(elementwise, avx512)      \
  X(embedding, avx2)          \
  X(embedding, avx512)        \
  X(gemm, avx2)               \
  X(gemm, avx512)             \
  X(gemm, avx512bf16)         \
  X(gemm, amx)                \
  X(masks, avx2)              \
  X(masks, avx512)            \
  X(nn, avx2)                 \
  X(nn, avx512)               \
  X(norm, avx2)               \
  X(norm, avx512)             \
  X(optim, avx2)              \
  X(optim, avx512)            \
  X(pool, avx512)             \
  X(panel, avx2)              \
  X(panel, avx512)            \
  X(panel, amx)               \
  X(probe, avx2)              \
  X(probe, avx512)            \
  X(probe, avx512bf16)        \
  X(probe, amx)               \
  X(random, avx2)             \
  X(random, avx512)           \
  X(reduce, avx2)             \
  X(reduce, avx512)           \
  X(selection, avx2)          \
  X(selection, avx512) \
  X(scan, avx2)               \
  X(scan, avx512)             \
  X(spiking, avx2)            \
  X(spiking, avx512)
#elif defined(__aarch64__)
#define PALIMPSEST_SPECIAL(X) \
  X(attention, neon)          \
  X(conv, neon)               \
  X(dense, neon)              \
  X(elementwise, neon)        \
  X(embedding, neon)          \
  X(gemm, neon)               \
  X(masks, neon)              \
  X(nn, neon)                 \
  X(norm, neon)               \
  X(optim, neon)              \
  X(panel, neon)              \
  X(probe, neon)              \
  X(random, neon)             \
  X(reduce, neon)             \
  X(selection, neon) \
  X(scan, neon)               \
  X(spiking, neon)
#else
#define PALIMPSEST_SPECIAL(X)
#endif

namespace palimpsest {
namespace cpu {

#define PALIMPSEST_DECLARE(family, level) void fill_##family##_##level(KernelTable&);
PALIMPSEST_PORTABLE(PALIMPSEST_DECLARE)
PALIMPSEST_SPECIAL(PALIMPSEST_DECLARE)

namespace {

struct Variant {
  CpuLevel level;
  void (*fill)(KernelTable&);
};

#define PALIMPSEST_VARIANT(family, level) {CpuLevel::level, fill_##family##_##level},
constexpr Variant kVariants[] = {PALIMPSEST_PORTABLE(PALIMPSEST_VARIANT)
                                     PALIMPSEST_SPECIAL(PALIMPSEST_VARIANT)};

KernelTable make_table(CpuLevel level) {
  KernelTable table{};
  table.device = "cpu";
  for (const Variant& variant : kVariants) {
    if (variant.level <= level) variant.fill(table);
  }
  return table;
}

}  // namespace
}  // namespace cpu

const KernelTable& cpu_kernels(CpuLevel level) {
  static const auto tables = [] {
    std::array<KernelTable, 6> made{};
    for (CpuLevel available : available_cpu_levels()) {
      made[static_cast<size_t>(available)] = cpu::make_table(available);
    }
    return made;
  }();
  return tables[static_cast<size_t>(level)];
}

}  // namespace palimpsest
