// Random shapes, units, formats, families and storage orders through every instruction set, until enough outputs of the
// vectorised GEMM have been held to the plain one: LASTBIT_FUZZ_OUTPUTS of them, ten million by default.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iterator>

#include "core/philox.h"
#include "numerics/gemm_cases.h"
#include "numerics/units.h"

namespace lastbit::numerics::testing {
namespace {

TEST(GemmFuzz, NoOutputDiffersFromThePlainPath) {
  const char* wanted = std::getenv("LASTBIT_FUZZ_OUTPUTS");
  const std::int64_t enough = wanted == nullptr ? 10'000'000 : std::atoll(wanted);
  const std::span<const InputFamily> families = check::input_families();
  std::int64_t outputs = 0;
  for (std::uint64_t seed = 0; outputs < enough && !HasFailure(); ++seed) {
    const core::RandomStream stream(seed, "gemm fuzz");
    auto pick = [&, at = std::uint64_t{0}](std::int64_t count) mutable {
      return static_cast<std::int64_t>(stream.word(at++) % static_cast<std::uint64_t>(count));
    };
    const Kind& kind = kKinds[pick(std::ssize(kKinds))];
    Case test;
    test.rule = rule_of(find_unit(kind.unit), kind.a, kind.b, Format::kF32);
    test.m = pick(70);
    test.n = pick(300);
    test.k = pick(pick(4) == 0 ? 700 : 140);
    test.family = families[static_cast<std::size_t>(pick(std::ssize(families)))];
    test.promotion.order = static_cast<PromotionOrder>(pick(4));
    test.promotion.every = std::int64_t{32} << pick(3);
    test.transposed_a = pick(2) == 1;
    test.transposed_b = pick(2) == 1;
    test.seed = seed;
    EXPECT_EQ(mismatches(test, outputs), 0)
        << kind.unit << " " << name(kind.a) << " " << name(kind.b) << " seed " << seed;
  }
  RecordProperty("outputs", std::to_string(outputs));
}

}  // namespace
}  // namespace lastbit::numerics::testing
