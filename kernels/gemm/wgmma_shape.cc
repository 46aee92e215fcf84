#include "kernels/gemm/wgmma_shape.h"

#include "core/error.h"

namespace lastbit::kernels {

void require_wgmma_shape(const Fp8Gemm& gemm) {
  if (gemm.a_e5m2 || gemm.b_e5m2 || gemm.groups != 1 || gemm.group_of_row != nullptr || gemm.rows_of_group != nullptr)
    core::fail_input("fp8_gemm_wgmma: expected codes of E4M3 and one group");
  if (gemm.promotion != PromotionOrder::kNone && gemm.promote_every != 128)
    core::fail_input("fp8_gemm_wgmma: promotion every {}, expected 128", gemm.promote_every);
  if (gemm.m < 1 || gemm.n < 1 || gemm.k < 1 || gemm.k % 16 != 0)
    core::fail_input("fp8_gemm_wgmma: M, N, K = {}, {}, {}, expected at least 1, and K a multiple of 16", gemm.m,
                     gemm.n, gemm.k);
}

}  // namespace lastbit::kernels
