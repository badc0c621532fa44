// The entries of the norm family for one level.

#include "cpu/norm/batch.inl"
#include "cpu/norm/rows.inl"

namespace palimpsest::cpu::PALIMPSEST_LEVEL {
namespace {

NormKernels norm_kernels() {
  return {
      .rows = [](Context& c, const RowNormArgs& a) -> Status {
        a.dtype == DType::f64 ? norm_rows<double>(c, a) : norm_rows<float>(c, a);
        return {};
      },
      .rows_backward = [](Context& c, const RowNormBackwardArgs& a) -> Status {
        a.forward.dtype == DType::f64 ? norm_rows_backward<double>(c, a)
                                      : norm_rows_backward<float>(c, a);
        return {};
      },
      .batch = [](Context& c, const BatchNormArgs& a) -> Status {
        a.dtype == DType::f64 ? batch_norm<double>(c, a) : batch_norm<float>(c, a);
        return {};
      },
      .batch_backward = [](Context& c, const BatchNormBackwardArgs& a) -> Status {
        a.forward.dtype == DType::f64 ? batch_norm_backward<double>(c, a)
                                      : batch_norm_backward<float>(c, a);
        return {};
      },
  };
}

}  // namespace
}  // namespace palimpsest::cpu::PALIMPSEST_LEVEL

#define PALIMPSEST_JOIN2(a, b) a##b
#define PALIMPSEST_JOIN(a, b) PALIMPSEST_JOIN2(a, b)

namespace palimpsest::cpu {

void PALIMPSEST_JOIN(fill_norm_, PALIMPSEST_LEVEL)(KernelTable& table) {
  table.norm = PALIMPSEST_LEVEL::norm_kernels();
}

}  // namespace palimpsest::cpu
