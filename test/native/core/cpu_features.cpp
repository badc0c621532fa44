#include "palimpsest/cpu_features.h"

#include <cstdlib>

#include "check.h"
#include "palimpsest/kernels.h"

using namespace palimpsest;

TEST("cpu features: the environment lowers the level, and only lowers it") {
  const CpuLevel best = available_cpu_levels().back();
  for (CpuLevel level : available_cpu_levels()) {
    setenv("PALIMPSEST_CPU_LEVEL", name_of(level), 1);
    CHECK(cpu_level() == level);
    CHECK(cpu_kernels(level).gemm.f32 != nullptr);
  }
  setenv("PALIMPSEST_CPU_LEVEL", "no such level", 1);
  CHECK(cpu_level() == best);
  unsetenv("PALIMPSEST_CPU_LEVEL");
}
