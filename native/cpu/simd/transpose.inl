// The transpose of a square of lanes, for levels whose header has nothing better.
#pragma once

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

// A square of lanes, transposed through memory; a level may have something better beside its types.
template <typename V>
void transpose(V (&lines)[V::width]) {
  typename V::Element from[V::width][V::width];
  typename V::Element to[V::width][V::width];
  for (int i = 0; i < V::width; ++i) lines[i].store(from[i]);
  for (int i = 0; i < V::width; ++i) {
    for (int j = 0; j < V::width; ++j) to[j][i] = from[i][j];
  }
  for (int i = 0; i < V::width; ++i) lines[i] = V::load(to[i]);
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL
