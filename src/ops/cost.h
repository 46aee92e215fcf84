// What an operator costs, counted from its shapes: shared by `lastbit inspect` and the forecast.
#pragma once

namespace lastbit::ops {

// flops: a multiply-add counts two. Bytes are the least that must cross main memory: each operand once.
struct Cost {
  double flops = 0;
  double bytes_read = 0;
  double bytes_written = 0;

  Cost& operator+=(const Cost& other) {
    flops += other.flops;
    bytes_read += other.bytes_read;
    bytes_written += other.bytes_written;
    return *this;
  }
  friend Cost operator+(Cost a, const Cost& b) { return a += b; }
  friend Cost operator*(Cost a, double times) {
    return {a.flops * times, a.bytes_read * times, a.bytes_written * times};
  }
};

// D[m, n] = A[m, k] B[k, n]: 2 m n k flops; bytes an element of A, B and D as given.
[[nodiscard]] Cost matmul_cost(double m, double n, double k, double a_bytes, double b_bytes, double d_bytes);

// Softmax(Q K^T) V over `tokens` queries and as many keys: heads x (qk_dim + v_dim) x 2 flops a (query, key) pair.
// causal: half of the pairs, (tokens + 1) / 2 keys a query; otherwise all of them. Bytes: Q, K, V read and O written
// once.
[[nodiscard]] Cost attention_core_cost(double tokens, double heads, double qk_dim, double v_dim, bool causal,
                                       double element_bytes);

// Its gradients with recomputed scores, five products a pair for forward's two: scores, dQ and dK of qk_dim, dP and dV
// of v_dim, so heads x (3 qk_dim + 2 v_dim) x 2 flops; 2.5 times forward where qk_dim = v_dim. Bytes: Q, K, V, O and dO
// read, dQ, dK and dV written once.
[[nodiscard]] Cost attention_core_backward_cost(double tokens, double heads, double qk_dim, double v_dim, bool causal,
                                                double element_bytes);

// A router: logits = x W^T for `experts` experts in FP32, the choice, top_k indices (8 bytes) and weights (4) a token.
// flops: the product, and an affinity, a bias and a comparison a logit.
[[nodiscard]] Cost router_cost(double tokens, double experts, double d, double top_k, double x_bytes);

// The operators that memory bounds. An elementary function counts one flop, an index 8 bytes; "backward" is the
// operator's own backward pass, reading what it reads there and adding to gradients of weights in place.
[[nodiscard]] Cost add_cost(double elements, double element_bytes);

[[nodiscard]] Cost embedding_cost(double tokens, double d, double element_bytes);
[[nodiscard]] Cost embedding_backward_cost(double tokens, double d, double element_bytes);

[[nodiscard]] Cost rms_norm_cost(double rows, double d, double element_bytes);
[[nodiscard]] Cost rms_norm_backward_cost(double rows, double d, double element_bytes);

// dim: the elements of a vector that are turned. Backward costs the same. cos and sin are read once a token.
[[nodiscard]] Cost rope_cost(double tokens, double heads, double dim, double element_bytes);

[[nodiscard]] Cost swiglu_cost(double rows, double width, double element_bytes);
[[nodiscard]] Cost swiglu_backward_cost(double rows, double width, double element_bytes);

// Forward reads the logits once; backward reads them again and writes their gradient in their place.
[[nodiscard]] Cost cross_entropy_cost(double tokens, double vocabulary, double element_bytes);
[[nodiscard]] Cost cross_entropy_backward_cost(double tokens, double vocabulary, double element_bytes);

// rows: used slots, tokens times top_k where nothing is dropped.
[[nodiscard]] Cost dispatch_cost(double tokens, double rows, double d, double element_bytes);
[[nodiscard]] Cost dispatch_backward_cost(double tokens, double rows, double d, double element_bytes);
[[nodiscard]] Cost combine_cost(double tokens, double rows, double d, double element_bytes);
[[nodiscard]] Cost combine_backward_cost(double tokens, double rows, double d, double element_bytes);

}  // namespace lastbit::ops
