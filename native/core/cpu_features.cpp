#include "palimpsest/cpu_features.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace palimpsest {
namespace {

struct Detected {
  CpuLevel level = CpuLevel::scalar;
  std::string name = "unknown";
  std::vector<std::string> features;
};

#if defined(__x86_64__)

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d) == 0) return {};
  return r;
}

// Which register states the operating system saves on a task switch.
uint64_t saved_states() {
  unsigned low = 0;
  unsigned high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

// Linux gives a process the large tile registers only after it has asked (arch_prctl's
// ARCH_REQ_XCOMP_PERM). Refused, for instance, where a signal stack is too small to save them.
bool may_use_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr int kRequestPermission = 0x1023;
  constexpr int kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

Detected detect() {
  Detected found;
  char brand[49] = {};
  for (unsigned i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002u + i);
    std::memcpy(brand + 16 * i, &r, 16);
  }
  if (brand[0] != 0) found.name = brand;

  const Registers leaf1 = cpuid(1);
  const Registers leaf7 = cpuid(7);
  const Registers leaf7_1 = cpuid(7, 1);
  const bool os_saves = (leaf1.c >> 27 & 1) != 0;
  const uint64_t states = os_saves ? saved_states() : 0;
  const bool ymm = (states & 0x6) == 0x6;
  const bool zmm = (states & 0xe6) == 0xe6;
  const auto has = [&found](bool present, const char* name) {
    if (present) found.features.emplace_back(name);
    return present;
  };
  const bool avx2 = has(ymm && (leaf7.b >> 5 & 1), "avx2");
  const bool fma = has(ymm && (leaf1.c >> 12 & 1), "fma");
  const bool f16c = has(ymm && (leaf1.c >> 29 & 1), "f16c");
  const bool f = has(zmm && (leaf7.b >> 16 & 1), "avx512f");
  const bool dq = has(zmm && (leaf7.b >> 17 & 1), "avx512dq");
  const bool bw = has(zmm && (leaf7.b >> 30 & 1), "avx512bw");
  const bool vl = has(zmm && (leaf7.b >> 31 & 1), "avx512vl");
  const bool bf16 = has(zmm && (leaf7_1.a >> 5 & 1), "avx512_bf16");
  const bool tiles = (states & 0x60000) == 0x60000 && (leaf7.d >> 24 & 1) != 0 &&
                     (leaf7.d >> 22 & 1) != 0;
  const bool amx = has(bf16 && tiles && may_use_tiles(), "amx_bf16");
  const bool bmi2 = (leaf7.b >> 8 & 1) != 0;
  if (avx2 && fma && f16c && bmi2) found.level = CpuLevel::avx2;
  if (found.level == CpuLevel::avx2 && f && dq && bw && vl) found.level = CpuLevel::avx512;
  if (found.level == CpuLevel::avx512 && bf16) found.level = CpuLevel::avx512bf16;
  if (found.level == CpuLevel::avx512bf16 && amx) found.level = CpuLevel::amx;
  return found;
}

#elif defined(__aarch64__)

Detected detect() { return {CpuLevel::neon, "arm64", {"neon"}}; }

#else

Detected detect() { return {}; }

#endif

const Detected& detected() {
  static const Detected found = detect();
  return found;
}

constexpr CpuLevel kLevels[] = {CpuLevel::scalar, CpuLevel::avx2, CpuLevel::avx512,
                                CpuLevel::avx512bf16, CpuLevel::amx, CpuLevel::neon};

}  // namespace

const char* name_of(CpuLevel level) {
  constexpr const char* names[] = {"scalar", "avx2", "avx512", "avx512bf16", "amx", "neon"};
  return names[static_cast<int>(level)];
}

std::vector<CpuLevel> available_cpu_levels() {
  const CpuLevel best = detected().level;
  if (best == CpuLevel::neon) return {CpuLevel::scalar, CpuLevel::neon};
  std::vector<CpuLevel> levels;
  for (CpuLevel level : kLevels) {
    if (level <= best) levels.push_back(level);
  }
  return levels;
}

CpuLevel cpu_level() {
  if (const char* wanted = std::getenv("PALIMPSEST_CPU_LEVEL")) {
    for (CpuLevel level : available_cpu_levels()) {
      if (std::string_view(wanted) == name_of(level)) return level;
    }
  }
  return detected().level;
}

std::string cpu_name() { return detected().name; }

std::vector<std::string> cpu_features() { return detected().features; }

}  // namespace palimpsest
