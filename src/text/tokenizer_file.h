// Hugging Face's tokenizer.json, read and written.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace lastbit::text {

// `text`: the file; `name` precedes messages. In one pass: V3's 7.8 MB in some 0.1 s. Errors (bad input): not strict
// JSON of UTF-8, deeper than 64, a key that is there twice, fields of other types than the format's; everything that
// Tokenizer refuses. Unsupported: models other than BPE, and its options dropout, unk_token, byte_fallback,
// continuing_subword_prefix and end_of_word_suffix.
[[nodiscard]] Tokenizer parse_tokenizer(std::string_view text, const std::string& name);

// The file that parse_tokenizer() reads the same tokenizer from, and Hugging Face tokenizers too.
[[nodiscard]] std::string tokenizer_json(const TokenizerDescription& description);

}  // namespace lastbit::text
