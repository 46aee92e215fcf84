// General categories of Unicode 16.0, the version that Hugging Face tokenizers 0.23 splits by.
#pragma once

#include <span>
#include <string_view>

namespace lastbit::text {

// "Lu", "Nd", ... and "Cn" for what is not assigned.
[[nodiscard]] std::string_view general_category(char32_t code_point);

struct CategoryRange {
  char32_t first;
  char32_t last;  // included
  std::string_view category;
};
// What Unicode 15.0 to 16.0 assigned, in order: the part that libraries of Debian 12 do not know, or only in part.
[[nodiscard]] std::span<const CategoryRange> categories_since_unicode_14();

}  // namespace lastbit::text
