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

}  // namespace lastbit::ops
