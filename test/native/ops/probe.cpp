#include "palimpsest/ops/probe.h"

#include <vector>

#include "check.h"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

using namespace palimpsest;

namespace {

struct Setting {
  CpuLevel level;
  int threads;
};

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (CpuLevel level : available_cpu_levels()) {
    for (int threads : {1, 2, 3}) all.push_back({level, threads});
  }
  return all;
}

}  // namespace

TEST("probes move every element and count the bytes") {
  const int64_t n = 2 * kProbePiece + 37;
  std::vector<float> from(n + 1), to(n + 2);
  for (int64_t i = 0; i < n; ++i) from[i + 1] = static_cast<float>(i % 1000) + 0.5f;
  for (const auto& [level, threads] : settings()) {
    Workspace workspace;
    Context context(cpu_kernels(level), workspace, threads);
    const View source = contiguous_view(from.data() + 1, {n});
    const View target = contiguous_view(to.data() + 1, {n});
    double work = -1;
    for (float& x : to) x = -1;
    CHECK(probe(context, Probe::copy, source, target, 1, work).ok());
    CHECK_NEAR(work, 8.0 * n, 0);
    bool same = true;
    for (int64_t i = 0; i < n; ++i) same = same && to[i + 1] == from[i + 1];
    CHECK(same);
    CHECK(to.front() == -1 && to.back() == -1);
    CHECK(probe(context, Probe::write, source, target, 2, work).ok());
    CHECK_NEAR(work, 8.0 * n, 0);
    bool ones = true;
    for (int64_t i = 0; i < n; ++i) ones = ones && to[i + 1] == 1;
    CHECK(ones);
    CHECK(to.front() == -1 && to.back() == -1);
    CHECK(probe(context, Probe::read, source, target, 1, work).ok());
    CHECK_NEAR(work, 4.0 * n, 0);
  }
}

TEST("arithmetic probes count operations, or say 0 where there is no such instruction") {
  for (const auto& [level, threads] : settings()) {
    Workspace workspace;
    Context context(cpu_kernels(level), workspace, threads);
    double once = 0, twice = 0;
    for (Probe what : {Probe::fma_f32, Probe::fma_f64, Probe::dot_bf16}) {
      CHECK(probe(context, what, {}, {}, 1, once).ok());
      CHECK(probe(context, what, {}, {}, 2, twice).ok());
      CHECK_NEAR(twice, 2 * once, 0);
      CHECK((once > 0) == (what != Probe::dot_bf16 || level == CpuLevel::avx512bf16 ||
                            level == CpuLevel::amx));
    }
  }
}

TEST("probes refuse what they cannot do") {
  Workspace workspace;
  Context context(cpu_kernels(cpu_level()), workspace, 1);
  std::vector<float> a(8), b(7);
  double work = 0;
  const View from = contiguous_view(a.data(), {8});
  CHECK(!probe(context, Probe::copy, from, contiguous_view(b.data(), {7}), 1, work).ok());
  CHECK(!probe(context, Probe::fma_f32, {}, {}, -1, work).ok());
  View strided = contiguous_view(a.data(), {4});
  strided.strides[0] = 2;
  CHECK(!probe(context, Probe::read, strided, strided, 1, work).ok());
}
