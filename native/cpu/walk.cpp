#include "cpu/walk.h"

#include <cstdlib>
#include <utility>

namespace palimpsest::cpu {

Walk make_walk(const View* const* views, int operands) {
  Walk walk;
  walk.operands = operands;
  const View& first = *views[0];
  int order[kMaxRank];
  int kept = 0;
  for (int i = 0; i < first.rank; ++i) {
    walk.size *= first.shape[i];
    if (first.shape[i] != 1) order[kept++] = i;
  }
  // Insertion sort: at most eight entries, stable.
  for (int i = 1; i < kept; ++i) {
    for (int j = i; j > 0 && std::llabs(first.strides[order[j - 1]]) <
                                 std::llabs(first.strides[order[j]]); --j) {
      std::swap(order[j - 1], order[j]);
    }
  }
  for (int i = 0; i < kept; ++i) {
    const int axis = order[i];
    bool merges = walk.rank > 0;
    for (int k = 0; merges && k < operands; ++k) {
      merges = walk.strides[k][walk.rank - 1] == views[k]->strides[axis] * first.shape[axis];
    }
    if (merges) {
      walk.shape[walk.rank - 1] *= first.shape[axis];
    } else {
      walk.shape[walk.rank++] = first.shape[axis];
    }
    for (int k = 0; k < operands; ++k) {
      walk.strides[k][walk.rank - 1] = views[k]->strides[axis];
    }
  }
  if (walk.rank == 0) {
    walk.rank = 1;
    walk.shape[0] = walk.size;  // a scalar, or nothing
    for (int k = 0; k < operands; ++k) walk.strides[k][0] = 1;
  }
  return walk;
}

}  // namespace palimpsest::cpu
