// What the kernel on Hopper's tensor core takes.
#pragma once

#include "kernels/gemm/fp8_gemm.h"

namespace lastbit::kernels {

// Errors (bad input): other operands, promotion or sizes than fp8_gemm_1x128_128x128_nt_wgmma() says.
void require_wgmma_shape(const Fp8Gemm& gemm);

}  // namespace lastbit::kernels
