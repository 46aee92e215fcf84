#include "tensor/tolerance.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/suggest.h"

namespace lastbit::tensor {
namespace {

struct NamedKind {
  std::string_view name;
  ToleranceKind kind;
};
constexpr std::array<NamedKind, 5> kKinds{{{"bitwise", ToleranceKind::kBitwise},
                                           {"ulp", ToleranceKind::kUlp},
                                           {"abs", ToleranceKind::kAbsolute},
                                           {"rel", ToleranceKind::kRelative},
                                           {"norm", ToleranceKind::kNorm}}};
constexpr std::string_view kAnyNan = ",nan=any";

double parse_bound(const std::string& text, std::string_view number, ToleranceKind kind) {
  double bound = 0;
  const char* end = number.data() + number.size();
  const auto [stop, error] = std::from_chars(number.data(), end, bound);
  if (error != std::errc() || stop != end || !std::isfinite(bound) || bound < 0)
    core::fail_input("tolerance '{}': found bound '{}', expected a number from 0", text, number);
  constexpr double kExactIntegers = 9007199254740992.0;  // 2^53
  if (kind == ToleranceKind::kUlp && (std::trunc(bound) != bound || bound > kExactIntegers))
    core::fail_input("tolerance '{}': found bound '{}', expected a whole number of ulp", text, number);
  return bound;
}

}  // namespace

Tolerance parse_tolerance(const std::string& text) {
  Tolerance tolerance;
  std::string_view rest = text;
  if (rest.ends_with(kAnyNan)) {
    tolerance.any_nan = true;
    rest.remove_suffix(kAnyNan.size());
  }
  const std::size_t equals = rest.find('=');
  const std::string_view name = rest.substr(0, equals);
  for (const NamedKind& named : kKinds) {
    if (name != named.name) continue;
    tolerance.kind = named.kind;
    const bool bounded = named.kind != ToleranceKind::kBitwise;
    if (bounded != (equals != std::string_view::npos))
      core::fail_input("tolerance '{}': expected {}", text,
                       bounded ? fmt::format("{}=BOUND", named.name) : "bitwise without a bound");
    if (bounded) tolerance.bound = parse_bound(text, rest.substr(equals + 1), named.kind);
    return tolerance;
  }
  std::vector<std::string> names;
  names.reserve(kKinds.size());
  for (const NamedKind& named : kKinds) names.emplace_back(named.name);
  core::fail_input("unknown tolerance '{}'{}, expected bitwise, ulp=N, abs=X, rel=X or norm=X, optionally with {}",
                   text, core::suggestion(name, names), kAnyNan);
}

std::string to_string(const Tolerance& tolerance) {
  std::string text;
  for (const NamedKind& named : kKinds)
    if (named.kind == tolerance.kind) text = named.name;
  if (tolerance.kind != ToleranceKind::kBitwise) text += fmt::format("={}", tolerance.bound);
  if (tolerance.any_nan) text += kAnyNan;
  return text;
}

}  // namespace lastbit::tensor
