#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "text/bpe_trainer.h"
#include "text/small_tokenizer.h"
#include "text/stream_decoder.h"
#include "text/utf8.h"

namespace {

const lastbit::text::Tokenizer& tokenizer() {
  static const lastbit::text::Tokenizer made(lastbit::testing::small_vocabulary(600), "small");
  return made;
}

}  // namespace

// Any bytes: they come back, whole and streamed; valid UTF-8 is split as the expressions say; the stream shows whole
// code points.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lastbit::text;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static Encoder encoder(tokenizer());
  std::vector<TokenId> ids;
  encoder.encode(text, ids);
  if (tokenizer().decode(ids) != text) std::abort();
  const bool utf8 = valid_utf8_prefix(text) == size;
  StreamDecoder stream(tokenizer());
  std::string streamed;
  for (const TokenId id : ids) {
    const std::string part = stream.push(id);
    if (utf8 && valid_utf8_prefix(part) != part.size()) std::abort();
    streamed += part;
  }
  if (streamed + stream.finish() != text) std::abort();
  if (!utf8) return 0;
  static const PreTokenizer splits = PreTokenizer::deepseek_v3();
  std::vector<TextSpan> pieces;
  for (std::size_t at = 0; at < size;) at = splits.split(text, at, pieces);
  if (pieces != splits.split_plainly(text)) std::abort();
  return 0;
}
