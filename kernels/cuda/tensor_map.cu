// make_tensor_map() by the driver, which is looked up at run time: nothing here links it.
#include <string>

#include "kernels/arch/async_copy.h"
#include "kernels/arch/tile_shape.h"
#include "kernels/cuda/fail.h"

namespace lastbit::arch {
namespace {

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

EncodeTiled encode_tiled() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  constexpr unsigned kVersion = 12000;
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kVersion, cudaEnableDefault, &found);
  if (error != cudaSuccess || function == nullptr)
    cuda::fail("TMA", "the driver has no cuTensorMapEncodeTiled, which CUDA 12 brought");
  return reinterpret_cast<EncodeTiled>(function);
}

}  // namespace

TensorMap make_tensor_map(const void* matrix, const TileShape& shape) {
  require_tile_shape(matrix, shape.rows, shape.cols, shape.box_rows, shape.box_cols, shape.swizzle);
  CUtensorMap map{};
  const cuuint64_t sizes[2] = {shape.cols, shape.rows};
  const cuuint64_t strides[1] = {shape.cols};
  const cuuint32_t box[2] = {shape.box_cols, shape.box_rows};
  const cuuint32_t steps[2] = {1, 1};
  const CUresult result = encode_tiled()(&map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<void*>(matrix), sizes,
                                         strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                         shape.swizzle ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
                                         CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    cuda::fail("TMA", "the driver refuses a matrix (error " + std::to_string(static_cast<int>(result)) + ")");
  return map;
}

}  // namespace lastbit::arch
