#include "palimpsest/kernels/masks.h"

#include <bit>

namespace palimpsest {

int64_t count_bits(const uint64_t* mask, int64_t entries) {
  int64_t on = 0;
  for (int64_t i = 0; i < mask_words(entries); ++i) on += std::popcount(mask[i]);
  return on;
}

}  // namespace palimpsest
