// Counts of float32 magnitudes by their bits, which order as magnitudes do: 15 upper bits first, then the
// lower 16 of those that share an upper part. Both find the k-th largest exactly, in memory that does not
// grow with what is read. Floor: x read once; what is reached is about two counts a nanosecond a thread,
// since every count of upper bits is a load and a store of its own.

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

// Lower bits of those that have the upper ones, to `found`; returns how many. Few do: most blocks hold none,
// which one comparison of vectors tells.
int64_t find_lower(const float* x, int64_t n, uint32_t upper, uint16_t* found) {
  constexpr int64_t kBlock = 32;
  int64_t count = 0;
  for (int64_t at = 0; at < n; at += kBlock) {
    const int64_t end = n - at < kBlock ? n : at + kBlock;
    uint32_t any = 0;
    for (int64_t i = at; i < end; ++i) any |= (std::bit_cast<uint32_t>(x[i]) >> 16 & 0x7fff) == upper;
    if (any == 0) continue;
    for (int64_t i = at; i < end; ++i) {
      const auto bits = std::bit_cast<uint32_t>(x[i]);
      found[count] = static_cast<uint16_t>(bits);
      count += (bits >> 16 & 0x7fff) == upper;
    }
  }
  return count;
}

// Piece by piece, so that what was found stays in the cache and its memory does not grow.
void count_lower(Context& context, const MagnitudeCountsArgs& a) {
  const Workspace::Scope scope(context.workspace);
  constexpr int64_t kPart = kTask / 4, kParts = 8;
  auto* const found = context.workspace.take<uint16_t>(kParts * (kPart + 1));
  int64_t counts[kParts];
  for (int64_t first = 0; first < a.n; first += kParts * kPart) {
    const int64_t n = a.n - first < kParts * kPart ? a.n - first : kParts * kPart;
    context.parallel_chunks(n, kPart, [&](int64_t begin, int64_t end) {
      const int64_t part = begin / kPart;
      counts[part] = find_lower(a.x + first + begin, end - begin, static_cast<uint32_t>(a.upper),
                                found + part * (kPart + 1));
    });
    for (int64_t part = 0; part * kPart < n; ++part) {
      const uint16_t* own = found + part * (kPart + 1);
      for (int64_t i = 0; i < counts[part]; ++i) a.counts[own[i]] += 1;
    }
  }
}

}  // namespace

Status magnitude_counts(Context& context, const MagnitudeCountsArgs& a) {
  if (a.upper >= 0) {
    count_lower(context, a);
    return {};
  }
  const int64_t wanted = (a.n + kTask - 1) / kTask;
  const int64_t tasks = wanted < kMostTasks ? wanted : kMostTasks;
  const Workspace::Scope scope(context.workspace);
  auto* const tables = context.workspace.take<uint32_t>(tasks * 2 * kMagnitudeUpper);
  // A task must not count beyond 32 bits.
  constexpr int64_t kMost = int64_t{1} << 31;
  for (int64_t first = 0; first < a.n; first += kMost) {
    const float* x = a.x + first;
    const int64_t n = a.n - first < kMost ? a.n - first : kMost;
    context.parallel(tasks, [&](int64_t task) {
      uint32_t* const table = tables + task * 2 * kMagnitudeUpper;
      const int64_t begin = n * task / tasks, end = n * (task + 1) / tasks;
      std::memset(table, 0, static_cast<size_t>(2 * kMagnitudeUpper) * sizeof(uint32_t));
      count_upper(x + begin, end - begin, table, table + kMagnitudeUpper);
      for (int64_t i = 0; i < kMagnitudeUpper; ++i) table[i] += table[kMagnitudeUpper + i];
    });
    for (int64_t task = 0; task < tasks; ++task) {
      const uint32_t* const table = tables + task * 2 * kMagnitudeUpper;
      for (int64_t i = 0; i < kMagnitudeUpper; ++i) a.counts[i] += static_cast<double>(table[i]);
    }
  }
  return {};
}

}  // namespace palimpsest::cpu
