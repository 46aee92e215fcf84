#include "cli/number_checks.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>

namespace lastbit::cli {
namespace {

template <typename T>
bool reads_as(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

CLI::Validator finite_positive() {
  return {[](std::string& text) {
            double value = 0;
            const bool good = reads_as(text, value) && std::isfinite(value) && value > 0;
            return good ? std::string() : fmt::format("found '{}', expected a finite number above 0", text);
          },
          "POSITIVE"};
}

CLI::Validator whole_seed() {
  return {[](std::string& text) {
            std::uint64_t value = 0;
            return reads_as(text, value)
                       ? std::string()
                       : fmt::format("found '{}', expected a whole number from 0 to {}", text, UINT64_MAX);
          },
          "0 or more"};
}

}  // namespace lastbit::cli
