// Where the tokens of one pass stand: their positions, and the documents that rows are packed from.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/attention_core.h"
#include "tensor/tensor.h"

namespace lastbit::model {

struct TokenLayout {
  std::int64_t batch = 0;
  std::int64_t tokens = 0;   // a row
  std::int64_t past = 0;     // tokens of each row before these: what a cache holds
  tensor::Tensor positions;  // [B, S] i64
  tensor::Tensor first_key;  // [B, S] i64, the first token of each token's document; without elements: 0 throughout

  [[nodiscard]] ops::AttentionMask mask() const {
    return {true, past, first_key.size() == 0 ? nullptr : &first_key, nullptr};
  }
  [[nodiscard]] std::int64_t end_position() const;  // one past the largest
};

// Rows of S tokens after `past` others: positions past, past + 1, ...
[[nodiscard]] TokenLayout plain_layout(std::int64_t batch, std::int64_t tokens, std::int64_t past = 0);

// Every row is packed from documents of these lengths, one after the other; positions restart with each, and no token
// sees another document. Errors (bad input): a length below 1, or lengths that do not sum to `tokens`.
[[nodiscard]] TokenLayout packed_layout(std::int64_t batch, std::int64_t tokens,
                                        const std::vector<std::int64_t>& document_lengths);

}  // namespace lastbit::model
