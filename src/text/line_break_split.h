// Tokens that join other characters with line breaks, taken apart at random in training data, so that a model does not
// learn that a text never ends between the two (DeepSeek-V3, arXiv 2412.19437, section 4.1: token boundary bias).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/philox.h"
#include "text/tokenizer.h"

namespace lastbit::text {

class LineBreakSplitter {
 public:
  // share: of the tokens in question, in [0, 1]. Errors (bad input): any other.
  LineBreakSplitter(const Tokenizer& tokenizer, double share);

  // Appends `ids`, of document number `document`, with some tokens of the form X + line breaks (X not empty, without a
  // line break at its end) replaced by the tokens of X and those of the line breaks. A function of the stream's seed,
  // document and place.
  void apply(std::span<const TokenId> ids, std::uint64_t seed, std::uint64_t document,
             std::vector<TokenId>& result) const;

  // How many tokens of the vocabulary are in question.
  [[nodiscard]] std::size_t splittable() const { return splittable_; }

 private:
  std::vector<std::vector<TokenId>> parts_;  // by id; empty for tokens that stay
  std::vector<std::uint8_t> splits_;         // by id: whether it has parts; small enough for a near cache
  std::size_t splittable_ = 0;
  double share_;
};

}  // namespace lastbit::text
