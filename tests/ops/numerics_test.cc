#include "ops/numerics.h"

#include <gtest/gtest.h>

#include <string>

#include "core/error.h"

namespace lastbit::ops {
namespace {

core::ErrorKind kind_of(const std::string& name) {
  try {
    static_cast<void>(numerics_by_name(name));
  } catch (const core::Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << name << " was accepted";
  return core::ErrorKind::kInternal;
}

TEST(Numerics, TellsUnsupportedFromUnknown) {
  EXPECT_EQ(numerics_by_name("fp32").policy, Policy::kFp32);
  EXPECT_EQ(kind_of("bf16"), core::ErrorKind::kUnsupported);
  EXPECT_EQ(kind_of("fp8-h800"), core::ErrorKind::kUnsupported);
  EXPECT_EQ(kind_of("fp23"), core::ErrorKind::kInput);
}

}  // namespace
}  // namespace lastbit::ops
