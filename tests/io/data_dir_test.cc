#include "io/data_dir.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "core/error.h"
#include "io/atomic_file.h"
#include "support/shared.h"

namespace lastbit::io {
namespace {

// Sets LASTBIT_DATA for the length of a test.
class ChosenData {
 public:
  explicit ChosenData(const std::string& path) { setenv("LASTBIT_DATA", path.c_str(), 1); }
  ~ChosenData() { unsetenv("LASTBIT_DATA"); }
  ChosenData(const ChosenData&) = delete;
  ChosenData& operator=(const ChosenData&) = delete;
};

TEST(DataDir, BuildTreeFindsTheSourcesData) {
  EXPECT_TRUE(std::filesystem::equivalent(data_dir(), testing::source_path("data")));
}

TEST(DataDir, EnvironmentComesFirst) {
  const testing::TempDir dir;
  write_text_file(dir.file("a.json"), "{}");
  const ChosenData chosen(dir.path());
  EXPECT_EQ(data_path("a.json"), dir.file("a.json"));
  EXPECT_THROW((void)data_path("b.json"), core::Error);
}

TEST(DataDir, ChosenFolderMustBeThere) {
  const testing::TempDir dir;
  const ChosenData chosen(dir.file("none"));
  EXPECT_THROW((void)data_dir(), core::Error);
}

}  // namespace
}  // namespace lastbit::io
