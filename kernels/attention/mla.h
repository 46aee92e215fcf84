// Multi-head latent attention of DeepSeek-V3: prefill and its gradients, and decoding from a paged cache of latents.
// BF16 codes, sums in FP32, softmax weights and what stands for them in the gradients rounded to BF16 before they meet
// other operands (tuned) or not (v0). Arrays are the device's; errors as launch().
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/version.h"

namespace lastbit::kernels {

constexpr int kMostQueryDim = 192;  // of a head, tuned versions of prefill and gradients
constexpr int kMostValueDim = 128;  // likewise
constexpr int kLatentDim = 512;     // the values: of a key its first 512 elements
constexpr int kCacheDim = 576;
constexpr int kPageKeys = 64;
constexpr int kMostDecodeKeys = 32768;  // that v0 has shared memory for

// Element i of token t and head h lies at data[t * token_stride + h * head_stride + i]: a part of what a projection
// gave, or with a head_stride of 0 what all heads share.
template <typename T>
struct HeadRows {
  T* data;
  int token_stride;
  int head_stride;
};
using HeadCodes = HeadRows<const std::uint16_t>;

// Tokens lie sequence after sequence: query i of sequence s is token s * queries + i, keys likewise. Causal: it meets
// the keys up to keys - queries + i, at least one; else all.
struct MlaShape {
  int sequences;
  int queries;
  int keys;
  int heads;
  int nope_dim;  // elements of queries and keys without position
  int rope_dim;  // and with: they follow in q, and have an array of their own for keys; may be 0
  int value_dim;
  float scale;  // of scores
  bool causal;
};
struct MlaOperands {
  HeadCodes q;       // nope_dim + rope_dim
  HeadCodes k_nope;  // nope_dim
  HeadCodes k_rope;  // rope_dim
  HeadCodes v;       // value_dim
  MlaShape shape;
};

// out: value_dim elements a head; log_sum_exp FP32 [query tokens, heads]. One launch. Errors (bad input), tuned: heads
// beyond kMostQueryDim and kMostValueDim; v0 takes any.
struct MlaPrefill {
  MlaOperands in;
  HeadRows<std::uint16_t> out;
  float* log_sum_exp;
};
void mla_prefill(const MlaPrefill& call, Version version);

// The gradients of sum(dout out), FP32, as ops/attention_core.h has them: with p = exp(s - log_sum_exp), D = dout . out
// and ds = p (dout . v - D) scale, dq = sum of ds k, dk = sum of ds q, dv = sum of p dout, over keys or queries in
// ascending order. dk_rope of every head apart: sum_heads() adds them up. Every element is written. Three launches; no
// atomics. Errors: as mla_prefill().
struct MlaBackward {
  MlaOperands in;
  HeadCodes out;
  HeadCodes dout;
  const float* log_sum_exp;  // [query tokens, heads]
  float* dots;               // [query tokens, heads]: room for D
  HeadRows<float> dq;        // nope_dim + rope_dim
  HeadRows<float> dk_nope;
  HeadRows<float> dk_rope;
  HeadRows<float> dv;
};
void mla_backward(const MlaBackward& call, Version version);

// y [tokens, d] = the sum over heads of x [tokens, heads, d], from +0, heads ascending. One launch; the tuned one, by
// 16 bytes a load, is for arrays at multiples of 16 bytes and takes v0's way where d is no multiple of four.
void sum_heads(const float* x, int tokens, int heads, int d, float* y, Version version);

// q [batch, heads, 576]; cache [pages, 64, 576]; block_table [batch, table_width]: the pages of a sequence in order;
// seq_lens [batch], at least 1; out [batch, heads, 512], log_sum_exp FP32 [batch, heads].
struct MlaDecode {
  const std::uint16_t* q;
  const std::uint16_t* cache;
  const std::int32_t* block_table;
  const std::int32_t* seq_lens;
  std::uint16_t* out;
  float* log_sum_exp;
  int batch;
  int heads;
  int table_width;
  float scale;
};
void mla_decode(const MlaDecode& call, Version version);

}  // namespace lastbit::kernels
