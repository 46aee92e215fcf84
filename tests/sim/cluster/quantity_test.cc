#include "sim/cluster/quantity.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace lastbit::sim::cluster {
namespace {

std::string message_of(const std::string& text, Dimension dimension) {
  try {
    (void)parse_quantity(text, dimension, "x.toml: key 'a.b'");
  } catch (const core::Error& error) {
    EXPECT_EQ(core::exit_code(error.kind()), 2);
    return error.what();
  }
  return "";
}

TEST(Quantity, ReadsUnitsInSi) {
  EXPECT_DOUBLE_EQ(parse_quantity("400 Gb/s", Dimension::kBandwidth, ""), 50e9);
  EXPECT_DOUBLE_EQ(parse_quantity("50GB/s", Dimension::kBandwidth, ""), 50e9);
  EXPECT_DOUBLE_EQ(parse_quantity("3.7 us", Dimension::kTime, ""), 3.7e-6);
  EXPECT_DOUBLE_EQ(parse_quantity("80 GiB", Dimension::kBytes, ""), 80.0 * 1024 * 1024 * 1024);
  EXPECT_DOUBLE_EQ(parse_quantity("1.979e3 TFLOPS", Dimension::kComputeRate, ""), 1.979e15);
}

TEST(Quantity, NamesWhatIsWrong) {
  EXPECT_NE(message_of("400", Dimension::kBandwidth).find("x.toml: key 'a.b': '400' has no unit"), std::string::npos);
  EXPECT_NE(message_of("400 Gbs", Dimension::kBandwidth).find("did you mean"), std::string::npos);
  EXPECT_NE(message_of("400 us", Dimension::kBandwidth).find("unknown unit 'us'"), std::string::npos);
  EXPECT_NE(message_of("fast", Dimension::kBandwidth).find("expected a bandwidth"), std::string::npos);
  EXPECT_NE(message_of("-1 us", Dimension::kTime).find("expected a time"), std::string::npos);
  EXPECT_NE(message_of("nan us", Dimension::kTime).find("expected a time"), std::string::npos);
  EXPECT_NE(message_of("1e400 us", Dimension::kTime).find("expected a time"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::sim::cluster
