#include "ops/cost.h"

namespace lastbit::ops {
namespace {

constexpr double kIndexBytes = 8;  // i64

}  // namespace

Cost matmul_cost(double m, double n, double k, double a_bytes, double b_bytes, double d_bytes) {
  return {2 * m * n * k, m * k * a_bytes + k * n * b_bytes, m * n * d_bytes};
}

Cost attention_core_cost(double tokens, double heads, double qk_dim, double v_dim, bool causal, double element_bytes) {
  const double keys_a_query = causal ? (tokens + 1) / 2 : tokens;
  return {2 * tokens * keys_a_query * heads * (qk_dim + v_dim), tokens * heads * (2 * qk_dim + v_dim) * element_bytes,
          tokens * heads * v_dim * element_bytes};
}

Cost router_cost(double tokens, double experts, double d, double top_k, double x_bytes) {
  constexpr double kFp32Bytes = 4;
  const Cost choice{3 * tokens * experts, tokens * experts * kFp32Bytes, tokens * top_k * (kIndexBytes + kFp32Bytes)};
  return matmul_cost(tokens, experts, d, x_bytes, kFp32Bytes, kFp32Bytes) + choice;
}

Cost attention_core_backward_cost(double tokens, double heads, double qk_dim, double v_dim, bool causal,
                                  double element_bytes) {
  const Cost forward = attention_core_cost(tokens, heads, qk_dim, v_dim, causal, element_bytes);
  return {forward.flops / (qk_dim + v_dim) * (3 * qk_dim + 2 * v_dim), forward.bytes_read + 2 * forward.bytes_written,
          forward.bytes_read};
}

Cost add_cost(double elements, double element_bytes) {
  return {elements, 2 * elements * element_bytes, elements * element_bytes};
}

Cost embedding_cost(double tokens, double d, double element_bytes) {
  return {0, tokens * (d * element_bytes + kIndexBytes), tokens * d * element_bytes};
}

Cost embedding_backward_cost(double tokens, double d, double element_bytes) {
  return {tokens * d, tokens * (2 * d * element_bytes + kIndexBytes), tokens * d * element_bytes};
}

// An element: its square and the sum of it; times 1/sqrt, times the weight.
Cost rms_norm_cost(double rows, double d, double element_bytes) {
  return {4 * rows * d, (rows + 1) * d * element_bytes, rows * d * element_bytes};
}

// An element: square and sum; n, g; two for dweight; two for the dot product; three for dx.
Cost rms_norm_backward_cost(double rows, double d, double element_bytes) {
  return {11 * rows * d, (2 * rows + 2) * d * element_bytes, (rows + 1) * d * element_bytes};
}

// A pair: four products and two additions.
Cost rope_cost(double tokens, double heads, double dim, double element_bytes) {
  return {3 * tokens * heads * dim, tokens * (heads + 1) * dim * element_bytes, tokens * heads * dim * element_bytes};
}

// An element: silu is an exponential, an addition and a division; then the product.
Cost swiglu_cost(double rows, double width, double element_bytes) {
  return {4 * rows * width, 2 * rows * width * element_bytes, rows * width * element_bytes};
}

// An element: three each for silu and sigmoid; one product for dup; three products and two additions for dgate.
Cost swiglu_backward_cost(double rows, double width, double element_bytes) {
  return {12 * rows * width, 3 * rows * width * element_bytes, 2 * rows * width * element_bytes};
}

// A logit: a comparison, a subtraction, an exponential, an addition. A token: its target; nll and lse in FP64.
Cost cross_entropy_cost(double tokens, double vocabulary, double element_bytes) {
  return {4 * tokens * vocabulary, tokens * (vocabulary * element_bytes + kIndexBytes), 2 * tokens * sizeof(double)};
}

// A logit: a subtraction, an exponential, a product.
Cost cross_entropy_backward_cost(double tokens, double vocabulary, double element_bytes) {
  return {3 * tokens * vocabulary, tokens * (vocabulary * element_bytes + kIndexBytes),
          tokens * vocabulary * element_bytes};
}

Cost dispatch_cost(double tokens, double rows, double d, double element_bytes) {
  return {0, tokens * d * element_bytes + rows * kIndexBytes, rows * d * element_bytes};
}

Cost dispatch_backward_cost(double tokens, double rows, double d, double element_bytes) {
  return {rows * d, rows * (d * element_bytes + kIndexBytes), tokens * d * element_bytes};
}

Cost combine_cost(double tokens, double rows, double d, double element_bytes) {
  return {2 * rows * d, rows * (d * element_bytes + element_bytes + kIndexBytes), tokens * d * element_bytes};
}

// An element of a row: a product for doutputs, two operations for the dot product.
Cost combine_backward_cost(double tokens, double rows, double d, double element_bytes) {
  return {3 * rows * d, tokens * d * element_bytes + rows * (d * element_bytes + element_bytes + kIndexBytes),
          rows * (d + 1) * element_bytes};
}

}  // namespace lastbit::ops
