// Unicode's normal forms (UAX #15), by utf8proc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lastbit::text {

enum class NormalForm : std::uint8_t { kNfc, kNfd, kNfkc, kNfkd };

// "NFC", "NFD", "NFKC", "NFKD"; nothing for any other name.
[[nodiscard]] std::optional<NormalForm> find_normal_form(std::string_view name);

// text: valid UTF-8. Errors (bad input): text that is not, and more than 1 GiB.
[[nodiscard]] std::string normalize(std::string_view text, NormalForm form);

// Whether NFC surely leaves `text` (valid UTF-8) as it is: no mark, no conjoining vowel or final consonant of Hangul,
// and nothing that NFC writes differently. Fast.
[[nodiscard]] bool surely_nfc(std::string_view text);

}  // namespace lastbit::text
