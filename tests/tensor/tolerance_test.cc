#include "tensor/tolerance.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace lastbit::tensor {
namespace {

TEST(Tolerance, IsReadAndWritten) {
  for (const char* text : {"bitwise", "bitwise,nan=any", "ulp=2", "abs=1e-05", "rel=0.25", "norm=2e-05,nan=any"})
    EXPECT_EQ(to_string(parse_tolerance(text)), text);
  const Tolerance norm = parse_tolerance("norm=2e-5,nan=any");
  EXPECT_EQ(norm.kind, ToleranceKind::kNorm);
  EXPECT_EQ(norm.bound, 2e-5);
  EXPECT_TRUE(norm.any_nan);
  EXPECT_FALSE(parse_tolerance("ulp=0").any_nan);
}

TEST(Tolerance, RefusesWhatItDoesNotKnow) {
  for (const char* text : {"", "exact", "ulp", "ulp=", "ulp=x", "ulp=-1", "ulp=1.5", "ulp=1e300", "abs=nan", "abs=inf",
                           "rel=1e-5x", "bitwise=1", "bitwise,nan=all", "nan=any", "abs=1,rel=1", " ulp=1"})
    EXPECT_THROW((void)parse_tolerance(text), core::Error) << text;
}

TEST(Tolerance, SuggestsTheNearestName) {
  try {
    (void)parse_tolerance("ulps=3");
    FAIL() << "accepted";
  } catch (const core::Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'ulp'"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lastbit::tensor
