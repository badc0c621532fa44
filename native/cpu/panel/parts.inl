// A transposed product in tasks: chunks of columns and, where these are few, parts of the rows, added up
// in order.
#pragma once

#include <cstdint>

#include "palimpsest/context.h"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

// No templates of the standard library in files compiled for one instruction set: the linker might
// take their code for everybody.
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// body(first, n, begin, end, to): columns [first, first + n) over rows [begin, end), `begin` a multiple of
// `unit`, summed into `to` [n × width].
template <typename T, typename Body>
void in_parts(Context& context, int64_t rows, int64_t cols, int64_t width, int64_t chunk, int64_t unit,
              T* z, const Body& body) {
  const int64_t chunks = divide_up(cols, chunk);
  const int64_t parts = chunks >= 8 ? 1 : smaller(16, larger(1, rows / 1024));
  const int64_t part_rows = divide_up(divide_up(rows, parts), unit) * unit;
  const Workspace::Scope scope(context.workspace);
  T* const partial = parts == 1 ? z : context.workspace.take<T>(parts * cols * width);
  context.parallel(chunks * parts, [&](int64_t task) {
    const int64_t first = task % chunks * chunk;
    const int64_t part = task / chunks;
    const int64_t begin = smaller(rows, part * part_rows);
    body(first, smaller(chunk, cols - first), begin, smaller(rows, begin + part_rows),
         partial + (part * cols + first) * width);
  });
  if (parts == 1) return;
  context.parallel_chunks(cols * width, 16384, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T total = partial[i];
      for (int64_t part = 1; part < parts; ++part) total += partial[part * cols * width + i];
      z[i] = total;
    }
  });
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
