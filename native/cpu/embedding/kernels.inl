// Gathers and sums rows. Floor: bytes moved. The sum is cut by columns, not by indices: every element
// is added to by one task in ascending order, whatever the number of threads.

#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

constexpr int64_t kGrainBytes = int64_t{1} << 16;
constexpr int64_t kLeastColumns = 64;

Status check_indices(const int32_t* indices, int64_t count, int64_t rows) {
  bool good = true;
  for (int64_t i = 0; i < count; ++i) good = good && indices[i] >= 0 && indices[i] < rows;
  if (good) return {};
  return {Code::argument, "an entry of 'indices' names no row of the table"};
}

Status gather_rows(Context& context, const GatherRowsArgs& a) {
  PALIMPSEST_TRY(check_indices(a.indices, a.count, a.rows));
  const int64_t bytes = a.width * static_cast<int64_t>(size_of(a.dtype));
  if (bytes == 0) return {};
  const int64_t grain = bytes >= kGrainBytes ? 1 : kGrainBytes / bytes;
  context.parallel_chunks(a.count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      __builtin_memcpy(static_cast<char*>(a.out) + i * bytes,
                       static_cast<const char*>(a.table) + a.indices[i] * bytes,
                       static_cast<size_t>(bytes));
    }
  });
  return {};
}

template <typename T>
void scatter(Context& context, const ScatterRowsArgs& a) {
  // Few columns a task where there is much to add.
  const int64_t all = a.count + a.rows;
  int64_t columns = kGrainBytes * 4 / static_cast<int64_t>(sizeof(T)) / (all > 0 ? all : 1);
  columns = (columns < kLeastColumns ? kLeastColumns : columns) / kLeastColumns * kLeastColumns;
  context.parallel_chunks(a.width, columns, [&](int64_t begin, int64_t end) {
    T* out = static_cast<T*>(a.out);
    const T* g = static_cast<const T*>(a.g);
    for (int64_t r = 0; r < a.rows; ++r) {
      for (int64_t j = begin; j < end; ++j) out[r * a.width + j] = 0;
    }
    for (int64_t i = 0; i < a.count; ++i) {
      if (a.indices[i] == a.skip) continue;
      T* to = out + a.indices[i] * a.width;
      const T* from = g + i * a.width;
#pragma GCC ivdep
      for (int64_t j = begin; j < end; ++j) to[j] += from[j];
    }
  });
}

Status scatter_rows(Context& context, const ScatterRowsArgs& a) {
  PALIMPSEST_TRY(check_indices(a.indices, a.count, a.rows));
  a.dtype == DType::f64 ? scatter<double>(context, a) : scatter<float>(context, a);
  return {};
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_embedding_, PALIMPSEST_LEVEL)(KernelTable& table) {
  table.embedding = {.gather = PALIMPSEST_LEVEL::gather_rows,
                     .scatter = PALIMPSEST_LEVEL::scatter_rows};
}

}  // namespace palimpsest::cpu
