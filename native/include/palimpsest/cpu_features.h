// Which instruction sets this processor has, in the levels that kernels are written for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace palimpsest {

// Each level includes the ones before it (neon stands alone on arm64).
enum class CpuLevel : uint8_t { scalar, avx2, avx512, avx512bf16, amx, neon };

const char* name_of(CpuLevel level);

// The best level of this machine, lowered by the environment variable PALIMPSEST_CPU_LEVEL if that
// names a lower one.
CpuLevel cpu_level();

// Every level that this machine can run, lowest first.
std::vector<CpuLevel> available_cpu_levels();

// For people: vendor, model, instruction sets.
std::string cpu_name();
std::vector<std::string> cpu_features();

}  // namespace palimpsest
