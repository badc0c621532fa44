// The entries of the scan family for one level.

#include "cpu/scan/causal_conv.inl"
#include "cpu/scan/selective.inl"

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)
#define BY_DTYPE(kernel, Args, dtype_of_args)                                 \
  [](Context& c, const Args& a) -> Status {                                   \
    dtype_of_args == DType::f64 ? kernel<double>(c, a) : kernel<float>(c, a); \
    return {};                                                                \
  }

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_scan_, PALIMPSEST_LEVEL)(KernelTable& table) {
  using namespace PALIMPSEST_LEVEL;
  table.scan = {
      .selective = BY_DTYPE(selective_scan, SelectiveScanArgs, a.dtype),
      .selective_backward =
          BY_DTYPE(selective_scan_backward, SelectiveScanBackwardArgs, a.forward.dtype),
      .causal_conv = BY_DTYPE(causal_conv, CausalConvArgs, a.dtype),
      .causal_conv_backward = BY_DTYPE(causal_conv_backward, CausalConvBackwardArgs, a.forward.dtype),
  };
}

}  // namespace palimpsest::cpu
