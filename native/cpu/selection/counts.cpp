// Counts of float32 magnitudes by their bits, which order as magnitudes do: 15 upper bits first, then the
// lower 16 of those that share an upper part. Two such passes find the k-th largest exactly, in memory
// that does not grow with what is read. Floor: x read once; what is reached is about two counts a
// nanosecond a thread, since every count is a load and a store of its own.

#include <bit>
#include <cstring>

#include "cpu/selection/rows.h"
#include "palimpsest/context.h"

namespace palimpsest::cpu {
namespace {

constexpr int64_t kTask = int64_t{1} << 17;
constexpr int64_t kMostTasks = 16;

// Two tables in turn: neighbours often share a bin, and would wait for each other's store.
void count_upper(const float* x, int64_t n, uint32_t* even, uint32_t* odd) {
  int64_t i = 0;
  for (; i + 2 <= n; i += 2) {
    ++even[std::bit_cast<uint32_t>(x[i]) >> 16 & 0x7fff];
    ++odd[std::bit_cast<uint32_t>(x[i + 1]) >> 16 & 0x7fff];
  }
  if (i < n) ++even[std::bit_cast<uint32_t>(x[i]) >> 16 & 0x7fff];
}

void count_lower(const float* x, int64_t n, uint32_t upper, uint32_t* table) {
  constexpr int64_t kBlock = 32;
  for (int64_t at = 0; at < n; at += kBlock) {
    const int64_t end = n - at < kBlock ? n : at + kBlock;
    // Few share the upper part: most blocks hold none, which one comparison of vectors tells.
    uint32_t any = 0;
    for (int64_t i = at; i < end; ++i) any |= (std::bit_cast<uint32_t>(x[i]) >> 16 & 0x7fff) == upper;
    if (any == 0) continue;
    for (int64_t i = at; i < end; ++i) {
      const auto bits = std::bit_cast<uint32_t>(x[i]);
      if ((bits >> 16 & 0x7fff) == upper) ++table[bits & 0xffff];
    }
  }
}

}  // namespace

Status magnitude_counts(Context& context, const MagnitudeCountsArgs& a) {
  const int64_t bins = a.upper < 0 ? kMagnitudeUpper : kMagnitudeLower;
  const int64_t wanted = (a.n + kTask - 1) / kTask;
  const int64_t tasks = wanted < kMostTasks ? wanted : kMostTasks;
  const Workspace::Scope scope(context.workspace);
  auto* const tables = context.workspace.take<uint32_t>(tasks * 2 * kMagnitudeLower);
  // A task must not count beyond 32 bits.
  constexpr int64_t kMost = int64_t{1} << 31;
  for (int64_t first = 0; first < a.n; first += kMost) {
    const float* x = a.x + first;
    const int64_t n = a.n - first < kMost ? a.n - first : kMost;
    context.parallel(tasks, [&](int64_t task) {
      uint32_t* const table = tables + task * 2 * kMagnitudeLower;
      const int64_t begin = n * task / tasks, end = n * (task + 1) / tasks;
      if (a.upper < 0) {
        std::memset(table, 0, static_cast<size_t>(2 * bins) * sizeof(uint32_t));
        count_upper(x + begin, end - begin, table, table + bins);
        for (int64_t i = 0; i < bins; ++i) table[i] += table[bins + i];
      } else {
        std::memset(table, 0, static_cast<size_t>(bins) * sizeof(uint32_t));
        count_lower(x + begin, end - begin, static_cast<uint32_t>(a.upper), table);
      }
    });
    for (int64_t task = 0; task < tasks; ++task) {
      const uint32_t* const table = tables + task * 2 * kMagnitudeLower;
      for (int64_t i = 0; i < bins; ++i) a.counts[i] += static_cast<double>(table[i]);
    }
  }
  return {};
}

}  // namespace palimpsest::cpu
