// The tile product of bf16 pairs (tdpbf16ps): 16 × 16 sums of 32 products each.

#include <cstddef>

#include "cpu/simd/amx.h"
#include "palimpsest/context.h"
#include "palimpsest/kernels.h"

namespace palimpsest::cpu {
namespace {

constexpr int kChains = 4;
constexpr int64_t kRounds = 512;

double tile_products(int64_t repetitions) {
  alignas(64) uint32_t ones[amx::kTileBytes / 4];
  for (uint32_t& pair : ones) pair = 0x3f803f80;  // 1.0 in each half
  alignas(64) float sums[amx::kTileBytes / 4];
  const amx::TileScope tiles;
  amx::tile_zero<0>();
  amx::tile_zero<1>();
  amx::tile_zero<2>();
  amx::tile_zero<3>();
  amx::tile_load<4>(ones);
  amx::tile_load<5>(ones);
  amx::tile_load<6>(ones);
  amx::tile_load<7>(ones);
  for (int64_t r = 0; r < repetitions; ++r) {
    amx::tile_dot_bf16<0, 4, 6>();
    amx::tile_dot_bf16<1, 4, 7>();
    amx::tile_dot_bf16<2, 5, 6>();
    amx::tile_dot_bf16<3, 5, 7>();
  }
  double total = 0;
  const auto add = [&] {
    for (float s : sums) total += static_cast<double>(s);
  };
  amx::tile_store<0>(sums, amx::kTileRowBytes), add();
  amx::tile_store<1>(sums, amx::kTileRowBytes), add();
  amx::tile_store<2>(sums, amx::kTileRowBytes), add();
  amx::tile_store<3>(sums, amx::kTileRowBytes), add();
  return total;
}

Status dot_bf16(Context& context, const ProbeArgs& args) {
  context.parallel(kProbeTasks, [&](int64_t task) {
    args.sink[task] = tile_products(kRounds * args.repetitions);
  });
  return {};
}

}  // namespace

void fill_probe_amx(KernelTable& table) {
  table.probe.dot_bf16 = {dot_bf16, 2 * 16 * 16 * 32 * kChains * kRounds};
}

}  // namespace palimpsest::cpu
