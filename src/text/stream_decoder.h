// Decoding as ids come, one at a time, without ever showing half a code point.
#pragma once

#include <string>

#include "text/tokenizer.h"

namespace lastbit::text {

class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}  // which must live as long

  // The text that `id` completes: empty while a code point is unfinished. What cannot become UTF-8 any more comes out
  // as it is. Errors (bad input): no token has this id.
  [[nodiscard]] std::string push(TokenId id);
  // The bytes of an unfinished code point that are left; the decoder is as new.
  [[nodiscard]] std::string finish();

 private:
  const Tokenizer& tokenizer_;
  std::string waiting_;
};

}  // namespace lastbit::text
