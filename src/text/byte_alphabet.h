// The byte alphabet of byte-level BPE: every byte has a printable code point, and tokens are written in those (GPT-2).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace lastbit::text {

// The code point of each byte: itself when printable in Latin-1, else 256 + how many such bytes are before it.
[[nodiscard]] const std::array<char32_t, 256>& byte_alphabet();

// The 256 bytes in the order of their code points: the order in which a trained vocabulary lists them.
[[nodiscard]] const std::array<unsigned char, 256>& bytes_by_code_point();

// "Ġthe" for " the".
[[nodiscard]] std::string to_byte_alphabet(std::string_view bytes);

// The bytes that a token stands for; nothing when it has a code point that is not in the alphabet, or is not UTF-8.
[[nodiscard]] std::optional<std::string> from_byte_alphabet(std::string_view token);

}  // namespace lastbit::text
