// The regular expressions of tokenizer.json, matched by PCRE2 with the Unicode of Hugging Face's engine (Oniguruma).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lastbit::text {

// Bytes [begin, end) of a text.
struct TextSpan {
  std::size_t begin = 0;
  std::size_t end = 0;
  friend bool operator==(const TextSpan&, const TextSpan&) = default;
};

class SplitRegex {
 public:
  // Oniguruma's Ruby syntax as far as PCRE2 shares it. Differences that are seen to: '^' and '$' match at every line,
  // \s is Unicode's White_Space, \p{X} has the code points of Unicode 16.0 when X is a general category, and \p{Name}
  // of a script means the script. `name` precedes messages ("tokenizer.json: pre_tokenizer").
  // Errors (bad input): an invalid or overlong expression, or one with a class intersection ("&&"), with the place.
  SplitRegex(const std::string& pattern, const std::string& name);

  // All matches, leftmost first, not overlapping; an empty one at the end of the match before it is left out. The
  // text is valid UTF-8 and nothing lies around it. Thread-safe.
  // Errors (bad input): a match that takes more than PCRE2's limits of steps or memory.
  void find_all(std::string_view text, std::vector<TextSpan>& matches) const;

 private:
  struct Code;  // PCRE2's; shared by copies
  std::shared_ptr<const Code> code_;
  std::string name_;
};

// The expression as PCRE2 reads it; the part of the above that is a rewriting. Errors: "&&".
[[nodiscard]] std::string pcre2_pattern(std::string_view pattern, const std::string& name);

}  // namespace lastbit::text
