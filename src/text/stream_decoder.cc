#include "text/stream_decoder.h"

#include <utility>

#include "text/utf8.h"

namespace lastbit::text {

std::string StreamDecoder::push(TokenId id) {
  std::string text = std::exchange(waiting_, {});
  text += tokenizer_.bytes_of(id);
  const std::size_t finished = text.size() - unfinished_utf8_bytes(text);
  waiting_.assign(text, finished);
  text.erase(finished);
  return text;
}

std::string StreamDecoder::finish() { return std::exchange(waiting_, {}); }

}  // namespace lastbit::text
