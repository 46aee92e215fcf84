// The rows that a run trains on: windows of tokens in an order that depends on the seed and the place alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "train/train_config.h"

namespace lastbit::train {

// Rows of one length.
struct TokenRows {
  tensor::Tensor ids;      // [rows, sequence_tokens] i64
  tensor::Tensor padding;  // likewise, bool; without elements: no padding

  [[nodiscard]] std::int64_t rows() const { return ids.size() == 0 ? 0 : ids.dim(0); }
};

class TokenWindows {
 public:
  // Text is tokenised now, its documents joined by their end tokens in a shuffled order and cut at every
  // sequence_tokens, as DeepSeek-V3's are (arXiv 2412.19437, section 4.1, which masks no documents from each other);
  // validation_share of the documents, drawn at random, are held out whole. Of shards one is in memory at a time, each
  // window cut into sequences; the last validation_windows windows are held out.
  // Errors (bad input): files as corpus says; a window that is no multiple of sequence_tokens; ids that are not below
  // `vocabulary`; less than one row; validation asked for and not one row left for it.
  TokenWindows(const DataConfig& config, std::int64_t vocabulary, std::uint64_t seed);

  // Rows of one epoch.
  [[nodiscard]] std::int64_t rows() const { return rows_; }
  // Rows position ... position + count - 1 of all epochs, one after the other; every epoch is shuffled anew (shards,
  // and the rows in each). Errors: as load_shard.
  [[nodiscard]] TokenRows read(std::int64_t position, std::int64_t count);

  // What was held out, rows with padding left out.
  [[nodiscard]] const TokenRows& validation() const { return validation_; }
  // Bytes of text that a token stands for, by id; 0 for special tokens: loss in bits over the bytes of targets is bits
  // per byte.
  [[nodiscard]] const std::vector<std::int64_t>& token_bytes() const { return token_bytes_; }

 private:
  void load_text(const DataConfig& config);
  void load_shards(const DataConfig& config);
  void check_ids(const tensor::Tensor& ids, const std::string& what) const;
  void enter(std::int64_t epoch, std::size_t place);

  std::int64_t vocabulary_;
  std::uint64_t seed_;
  std::int64_t sequence_tokens_;
  std::string folder_;                    // of shards
  std::vector<std::int64_t> shard_rows_;  // to train on
  std::int64_t rows_ = 0;
  TokenRows validation_;
  std::vector<std::int64_t> token_bytes_;

  // The shard that is in memory, and where it stands in its epoch.
  TokenRows current_;
  std::optional<std::size_t> loaded_;
  std::int64_t epoch_ = -1;
  std::size_t place_ = 0;   // of the shard in the epoch's order
  std::int64_t first_ = 0;  // the shard's first row of the epoch
  std::vector<std::uint32_t> shard_order_;
  std::vector<std::uint32_t> row_order_;
};

}  // namespace lastbit::train
