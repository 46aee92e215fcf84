// DeepSeek-V3's three splits in one pass: the hot loop of encoding. The plain twin is PreTokenizer's own way, which
// runs the regular expressions one after another.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "text/split_regex.h"

namespace lastbit::text {

// The three expressions that this stands for, in order, all with behaviour "Isolated".
[[nodiscard]] const std::vector<std::string>& deepseek_patterns();

// Appends pieces of `text` (valid UTF-8) from byte `at` on, where a piece begins, to `pieces`, `enough` of them or a
// few more unless the text is at its end; returns where the next one begins. Pieces cover the text.
std::size_t split_deepseek(std::string_view text, std::size_t at, std::size_t enough, std::vector<TextSpan>& pieces);

}  // namespace lastbit::text
