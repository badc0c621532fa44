// How a binding reads a mask.
#pragma once

#include <cstdint>

#include "palimpsest/view.h"

namespace palimpsest::addon {

// The words of a mask over `entries` entries; refuses a buffer that is none.
uint64_t* mask_of(const View& view, const char* name, int64_t entries);

}  // namespace palimpsest::addon
