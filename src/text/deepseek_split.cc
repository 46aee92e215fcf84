#include "text/deepseek_split.h"

#include <array>
#include <cstdint>
#include <memory>

#include "text/unicode_categories.h"
#include "text/utf8.h"

namespace lastbit::text {
namespace {

// What the three expressions ask of a code point.
using Traits = std::uint8_t;
constexpr Traits kLetter = 1;  // \p{L}
constexpr Traits kMark = 2;    // \p{M}
constexpr Traits kNumber = 4;  // \p{N}
constexpr Traits kSign = 8;    // \p{P} or \p{S}
constexpr Traits kSpace = 16;  // \s
constexpr Traits kBreak = 32;  // \r, \n
constexpr Traits kKana = 64;   // the second expression's class: Han and kana
constexpr Traits kWord = kLetter | kMark;

Traits traits_of(char32_t value) {
  const char category = general_category(value).front();
  Traits traits = 0;
  if (category == 'L') traits |= kLetter;
  if (category == 'M') traits |= kMark;
  if (category == 'N') traits |= kNumber;
  if (category == 'P' || category == 'S') traits |= kSign;
  if (category == 'Z' || (value >= 0x9 && value <= 0xd) || value == 0x85) traits |= kSpace;
  if (value == '\r' || value == '\n') traits |= kBreak;
  if ((value >= 0x4e00 && value <= 0x9fa5) || (value >= 0x3040 && value <= 0x30ff)) traits |= kKana;
  return traits;
}

constexpr std::size_t kCodePoints = 0x110000;

// One byte a code point, filled once: 1.1 MB, of which a text touches a few lines.
const Traits* traits_table() {
  static const std::unique_ptr<const std::array<Traits, kCodePoints>> table = [] {
    auto filled = std::make_unique<std::array<Traits, kCodePoints>>();
    for (std::size_t value = 0; value < kCodePoints; ++value)
      (*filled)[value] = traits_of(static_cast<char32_t>(value));
    return filled;
  }();
  return table->data();
}

// Splits one text. Between numbers and runs of Han and kana, which the first two expressions cut out, and inside those
// runs, the third one applies; what it cannot match stays together up to its next match.
class DeepseekPass {
 public:
  DeepseekPass(std::string_view text, std::vector<TextSpan>& pieces)
      : text_(text), pieces_(pieces), traits_(traits_table()) {}

  std::size_t run(std::size_t at, std::size_t enough) {
    const std::size_t before = pieces_.size();
    while (at < text_.size() && pieces_.size() - before < enough) at = next(at);
    return at;
  }

 private:
  struct Symbol {
    Traits traits;
    std::size_t end;  // where the next one begins
  };

  [[nodiscard]] Symbol symbol(std::size_t at) const {
    const auto first = static_cast<unsigned char>(text_[at]);
    if (first < 0x80) return {traits_[first], at + 1};
    std::size_t bytes = 0;
    const char32_t value = code_point_at(text_, at, bytes);
    return {traits_[value], at + bytes};
  }

  // The end of the run of code points with any of `wanted` and none of the segment's borders.
  [[nodiscard]] std::size_t run_end(std::size_t at, Traits wanted, std::size_t limit, Traits borders) const {
    while (at < limit) {
      const Symbol now = symbol(at);
      if ((now.traits & wanted) == 0 || (now.traits & borders) != 0) break;
      at = now.end;
    }
    return at;
  }

  void add(std::size_t begin, std::size_t end) { pieces_.push_back({begin, end}); }

  // Adds the piece or pieces at `at`; returns their end.
  std::size_t next(std::size_t at) {
    const Symbol first = symbol(at);
    if ((first.traits & kNumber) != 0) {
      std::size_t end = first.end;
      for (int digits = 1; digits < 3 && end < text_.size(); ++digits) {
        const Symbol now = symbol(end);
        if ((now.traits & kNumber) == 0) break;
        end = now.end;
      }
      add(at, end);
      return end;
    }
    if ((first.traits & kKana) != 0) return kana_run(at);
    return third(at, first, text_.size(), kNumber | kKana);
  }

  std::size_t kana_run(std::size_t begin) {
    bool plain = true;
    std::size_t end = begin;
    while (end < text_.size()) {
      const Symbol now = symbol(end);
      if ((now.traits & kKana) == 0) break;
      plain = plain && (now.traits & kWord) != 0;
      end = now.end;
    }
    if (plain) {
      add(begin, end);
    } else {
      for (std::size_t at = begin; at < end;) at = third(at, symbol(at), end, 0);
    }
    return end;
  }

  // The third expression on the segment that ends at `limit` or before the first code point with `borders`.
  std::size_t third(std::size_t at, Symbol first, std::size_t limit, Traits borders) {
    std::size_t end = match(at, first, limit, borders);
    if (end == at) {  // nothing begins here: up to where something does
      end = first.end;
      while (end < limit) {
        const Symbol now = symbol(end);
        if ((now.traits & borders) != 0) break;
        const std::size_t after = match(end, now, limit, borders);
        if (after != end) {
          add(at, end);
          add(end, after);
          return after;
        }
        end = now.end;
      }
    }
    add(at, end);
    return end;
  }

  // The end of the third expression's match at `at`, `at` when there is none.
  [[nodiscard]] std::size_t match(std::size_t at, Symbol first, std::size_t limit, Traits borders) const {
    const std::size_t next_at = first.end;
    const bool has_next = next_at < limit;
    const Symbol second = has_next ? symbol(next_at) : Symbol{0, next_at};
    const bool inside = (second.traits & borders) == 0;
    if ((first.traits & kLetter) != 0) return run_end(next_at, kWord, limit, borders);
    if ((first.traits & kSign) != 0) {
      // [!"#$...~][A-Za-z]+: in ASCII the signs are just these.
      if (next_at == at + 1 && has_next && second.end == next_at + 1 && (second.traits & kLetter) != 0)
        return ascii_letters_end(next_at, limit);
      return signs_end(next_at, limit, borders);
    }
    if ((first.traits & kBreak) == 0) {
      // [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+
      if (inside && (second.traits & kWord) != 0) return run_end(second.end, kWord, limit, borders);
      if ((first.traits & kMark) != 0) return next_at;
      if (text_[at] == ' ' && inside && (second.traits & kSign) != 0) return signs_end(second.end, limit, borders);
    }
    if ((first.traits & kSpace) == 0) return at;
    return spaces_end(at, limit, borders);
  }

  [[nodiscard]] std::size_t ascii_letters_end(std::size_t at, std::size_t limit) const {
    while (at < limit && static_cast<unsigned char>(text_[at]) < 0x80 &&
           (traits_[static_cast<unsigned char>(text_[at])] & kLetter) != 0)
      ++at;
    return at;
  }

  //  ?[\p{P}\p{S}]+[\r\n]*, behind its first sign
  [[nodiscard]] std::size_t signs_end(std::size_t at, std::size_t limit, Traits borders) const {
    return run_end(run_end(at, kSign, limit, borders), kBreak, limit, borders);
  }

  // \s*[\r\n]+|\s+(?!\S)|\s+
  [[nodiscard]] std::size_t spaces_end(std::size_t begin, std::size_t limit, Traits borders) const {
    std::size_t at = begin;
    std::size_t last = begin;       // where the last space begins
    std::size_t break_end = begin;  // behind the last line break
    while (at < limit) {
      const Symbol now = symbol(at);
      if ((now.traits & kSpace) == 0) break;
      last = at;
      at = now.end;
      if ((now.traits & kBreak) != 0) break_end = at;
    }
    if (break_end != begin) return break_end;
    const bool segment_ends = at >= limit || (symbol(at).traits & borders) != 0;
    return segment_ends || last == begin ? at : last;
  }

  std::string_view text_;
  std::vector<TextSpan>& pieces_;
  const Traits* traits_;
};

}  // namespace

const std::vector<std::string>& deepseek_patterns() {
  static const std::vector<std::string> patterns{
      R"(\p{N}{1,3})", "[一-龥\u3040-ゟ゠-ヿ]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
      " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"};
  return patterns;
}

std::size_t split_deepseek(std::string_view text, std::size_t at, std::size_t enough, std::vector<TextSpan>& pieces) {
  return DeepseekPass(text, pieces).run(at, enough);
}

}  // namespace lastbit::text
