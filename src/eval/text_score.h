// How well a model, and what it has to beat, predict a text.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "eval/ngram_model.h"
#include "model/transformer.h"
#include "tensor/tensor.h"

namespace lastbit::eval {

// Over all tokens of rows but each row's first.
struct TextScore {
  double nll = 0;            // nats
  std::int64_t targets = 0;  // tokens predicted
  std::int64_t bytes = 0;    // of text that they stand for

  [[nodiscard]] double loss() const;  // nats a token
  [[nodiscard]] double perplexity() const;
  [[nodiscard]] double bits_per_byte() const;
  void add(const TextScore& other);
};

// -ln P of ids[b, i + 1] given the tokens of its row before it: [B, S - 1] FP64. Errors: as Transformer::forward.
[[nodiscard]] tensor::Tensor next_token_nll(const model::Transformer& model, const tensor::Tensor& ids);

// ids [rows, S] i64, `batch` rows at a time; token_bytes[id]: bytes of text that a token stands for.
[[nodiscard]] TextScore score_rows(const model::Transformer& model, const tensor::Tensor& ids,
                                   std::span<const std::int64_t> token_bytes, std::int64_t batch);
// The same targets under an n-gram model, whose context ends at the row's start as well.
[[nodiscard]] TextScore score_rows(const NgramModel& model, const tensor::Tensor& ids,
                                   std::span<const std::int64_t> token_bytes);

// Bits that `gzip -9` takes for each byte of `text`, its header of 18 bytes included.
[[nodiscard]] double gzip_bits_per_byte(std::string_view text);

}  // namespace lastbit::eval
