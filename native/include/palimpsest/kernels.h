// The kernel table: what a device can do. Operations in ops/ are written against it alone.
#pragma once

#include "palimpsest/cpu_features.h"
#include "palimpsest/kernels/gemm.h"

namespace palimpsest {

struct KernelTable {
  const char* device;  // "cpu", "cuda"
  GemmKernels gemm;
};

// The best variants for a level that this machine has.
const KernelTable& cpu_kernels(CpuLevel level);

}  // namespace palimpsest
