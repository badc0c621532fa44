// A low-rank singular value decomposition from products with narrow random panels.
#pragma once

#include <cstdint>

#include "palimpsest/status.h"
#include "palimpsest/view.h"

namespace palimpsest {

class Context;

enum class RangeFinder : uint8_t {
  power,        // A(AᵀA)^q Ω, orthonormalized after every product
  block_krylov, // all of AΩ, (AAᵀ)AΩ, …, (AAᵀ)^q AΩ together
  single_pass,  // AΩ and ΨA from one reading of A (Tropp, Yurtsever, Udell & Cevher 2017)
};

// What becomes of a panel between products.
enum class Normalizer : uint8_t {
  none,
  qr,  // an orthonormal basis of its range
  lu,  // the lower triangular factor of LU with partial pivoting, its rows where they were
};

struct RandomizedSvdArgs {
  Matrix a;                     // m×n, f32 or f64, any strides
  Matrix u;                     // m×r with r = min(rank, m, n)
  void* s;                      // r values
  Matrix vt;                    // r×n
  int64_t rank = 0;
  int64_t oversamples = 10;     // at least this many columns beyond rank; the width is rounded up
  int64_t power_iterations = 2; // q
  Normalizer normalizer = Normalizer::qr;
  RangeFinder method = RangeFinder::power;
  uint64_t seed = 0;
  // Where positive: the rank found is the least r with ‖A − A_r‖_F ≤ tolerance·‖A‖_F, at most `rank`.
  double tolerance = 0;
};

// Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1. Outputs beyond `found` are zero. Signs as
// svd fixes them. A narrow panel's width that passes min(m, n) means the exact decomposition, cut off.
Status randomized_svd(Context& context, const RandomizedSvdArgs& args, int64_t& found);

// Whether randomized_svd takes matrices on another device as they are: the power method with a rank that
// is given, a narrow panel and a unit stride.
bool takes_device_matrices(const RandomizedSvdArgs& args);

}  // namespace palimpsest
