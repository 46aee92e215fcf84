// Causal latent attention on FP32 values or BF16 codes with heads of any size, forward and backward: the obvious
// versions. Arrays are the device's, row-major; errors as launch().
#pragma once

#include "kernels/plain/values_view.h"

namespace lastbit::kernels {

// What a block has shared memory for on every GPU from sm_80 on, the least being 99 KiB (sm_86, sm_89, sm_120): a float
// a key, and in the gradients two floats a query.
constexpr int kMostAttentionKeys = 16384;
constexpr int kMostGradientQueries = 12288;
constexpr int kMostRopeDim = 256;

// Rows of queries and keys lie sequence by sequence. Query i of a sequence stands at key keys - queries + i and meets
// the keys up to there. At most kMostAttentionKeys, and kMostGradientQueries for latent_attention_gradient().
struct LatentHeads {
  Values q;         // [batch * queries, heads, nope + rope], of which the first `nope` are read
  Values q_rope;    // [batch * queries, heads, rope], turned
  Values expanded;  // [batch * keys, heads, nope + value]: keys without position, values
  Values k_rope;    // [batch * keys, rope], turned, of all heads
  int batch;
  int queries;
  int keys;
  int heads;
  int nope;
  int rope;
  int value;
  float scale;
};

// out [batch * queries, heads, value] = softmax(scale q k) v; log_sum_exp [batch * queries, heads]. Sums in FP32.
void latent_attention(const LatentHeads& heads, const Values& out, float* log_sum_exp);

struct LatentGradients {
  Values dout;  // [batch * queries, heads, value], read
  Values out;   // forward's results, read
  const float* log_sum_exp;
  float* delta;  // [batch * queries, heads]: room
  Values dq;     // as q, of which the first `nope` are written
  Values dq_rope;
  Values dexpanded;
  Values dk_rope;  // summed over heads, ascending
};
// Nothing is added to. Two launches.
void latent_attention_gradient(const LatentHeads& heads, const LatentGradients& gradients);

}  // namespace lastbit::kernels
