#include "text/byte_alphabet.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "text/utf8.h"

namespace lastbit::text {
namespace {

constexpr std::size_t kAlphabetEnd = 0x144;  // one behind the largest code point

std::array<char32_t, 256> make_alphabet() {
  std::array<char32_t, 256> alphabet{};
  char32_t next = 256;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
    alphabet[byte] = printable ? byte : next++;
  }
  return alphabet;
}

// By code point: the byte, or -1.
std::array<std::int16_t, kAlphabetEnd> make_inverse() {
  std::array<std::int16_t, kAlphabetEnd> inverse{};
  inverse.fill(-1);
  for (std::size_t byte = 0; byte < 256; ++byte) inverse[byte_alphabet()[byte]] = static_cast<std::int16_t>(byte);
  return inverse;
}

}  // namespace

const std::array<char32_t, 256>& byte_alphabet() {
  static const std::array<char32_t, 256> alphabet = make_alphabet();
  return alphabet;
}

const std::array<unsigned char, 256>& bytes_by_code_point() {
  static const std::array<unsigned char, 256> bytes = [] {
    std::array<unsigned char, 256> order{};
    std::iota(order.begin(), order.end(), static_cast<unsigned char>(0));
    std::ranges::sort(order, [](unsigned char a, unsigned char b) { return byte_alphabet()[a] < byte_alphabet()[b]; });
    return order;
  }();
  return bytes;
}

std::string to_byte_alphabet(std::string_view bytes) {
  std::string token;
  token.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_utf8(token, byte_alphabet()[static_cast<unsigned char>(byte)]);
  return token;
}

std::optional<std::string> from_byte_alphabet(std::string_view token) {
  static const std::array<std::int16_t, kAlphabetEnd> inverse = make_inverse();
  std::string bytes;
  bytes.reserve(token.size());
  for (std::size_t at = 0; at < token.size();) {
    if (code_point_bytes(token, at) == 0) return std::nullopt;
    std::size_t length = 0;
    const char32_t value = code_point_at(token, at, length);
    if (value >= kAlphabetEnd || inverse[value] < 0) return std::nullopt;
    bytes += static_cast<char>(inverse[value]);
    at += length;
  }
  return bytes;
}

}  // namespace lastbit::text
