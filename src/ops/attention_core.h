// Softmax(scale Q K^T) V and its gradients, in one order whatever the blocks, threads and batch.
//
// Let a query's keys be first, ..., end - 1 (AttentionMask). They come in blocks of kAttentionKeyBlock counted from
// `first`, so that a packed document gives the bits that it gives alone. From m = -inf, l = 0, acc = 0, for each block:
//   s   = (q . k) scale              the dot product in the order of numerics/matmul.h, scale rounded to the dtype
//   m'  = max(m, s ...), alpha = exp(m - m'), p = exp(s - m')             exp of numerics/elementary.h
//   l   = l alpha + sum(p)                                                the sum in the order of numerics/reduce.h
//   acc = ((acc alpha) + 0) + chain(p, v)     chain: fused multiply-adds from +0, keys ascending; + 0 makes -0 into +0
// and at the end out = acc / l, log_sum_exp = m + log(l). Every line rounds operation by operation. A query's bits
// depend on itself and on its own keys and values alone: a key that it does not meet may even be NaN.
//
// Online softmax: Milakov and Gimelshein, arXiv 1805.02867; blocks and backward: FlashAttention-2, arXiv 2307.08691.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace lastbit::ops {

inline constexpr std::int64_t kAttentionKeyBlock = 128;

// Which keys a query meets. Query i of a row stands at key index past + i. It meets the keys from first_key up to,
// but without, end_key, and when causal none beyond its own index.
struct AttentionMask {
  bool causal = true;
  std::int64_t past = 0;  // keys before the first query: a cache, or a prefill in pieces
  // Packing with mutual masking: the first key of each query's document and one past its last. [B, Sq] i64, contiguous,
  // neither decreasing along a row; null: 0, and all keys. Documents do not overlap, so where first_key is given
  // without causal, end_key must be, too.
  const tensor::Tensor* first_key = nullptr;
  const tensor::Tensor* end_key = nullptr;
};

struct AttentionOptions {
  // FP32 only: the softmax weights are rounded to BF16 (nearest even) before they meet the values, and in backward also
  // dS before it meets keys and queries, as a BF16 FlashAttention does. l sums the unrounded weights.
  bool round_weights = false;
};

struct AttentionResult {
  tensor::Tensor out;          // [B, Sq, heads, v_dim]
  tensor::Tensor log_sum_exp;  // [B, Sq, heads]
};

// q [B, Sq, heads, qk_dim], k [B, Sk, kv_heads, qk_dim], v [B, Sk, kv_heads, v_dim], all FP32 or all FP64, contiguous;
// heads a multiple of kv_heads, consecutive heads share one (MHA, GQA, MQA). Memory beside the result: a tile of
// queries and its scores against one block of keys, for each thread. Errors: shapes that disagree, a query without
// keys, keys beyond Sk or documents that overlap are internal errors. Scores that overflow give NaN.
[[nodiscard]] AttentionResult attention_core(const tensor::Tensor& q, const tensor::Tensor& k, const tensor::Tensor& v,
                                             double scale, const AttentionMask& mask = {},
                                             const AttentionOptions& options = {});

// The same bits, query by query with scalar loops: what the order above says, to be read and to test against.
[[nodiscard]] AttentionResult attention_core_plain(const tensor::Tensor& q, const tensor::Tensor& k,
                                                   const tensor::Tensor& v, double scale,
                                                   const AttentionMask& mask = {},
                                                   const AttentionOptions& options = {});

struct AttentionGrads {
  tensor::Tensor dq;
  tensor::Tensor dk;
  tensor::Tensor dv;
};

// Gradients of sum(dout out), recomputing the scores: with D = numerics::dot(dout, out),
//   p = exp(s - log_sum_exp), dp = dout . v as for s, ds = (p (dp - D)) scale
//   dq = sum of ds k, the keys in blocks of kAttentionKeyBlock as forward
//   dv = sum of p dout, dk = sum of ds q, over the rows of a document in pieces of numerics::kMatmulBlockK; a KV head's
//        rows are its (query, head) pairs, query by query, counted from the first query of the document in this call
// where each piece is a chain of fused multiply-adds from +0, and pieces are added in order to +0. What is not met
// contributes nothing; a key that nobody meets has zero gradients. dout has the shape of out; result is forward's.
[[nodiscard]] AttentionGrads attention_core_backward(const tensor::Tensor& dout, const tensor::Tensor& q,
                                                     const tensor::Tensor& k, const tensor::Tensor& v,
                                                     const AttentionResult& result, double scale,
                                                     const AttentionMask& mask = {},
                                                     const AttentionOptions& options = {});

// The same bits from scalar loops and whole matrices of scores.
[[nodiscard]] AttentionGrads attention_core_backward_plain(const tensor::Tensor& dout, const tensor::Tensor& q,
                                                           const tensor::Tensor& k, const tensor::Tensor& v,
                                                           const AttentionResult& result, double scale,
                                                           const AttentionMask& mask = {},
                                                           const AttentionOptions& options = {});

}  // namespace lastbit::ops
