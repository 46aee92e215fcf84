#include "core/error.h"

#include <gtest/gtest.h>

namespace lastbit::core {
namespace {

TEST(Error, KindsMapToExitCodes) {
  EXPECT_EQ(exit_code(ErrorKind::kInput), 2);
  EXPECT_EQ(exit_code(ErrorKind::kIo), 3);
  EXPECT_EQ(exit_code(ErrorKind::kUnsupported), 4);
  EXPECT_EQ(exit_code(ErrorKind::kInternal), 70);
}

TEST(Error, FailInputFormatsItsMessage) {
  try {
    fail_input("{}: found {}, expected {}", "a.npy", 3, 4);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInput);
    EXPECT_STREQ(error.what(), "a.npy: found 3, expected 4");
  }
}

TEST(Error, CheckNamesItsPlace) {
  EXPECT_NO_THROW(check(true, "fine"));
  try {
    check(false, "broken");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInternal);
    EXPECT_NE(std::string(error.what()).find("error_test.cc"), std::string::npos);
  }
}

}  // namespace
}  // namespace lastbit::core
