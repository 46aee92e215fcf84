#include "text/utf8.h"

#include <array>
#include <cstdint>
#include <cstring>

namespace lastbit::text {
namespace {

// What may follow a first byte: how long the code point is, and the bounds of its second byte.
struct LeadByte {
  unsigned char bytes;  // 0: no code point starts so
  unsigned char least;
  unsigned char most;
};

constexpr LeadByte lead_byte(unsigned first) {
  if (first < 0x80) return {1, 0, 0};
  if (first >= 0xc2 && first <= 0xdf) return {2, 0x80, 0xbf};
  if (first == 0xe0) return {3, 0xa0, 0xbf};
  if (first == 0xed) return {3, 0x80, 0x9f};
  if (first >= 0xe1 && first <= 0xef) return {3, 0x80, 0xbf};
  if (first == 0xf0) return {4, 0x90, 0xbf};
  if (first == 0xf4) return {4, 0x80, 0x8f};
  if (first >= 0xf1 && first <= 0xf3) return {4, 0x80, 0xbf};
  return {0, 0, 0};
}

// How many bytes at `at` go as they should towards one code point, and how many it wants (0: no code point starts so).
struct Start {
  std::size_t good;
  std::size_t wanted;
};

Start start_of(std::string_view text, std::size_t at) {
  const LeadByte lead = lead_byte(static_cast<unsigned char>(text[at]));
  if (lead.bytes <= 1) return {lead.bytes, lead.bytes};
  std::size_t good = 1;
  for (; good < lead.bytes && at + good < text.size(); ++good) {
    const auto byte = static_cast<unsigned char>(text[at + good]);
    if (byte < (good == 1 ? lead.least : 0x80) || byte > (good == 1 ? lead.most : 0xbf)) break;
  }
  return {good, lead.bytes};
}

}  // namespace

std::size_t code_point_bytes(std::string_view text, std::size_t at) {
  if (at >= text.size()) return 0;
  const Start start = start_of(text, at);
  return start.good == start.wanted ? start.wanted : 0;
}

std::size_t valid_utf8_prefix(std::string_view text) {
  constexpr std::uint64_t kHighBits = 0x8080808080808080U;
  std::size_t at = 0;
  while (at < text.size()) {
    if (at + 8 <= text.size()) {  // eight ASCII bytes at a time
      std::uint64_t eight = 0;
      std::memcpy(&eight, text.data() + at, 8);
      if ((eight & kHighBits) == 0) {
        at += 8;
        continue;
      }
    }
    const std::size_t bytes = code_point_bytes(text, at);
    if (bytes == 0) return at;
    at += bytes;
  }
  return at;
}

std::size_t invalid_utf8_bytes(std::string_view text, std::size_t at) {
  const std::size_t good = start_of(text, at).good;
  return good == 0 ? 1 : good;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string result;
  while (true) {
    const std::size_t valid = valid_utf8_prefix(text);
    result += text.substr(0, valid);
    if (valid == text.size()) return result;
    result += "\xef\xbf\xbd";
    text.remove_prefix(valid + invalid_utf8_bytes(text, valid));
  }
}

std::size_t unfinished_utf8_bytes(std::string_view text) {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const std::size_t at = text.size() - back;
    if ((static_cast<unsigned char>(text[at]) & 0xc0U) == 0x80) continue;
    const Start start = start_of(text, at);
    return start.good == back && start.wanted > back ? back : 0;
  }
  return 0;
}

void append_utf8(std::string& text, char32_t code_point) {
  const auto add = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
  const auto value = static_cast<std::uint32_t>(code_point);
  if (value < 0x80) {
    add(value);
  } else if (value < 0x800) {
    add(0xc0 | value >> 6);
    add(0x80 | (value & 0x3f));
  } else if (value < 0x10000) {
    add(0xe0 | value >> 12);
    add(0x80 | (value >> 6 & 0x3f));
    add(0x80 | (value & 0x3f));
  } else {
    add(0xf0 | value >> 18);
    add(0x80 | (value >> 12 & 0x3f));
    add(0x80 | (value >> 6 & 0x3f));
    add(0x80 | (value & 0x3f));
  }
}

}  // namespace lastbit::text
