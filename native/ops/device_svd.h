// The randomized SVD of a matrix in another device's memory.
#pragma once

#include "palimpsest/ops/randomized_svd.h"

namespace palimpsest {

// Outputs are on the device too. Code::device for what takes_device_matrices() refuses.
Status randomized_svd_on_device(Context& context, const RandomizedSvdArgs& args, int64_t& found);

}  // namespace palimpsest
