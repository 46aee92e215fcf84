// The shapes, documents and key ranges of one call of the attention core, checked once.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/attention_core.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// Consecutive queries of one batch row that share their first key. Its rows, for one KV head, are the (query, head)
// pairs in the order (query 0, head 0), (query 0, head 1), ...
struct AttentionDocument {
  std::int64_t batch;
  std::int64_t first_query;
  std::int64_t queries;
  std::int64_t first_key;
};

struct AttentionLayout {
  tensor::DType dtype;
  std::int64_t batch;
  std::int64_t queries;  // Sq
  std::int64_t keys;     // Sk
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t group;  // heads that share a KV head
  std::int64_t qk_dim;
  std::int64_t v_dim;
  std::vector<AttentionDocument> documents;  // by batch row, then by query
  std::vector<std::int64_t> end_keys;        // [B, Sq]: one past the last key that a query meets

  // The position of (batch, query, head) of a document's row among all queries' heads.
  [[nodiscard]] std::int64_t row_index(const AttentionDocument& document, std::int64_t kv_head,
                                       std::int64_t row) const {
    const std::int64_t query = document.batch * queries + document.first_query + row / group;
    return query * heads + kv_head * group + row % group;
  }
  [[nodiscard]] std::int64_t row_end(const AttentionDocument& document, std::int64_t row) const {
    return end_keys[static_cast<std::size_t>(document.batch * queries + document.first_query + row / group)];
  }
  // The position of (batch, key, kv_head) among all keys' heads; the next key stands kv_heads further.
  [[nodiscard]] std::int64_t key_index(const AttentionDocument& document, std::int64_t kv_head,
                                       std::int64_t key) const {
    return (document.batch * keys + key) * kv_heads + kv_head;
  }
};

// Errors: as attention_core.
[[nodiscard]] AttentionLayout attention_layout(const tensor::Tensor& q, const tensor::Tensor& k,
                                               const tensor::Tensor& v, const AttentionMask& mask,
                                               const AttentionOptions& options);
// Also holds dout and result to the shapes that forward gives.
[[nodiscard]] AttentionLayout attention_layout(const tensor::Tensor& dout, const tensor::Tensor& q,
                                               const tensor::Tensor& k, const tensor::Tensor& v,
                                               const AttentionResult& result, const AttentionMask& mask,
                                               const AttentionOptions& options);

}  // namespace lastbit::ops
