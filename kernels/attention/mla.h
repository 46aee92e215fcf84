// Multi-head latent attention of DeepSeek-V3: prefill, and decoding from a paged cache of latents. BF16 codes, sums in
// FP32, softmax weights rounded to BF16 before they meet the values (tuned) or not (v0). Arrays are the device's,
// row-major; each function launches one kernel; errors as launch().
#pragma once

#include <cstdint>

#include "kernels/version.h"

namespace lastbit::kernels {

constexpr int kQueryDim = 192;
constexpr int kValueDim = 128;
constexpr int kLatentDim = 512;  // the values: of a key its first 512 elements
constexpr int kCacheDim = 576;
constexpr int kPageKeys = 64;
constexpr int kMostDecodeKeys = 32768;  // that v0 has shared memory for

// q [queries, heads, 192], k [keys, heads, 192], v [keys, heads, 128]; out [queries, heads, 128], log_sum_exp FP32
// [queries, heads]. Causal: query i meets keys up to keys - queries + i; at least one.
struct MlaPrefill {
  const std::uint16_t* q;
  const std::uint16_t* k;
  const std::uint16_t* v;
  std::uint16_t* out;
  float* log_sum_exp;
  int queries;
  int keys;
  int heads;
  float scale;
  bool causal;
};
void mla_prefill(const MlaPrefill& call, Version version);

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
