// Checks of numbers that CLI11's own let through or word at length.
#pragma once

#include <CLI/CLI.hpp>

namespace lastbit::cli {

// A finite number above 0: CLI::PositiveNumber accepts NaN.
[[nodiscard]] CLI::Validator finite_positive();

// A whole number from 0 to 2^64 - 1: CLI11 reads -1 as the last of them.
[[nodiscard]] CLI::Validator whole_seed();

}  // namespace lastbit::cli
