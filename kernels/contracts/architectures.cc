#include "kernels/contracts/architectures.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>

namespace lastbit::kernels {
namespace {

constexpr std::string_view kCode = "sm_";
constexpr std::string_view kPtx = "compute_";

// One of them: "sm_90a".
bool one_runs_on(std::string_view architecture, int major, int minor) {
  const bool ptx = architecture.starts_with(kPtx);
  if (!ptx && !architecture.starts_with(kCode)) return false;
  architecture.remove_prefix(ptx ? kPtx.size() : kCode.size());
  int number = 0;  // 80, 90, 100
  if (std::from_chars(architecture.data(), architecture.data() + architecture.size(), number).ec != std::errc{})
    return false;
  if (ptx) return 10 * major + minor >= number;
  const bool alone = architecture.back() == 'a';
  return number / 10 == major && (alone ? minor == number % 10 : minor >= number % 10);
}

}  // namespace

bool runs_on(const std::string& architectures, int major, int minor) {
  std::string_view rest = architectures;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(", "), rest.size());
    if (one_runs_on(rest.substr(0, end), major, minor)) return true;
    rest.remove_prefix(std::min(end + 2, rest.size()));
  }
  return false;
}

std::optional<std::string> why_not_portable(const std::string& name, int major, int minor) {
  if (runs_on(kPortable, major, minor)) return std::nullopt;
  return fmt::format("{} is sm_{}{}; the kernels are compiled for {}", name, major, minor, kPortable);
}

}  // namespace lastbit::kernels
