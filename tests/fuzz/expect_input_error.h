// What a fuzz target may throw.
#pragma once

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace lastbit::fuzz {

// Runs `parse`; core::Error of bad input in one line of reasonable length is fine, everything else ends the program.
template <typename Parse>
void expect_input_error(const Parse& parse) {
  constexpr std::size_t kLongestLine = 2000;
  try {
    parse();
  } catch (const core::Error& error) {
    if (error.kind() != core::ErrorKind::kInput || std::string(error.what()).size() > kLongestLine) std::abort();
  }
}

}  // namespace lastbit::fuzz
