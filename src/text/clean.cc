#include "text/clean.h"

#include <algorithm>
#include <array>
#include <utility>

#include "text/utf8.h"

namespace lastbit::text {
namespace {

char lower_ascii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// Whether `text` goes on at `at` with `word`, in any case.
bool continues(std::string_view text, std::size_t at, std::string_view word) {
  if (text.size() - at < word.size()) return false;
  return std::ranges::equal(text.substr(at, word.size()), word,
                            [](char a, char b) { return lower_ascii(a) == lower_ascii(b); });
}

// Behind the element that begins at `at`, with everything in it; its end tag may be missing.
std::size_t element_end(std::string_view text, std::size_t at, std::string_view end_tag) {
  for (std::size_t end = text.find("</", at); end != std::string_view::npos; end = text.find("</", end + 1))
    if (continues(text, end, end_tag)) {
      const std::size_t close = text.find('>', end);
      return close == std::string_view::npos ? text.size() : close + 1;
    }
  return text.size();
}

// Behind the tag at `at` ('<'); `at` when it is none.
std::size_t tag_end(std::string_view text, std::size_t at) {
  if (continues(text, at, "<!--")) {
    const std::size_t end = text.find("-->", at + 4);
    return end == std::string_view::npos ? text.size() : end + 3;
  }
  if (continues(text, at, "<script")) return element_end(text, at, "</script");
  if (continues(text, at, "<style")) return element_end(text, at, "</style");
  const char next = at + 1 < text.size() ? text[at + 1] : ' ';
  const bool tag = (lower_ascii(next) >= 'a' && lower_ascii(next) <= 'z') || next == '/' || next == '!' || next == '?';
  if (!tag) return at;
  const std::size_t end = text.find('>', at);
  return end == std::string_view::npos ? at : end + 1;
}

constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kEntities{
    {{"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&apos;", "'"}, {"&nbsp;", "\u00a0"}, {"&amp;", "&"}}};

// Appends what the entity at `at` stands for and returns its end; `at` when it is none of those known.
std::size_t entity_end(std::string_view text, std::size_t at, std::string& result) {
  for (const auto& [name, value] : kEntities)
    if (text.substr(at).starts_with(name)) {
      result += value;
      return at + name.size();
    }
  if (!text.substr(at).starts_with("&#")) return at;
  const bool hex = continues(text, at, "&#x");
  std::size_t end = at + (hex ? 3 : 2);
  std::uint32_t value = 0;
  const std::size_t first = end;
  for (; end < text.size() && end - first < 7; ++end) {
    const char c = lower_ascii(text[end]);
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(hex && c >= 'a' && c <= 'f')) break;
    value = value * (hex ? 16 : 10) + static_cast<std::uint32_t>(digit ? c - '0' : c - 'a' + 10);
  }
  const bool scalar = value > 0 && value < 0x110000 && (value < 0xd800 || value > 0xdfff);
  if (end == first || end >= text.size() || text[end] != ';' || !scalar) return at;
  append_utf8(result, value);
  return end + 1;
}

std::string strip_html(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    if (text[at] == '<') end = tag_end(text, at);
    if (text[at] == '&') end = entity_end(text, at, result);
    if (end == at) {
      result += text[at++];
    } else {
      at = end;
    }
  }
  return result;
}

std::string join_line_ends(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\r') {
      result += text[at];
    } else if (at + 1 >= text.size() || text[at + 1] != '\n') {
      result += '\n';
    }
  }
  return result;
}

bool is_control(unsigned char c) { return (c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f') || c == 0x7f; }

// U+0080 to U+009F are C2 80 to C2 9F; U+FEFF is EF BB BF.
std::string drop_controls(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (is_control(c)) continue;
    if (c == 0xc2 && static_cast<unsigned char>(text[at + 1]) < 0xa0) {
      ++at;
      continue;
    }
    if (c == 0xef && text.substr(at, 3) == "\xef\xbb\xbf") {
      at += 2;
      continue;
    }
    result += text[at];
  }
  return result;
}

std::string collapse(std::string_view text) {
  std::string result;
  int breaks = 2;  // at the end of `result`; the beginning counts as a blank line
  bool blank = false;
  for (const char c : text) {
    if (c == '\n') {
      blank = false;
      if (breaks < 2) result += '\n';
      breaks = std::min(breaks + 1, 2);
    } else if (c == ' ' || c == '\t') {
      blank = true;
    } else {
      if (blank && breaks == 0) result += ' ';
      blank = false;
      breaks = 0;
      result += c;
    }
  }
  while (result.ends_with('\n')) result.pop_back();
  return result;
}

}  // namespace

std::string clean_up(std::string_view text, const CleanUp& rules) {
  std::string result = valid_utf8_prefix(text) == text.size() ? std::string(text) : replace_invalid_utf8(text);
  if (rules.strip_html && result.find_first_of("<&") != std::string::npos) result = strip_html(result);
  if (rules.line_ends && result.find('\r') != std::string::npos) result = join_line_ends(result);
  if (rules.control_characters) {
    const bool suspect = std::ranges::any_of(result, [](char c) {
      const auto byte = static_cast<unsigned char>(c);
      return is_control(byte) || byte == 0xc2 || byte == 0xef;
    });
    if (suspect) result = drop_controls(result);
  }
  if (rules.collapse_white_space) result = collapse(result);
  if (rules.normal_form && (*rules.normal_form != NormalForm::kNfc || !surely_nfc(result)))
    result = normalize(result, *rules.normal_form);
  return result;
}

}  // namespace lastbit::text
