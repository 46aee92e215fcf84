// UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lastbit::text {

// The bytes of the code point that starts at byte `at`, 1 to 4; 0 when there is none, or nothing is left.
[[nodiscard]] std::size_t code_point_bytes(std::string_view text, std::size_t at);

// The code point at byte `at` of valid UTF-8; `bytes` is set to its length.
[[nodiscard]] inline char32_t code_point_at(std::string_view text, std::size_t at, std::size_t& bytes) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[at + k]); };
  const unsigned first = byte(0);
  if (first < 0x80) {
    bytes = 1;
    return first;
  }
  if (first < 0xe0) {
    bytes = 2;
    return (first & 0x1fU) << 6 | (byte(1) & 0x3fU);
  }
  if (first < 0xf0) {
    bytes = 3;
    return (first & 0x0fU) << 12 | (byte(1) & 0x3fU) << 6 | (byte(2) & 0x3fU);
  }
  bytes = 4;
  return (first & 0x07U) << 18 | (byte(1) & 0x3fU) << 12 | (byte(2) & 0x3fU) << 6 | (byte(3) & 0x3fU);
}

// How many bytes from the start of `text` are valid UTF-8.
[[nodiscard]] std::size_t valid_utf8_prefix(std::string_view text);

// Where `text` is not UTF-8 at byte `at`: the bytes that one U+FFFD stands for, at least 1. As many as could still
// begin a code point (Unicode 16.0, section 3.9, "maximal subparts"; Rust's from_utf8_lossy).
[[nodiscard]] std::size_t invalid_utf8_bytes(std::string_view text, std::size_t at);

// Every maximal subpart that is not UTF-8 becomes U+FFFD.
[[nodiscard]] std::string replace_invalid_utf8(std::string_view text);

// The bytes at the end of `text` that are the beginning of a code point whose rest is not there yet, 0 to 3.
[[nodiscard]] std::size_t unfinished_utf8_bytes(std::string_view text);

void append_utf8(std::string& text, char32_t code_point);

}  // namespace lastbit::text
