// Where tests find files, and scratch folders.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace lastbit::testing {

// The path of `relative` below ../shared of the checkout, whether or not it exists.
std::string shared_path(const std::string& relative);
bool shared_exists();
// The path of `relative` in the checkout.
std::string source_path(const std::string& relative);

// The bytes of a file; empty when it cannot be read.
std::string read_file(const std::string& path);

// A folder that is removed with everything in it when the object goes.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace lastbit::testing

// First line of a test that reads ../shared: users do not have it.
#define LASTBIT_NEEDS_SHARED() \
  if (!lastbit::testing::shared_exists()) GTEST_SKIP() << "needs ../shared (golden vectors), which is not here"
