// Runs a check at every level of this machine and with several numbers of threads.
#pragma once

#include "palimpsest/context.h"
#include "palimpsest/cpu_features.h"
#include "palimpsest/kernels.h"

inline constexpr int kThreadCounts[] = {1, 2, 3, 5};

template <typename F>
void at_every_level(const F& body) {
  for (palimpsest::CpuLevel level : palimpsest::available_cpu_levels()) {
    palimpsest::Workspace workspace;
    palimpsest::Context context(palimpsest::cpu_kernels(level), workspace, 2);
    body(context);
  }
}

// body(context) → something comparable with ==; it must be the same for 1, 2, 3 and 5 threads.
template <typename F>
bool same_for_any_threads(const F& body) {
  for (palimpsest::CpuLevel level : palimpsest::available_cpu_levels()) {
    palimpsest::Workspace workspace;
    palimpsest::Context first(palimpsest::cpu_kernels(level), workspace, 1);
    const auto expected = body(first);
    for (int threads : kThreadCounts) {
      palimpsest::Context context(palimpsest::cpu_kernels(level), workspace, threads);
      if (!(body(context) == expected)) return false;
    }
  }
  return true;
}
