// Documents to the tokens that a model is trained on: fill in the middle, the end token, line-break tokens split.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "corpus/prepare_config.h"
#include "text/line_break_split.h"
#include "text/tokenizer.h"

namespace lastbit::corpus {

class DocumentTokens {
 public:
  // Errors (bad input): a marker that is not a token of the tokenizer. Both must live as long.
  DocumentTokens(const text::Tokenizer& tokenizer, const PrepareConfig& config);

  // Appends the tokens of document `index`, its end token included. Text that spells a marker stays text. A function
  // of the config's seed, the index and the text.
  void append(std::string_view text, std::int64_t index, text::Encoder& encoder,
              std::vector<text::TokenId>& tokens) const;

  [[nodiscard]] text::TokenId end_of_text() const { return end_of_text_; }
  [[nodiscard]] std::size_t splittable_tokens() const { return splitter_.splittable(); }

 private:
  const PrepareConfig& config_;
  text::LineBreakSplitter splitter_;
  text::TokenId begin_ = text::kNoToken;
  text::TokenId hole_ = text::kNoToken;
  text::TokenId end_ = text::kNoToken;
  text::TokenId end_of_text_ = text::kNoToken;
};

}  // namespace lastbit::corpus
