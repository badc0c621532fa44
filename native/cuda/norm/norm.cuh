// What the files of the norm family share.
#pragma once

#include "cuda/common.cuh"

namespace palimpsest::cuda {

Status unit(Context&, const UnitArgs&);

}  // namespace palimpsest::cuda
