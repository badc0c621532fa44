// Tensor maps for the emulated device: what cuTensorMapEncodeTiled was told, and a copy of a box.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda_runtime.h"

using cuuint32_t = uint32_t;
using cuuint64_t = uint64_t;
enum CUresult { CUDA_SUCCESS, CUDA_ERROR_INVALID_VALUE };
enum CUtensorMapDataType { CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 };
enum CUtensorMapInterleave { CU_TENSOR_MAP_INTERLEAVE_NONE };
enum CUtensorMapSwizzle { CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_SWIZZLE_128B };
enum CUtensorMapL2promotion { CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_L2_PROMOTION_L2_256B };
enum CUtensorMapFloatOOBfill { CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE };
struct alignas(64) CUtensorMap {
  const char* data;
  uint64_t extents[3], strides[3];
  uint32_t box[3];
};

namespace cudaemu {

// What the driver checks (CUDA driver API, cuTensorMapEncodeTiled) is checked here too.
inline CUresult encode(CUtensorMap* map, CUtensorMapDataType, cuuint32_t rank, void* data, const cuuint64_t* extents,
                       const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* steps,
                       CUtensorMapInterleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                       CUtensorMapFloatOOBfill) {
  bool good = rank == 3 && swizzle == CU_TENSOR_MAP_SWIZZLE_128B && reinterpret_cast<uintptr_t>(data) % 16 == 0 &&
              box[0] * 2 <= 128;
  map->data = static_cast<const char*>(data);
  for (int i = 0; i < 3; ++i) {
    map->extents[i] = extents[i];
    map->strides[i] = i == 0 ? 2 : strides[i - 1];
    map->box[i] = box[i];
    good = good && extents[i] >= 1 && extents[i] <= uint64_t{1} << 32 && box[i] >= 1 && box[i] <= 256 && steps[i] == 1;
    good = good && (i == 0 || (strides[i - 1] % 16 == 0 && strides[i - 1] < uint64_t{1} << 40));
  }
  return good ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// Copies a box of bf16 to `to`, rows of 128 bytes, through `place`; zeros outside. Returns its bytes.
template <typename Place>
uint32_t copy_box(void* to, const CUtensorMap* map, int32_t inner, int32_t outer, int32_t batch, const Place& place) {
  const auto base = static_cast<uint32_t>(static_cast<char*>(to) - shared);
  for (uint32_t row = 0; row < map->box[1]; ++row) {
    for (uint32_t i = 0; i < map->box[0]; ++i) {
      uint16_t x = 0;
      const int64_t at[3] = {int64_t{inner} + i, int64_t{outer} + row, batch};
      bool inside = true;
      const char* from = map->data;
      for (int k = 0; k < 3; ++k) {
        inside = inside && at[k] >= 0 && at[k] < static_cast<int64_t>(map->extents[k]);
        from += at[k] * static_cast<int64_t>(map->strides[k]);
      }
      if (inside) std::memcpy(&x, from, 2);
      std::memcpy(shared + place(base + row * 128 + i * 2), &x, 2);
    }
  }
  return map->box[0] * map->box[1] * 2;
}

}  // namespace cudaemu
