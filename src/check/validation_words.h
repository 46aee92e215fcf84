// A validation as people ask for it: names, sizes and tolerances in words.
#pragma once

#include <string>
#include <vector>

#include "check/validation.h"

namespace lastbit::check {

struct ValidationWords {
  std::string contract;
  OpSettings settings = {};
  std::vector<std::string> shapes = {};  // "64x128x256"; "v3": the linear layers of DeepSeek-V3 at M = 1, 64 and 4096
  std::vector<std::string> families = {};
};

// Errors (bad input): as find_contract() and contract_settings(), and a shape that cannot be read.
[[nodiscard]] ValidationRequest read_request(const ValidationWords& words);

// "bitwise", "ulp=N", "abs=X" or "rel=X". Errors (bad input): anything else; a norm, which is no rule for elements.
[[nodiscard]] tensor::Tolerance read_tolerance(const std::string& text);

}  // namespace lastbit::check
