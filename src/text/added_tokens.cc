#include "text/added_tokens.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "text/unicode_categories.h"
#include "text/utf8.h"

namespace lastbit::text {
namespace {

// The code point that ends before byte `end`; U+FFFD when there is none in UTF-8.
char32_t code_point_before(std::string_view text, std::size_t end, std::size_t& bytes) {
  for (bytes = 1; bytes <= 4 && bytes <= end; ++bytes)
    if (code_point_bytes(text, end - bytes) == bytes) {
      std::size_t ignored = 0;
      return code_point_at(text, end - bytes, ignored);
    }
  return 0xfffd;
}

char32_t code_point_after(std::string_view text, std::size_t at, std::size_t& bytes) {
  if (code_point_bytes(text, at) == 0) return 0xfffd;
  return code_point_at(text, at, bytes);
}

bool is_word(char32_t value) {
  const std::string_view category = general_category(value);
  return category[0] == 'L' || category[0] == 'M' || category == "Nd" || category == "Nl" || category == "Pc";
}

bool is_white_space(char32_t value) {
  return (value >= 0x9 && value <= 0xd) || value == 0x85 || general_category(value)[0] == 'Z';
}

bool stands_alone(std::string_view text, TextSpan span) {
  std::size_t bytes = 0;
  if (span.begin > 0 && is_word(code_point_before(text, span.begin, bytes))) return false;
  return span.end >= text.size() || !is_word(code_point_after(text, span.end, bytes));
}

std::size_t strip_left(std::string_view text, std::size_t begin, std::size_t least) {
  std::size_t bytes = 0;
  while (begin > least && is_white_space(code_point_before(text, begin, bytes))) begin -= bytes;
  return begin;
}

std::size_t strip_right(std::string_view text, std::size_t end) {
  std::size_t bytes = 0;
  while (end < text.size() && is_white_space(code_point_after(text, end, bytes))) end += bytes;
  return end;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::ranges::sort(tokens_, {}, &AddedToken::content);
  for (const AddedToken& token : tokens_) {
    const auto first = static_cast<unsigned char>(token.content.front());
    if (!std::exchange(first_bytes_[first], true)) firsts_.push_back(first);
  }
}

std::size_t AddedTokenFinder::next_candidate(std::string_view text, std::size_t at) const {
  if (firsts_.size() == 1) {
    const void* found = std::memchr(text.data() + at, firsts_.front(), text.size() - at);
    return found == nullptr ? text.size() : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
  }
  while (at < text.size() && !first_bytes_[static_cast<unsigned char>(text[at])]) ++at;
  return at;
}

std::ptrdiff_t AddedTokenFinder::longest_at(std::string_view text, std::size_t at) const {
  // tokens_[low, high) begin with the first `length` bytes; the shortest of them, if it is just those, is the first.
  std::size_t low = 0;
  std::size_t high = tokens_.size();
  std::ptrdiff_t found = -1;
  for (std::size_t length = 1; at + length <= text.size() && low < high; ++length) {
    const auto byte = static_cast<unsigned char>(text[at + length - 1]);
    const auto byte_of = [&](const AddedToken& token) {
      return token.content.size() < length ? -1 : int{static_cast<unsigned char>(token.content[length - 1])};
    };
    const auto begin = tokens_.begin();
    const auto first =
        std::partition_point(begin + static_cast<std::ptrdiff_t>(low), begin + static_cast<std::ptrdiff_t>(high),
                             [&](const AddedToken& token) { return byte_of(token) < byte; });
    const auto last = std::partition_point(first, begin + static_cast<std::ptrdiff_t>(high),
                                           [&](const AddedToken& token) { return byte_of(token) == byte; });
    low = static_cast<std::size_t>(first - begin);
    high = static_cast<std::size_t>(last - begin);
    if (low < high && tokens_[low].content.size() == length) found = first - begin;
  }
  return found;
}

void AddedTokenFinder::split(std::string_view text, std::vector<TextPart>& parts) const {
  std::size_t done = 0;
  for (std::size_t at = tokens_.empty() ? text.size() : next_candidate(text, 0); at < text.size();
       at = next_candidate(text, at)) {
    const std::ptrdiff_t index = longest_at(text, at);
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(index)];
    TextSpan span{at, at + token.content.size()};
    at = span.end;
    if (token.single_word && !stands_alone(text, span)) continue;
    if (span.begin < done) continue;  // the one before took white space that this one begins with
    if (token.lstrip) span.begin = strip_left(text, span.begin, done);
    if (token.rstrip) span.end = strip_right(text, span.end);
    if (done < span.begin) parts.push_back({{done, span.begin}, kNoToken});
    parts.push_back({span, token.id});
    done = span.end;
  }
  if (done < text.size()) parts.push_back({{done, text.size()}, kNoToken});
}

}  // namespace lastbit::text
