// Tokens that are found in the text itself, before it is cut into pieces: "added_tokens" of tokenizer.json.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe_model.h"
#include "text/split_regex.h"

namespace lastbit::text {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and behind it
  bool normalized = false;   // looked for in the normalised text
  bool special = false;      // left out by a decoder that skips special tokens
};

// A part of a text: an added token, or (kNoToken) what lies between two.
struct TextPart {
  TextSpan span;
  TokenId token = kNoToken;
};

class AddedTokenFinder {
 public:
  // Contents are non-empty and all different.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  // Appends the parts of `text` in order: at each place the longest token, leftmost first, as Hugging Face tokenizers
  // do. Any bytes.
  void split(std::string_view text, std::vector<TextPart>& parts) const;

 private:
  // The longest token that begins at byte `at`, an index into tokens_; -1 when none does.
  [[nodiscard]] std::ptrdiff_t longest_at(std::string_view text, std::size_t at) const;
  [[nodiscard]] std::size_t next_candidate(std::string_view text, std::size_t at) const;

  std::vector<AddedToken> tokens_;       // by content
  std::array<bool, 256> first_bytes_{};  // that a content begins with
  std::vector<unsigned char> firsts_;    // the same as a list
};

}  // namespace lastbit::text
