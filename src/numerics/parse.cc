#include "numerics/parse.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "core/suggest.h"

namespace lastbit::numerics {

std::size_t require_name(std::string_view what, std::string_view name, const std::vector<std::string>& names) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  const std::string close = core::suggestion(name, names);
  core::fail_input("unknown {} '{}'{}", what, name,
                   close.empty() ? fmt::format("; one of {}", fmt::join(names, ", ")) : close);
}

Format require_format(std::string_view name) {
  const std::vector<std::string> names = format_names();
  return *find_format(names[require_name("format", name, names)]);
}

EncodeOptions require_encode_options(Format format, std::string_view convention, std::string_view overflow,
                                     std::string_view rounding) {
  constexpr Convention kConventions[] = {Convention::kCuda, Convention::kMlDtypes};
  constexpr Overflow kOverflows[] = {Overflow::kSaturate, Overflow::kNone};
  constexpr Rounding kRoundings[] = {Rounding::kNearestEven, Rounding::kTowardZero, Rounding::kUp,
                                     Rounding::kStochastic};
  EncodeOptions options =
      default_encode_options(format, kConventions[require_name("convention", convention, {"cuda", "ml_dtypes"})]);
  if (!overflow.empty()) options.overflow = kOverflows[require_name("overflow", overflow, {"saturate", "none"})];
  if (!rounding.empty())
    options.rounding = kRoundings[require_name("rounding", rounding, {"nearest", "zero", "up", "stochastic"})];
  if (format == Format::kE8M0 && options.rounding == Rounding::kStochastic)
    core::fail_input("e8m0 rounds nearest, up or zero, not stochastic");
  return options;
}

}  // namespace lastbit::numerics
