// The clean-up of a document before anything else looks at it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/normal_form.h"

namespace lastbit::text {

struct CleanUp {
  bool strip_html = false;            // tags, comments, scripts and style sheets go, common entities become characters
  bool line_ends = true;              // CR LF and CR become LF
  bool control_characters = true;     // those but tab, LF and form feed go, and U+FEFF
  bool collapse_white_space = false;  // runs of blanks become one, blank lines at most one, none at the ends
  std::optional<NormalForm> normal_form = NormalForm::kNfc;
};

// In the order of the fields; bytes that are not UTF-8 become U+FFFD before all of them. Errors (bad input): a text of
// more than 1 GiB.
[[nodiscard]] std::string clean_up(std::string_view text, const CleanUp& rules);

}  // namespace lastbit::text
