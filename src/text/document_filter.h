// Which documents are kept: rules on length, quality, script and origin.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lastbit::text {

struct DocumentFilter {
  std::int64_t min_code_points = 1;
  std::int64_t max_code_points = 0;          // 0: any
  double min_letter_share = 0;               // letters, marks and numbers among code points that are not white space
  double max_repeated_line_share = 1;        // bytes in non-empty lines that the document had before
  std::vector<std::string> scripts;          // names of script_names(); empty: any
  double min_script_share = 0.5;             // letters of those scripts among letters
  std::vector<std::string> languages;        // the document's language is one of these; empty: any
  std::vector<std::string> blocked_domains;  // "example.org": its documents and those of its subdomains go
};

// "latin", "han", ...: scripts that DocumentFilter tells apart.
[[nodiscard]] const std::vector<std::string>& script_names();

// The name of the rule that drops the document ("min_code_points", ...), empty when it is kept. text: valid UTF-8;
// language and url: as the document's source gives them, may be empty.
[[nodiscard]] std::string_view rejected_by(const DocumentFilter& filter, std::string_view text,
                                           std::string_view language, std::string_view url);

}  // namespace lastbit::text
