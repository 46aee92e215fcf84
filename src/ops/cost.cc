#include "ops/cost.h"

namespace lastbit::ops {

Cost matmul_cost(double m, double n, double k, double a_bytes, double b_bytes, double d_bytes) {
  return {2 * m * n * k, m * k * a_bytes + k * n * b_bytes, m * n * d_bytes};
}

Cost attention_core_cost(double tokens, double heads, double qk_dim, double v_dim, bool causal, double element_bytes) {
  const double keys_a_query = causal ? (tokens + 1) / 2 : tokens;
  return {2 * tokens * keys_a_query * heads * (qk_dim + v_dim), tokens * heads * (2 * qk_dim + v_dim) * element_bytes,
          tokens * heads * v_dim * element_bytes};
}

}  // namespace lastbit::ops
