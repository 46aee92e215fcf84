#include "io/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "core/error.h"
#include "io/file_bytes.h"
#include "support/shared.h"

namespace lastbit::io {
namespace {

namespace fs = std::filesystem;

core::ErrorKind kind_of_failure(const std::string& path) {
  try {
    write_text_file(path, "x");
  } catch (const core::Error& error) {
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    return error.kind();
  }
  ADD_FAILURE() << "written: " << path;
  return core::ErrorKind::kInternal;
}

TEST(AtomicFile, SaysWhyNothingCanBeWritten) {
  EXPECT_EQ(kind_of_failure("/no/such/folder/a"), core::ErrorKind::kInput);
  if (!fs::exists("/proc/self")) return;
  EXPECT_EQ(kind_of_failure("/proc/a"), core::ErrorKind::kIo);  // a folder, but no file can be made there
}

TEST(AtomicFile, AppearsOnlyWhenCommitted) {
  const testing::TempDir dir;
  {
    AtomicFile file(dir.file("a"));
    file.write("one ");
    file.write("two");
    EXPECT_FALSE(fs::exists(dir.file("a")));
    file.commit();
  }
  EXPECT_EQ(FileBytes::open(dir.file("a"))->text(), "one two");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 1);
}

TEST(AtomicFile, OldContentsSurviveAFailure) {
  const testing::TempDir dir;
  write_text_file(dir.file("a"), "old");
  {
    AtomicFile file(dir.file("a"));
    file.write("half of the new");
  }
  EXPECT_EQ(FileBytes::open(dir.file("a"))->text(), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 1);
}

TEST(AtomicFile, LinksAreFollowedAndPermissionsAreTheUsual) {
  const testing::TempDir dir;
  write_text_file(dir.file("a"), "old");
  fs::create_symlink(dir.file("a"), dir.file("link"));
  write_text_file(dir.file("link"), "new");
  EXPECT_TRUE(fs::is_symlink(dir.file("link")));
  EXPECT_EQ(FileBytes::open(dir.file("a"))->text(), "new");
  const mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(static_cast<mode_t>(fs::status(dir.file("a")).permissions()), 0666 & ~mask);
}

TEST(AtomicFile, TargetsThatCannotBe) {
  const testing::TempDir dir;
  EXPECT_EQ(kind_of_failure(dir.file("no/such/a")), core::ErrorKind::kInput);
  EXPECT_EQ(kind_of_failure(dir.path()), core::ErrorKind::kInput);
  EXPECT_EQ(kind_of_failure(""), core::ErrorKind::kInput);
  EXPECT_EQ(kind_of_failure("/dev/null"), core::ErrorKind::kInput);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));  // and not replaced
  EXPECT_EQ(kind_of_failure(dir.file(std::string(300, 'x'))), core::ErrorKind::kIo);
}

TEST(FileBytes, EmptyFilesMissingFilesAndFolders) {
  const testing::TempDir dir;
  write_text_file(dir.file("empty"), "");
  EXPECT_TRUE(FileBytes::open(dir.file("empty"))->bytes().empty());
  for (const std::string& path : {dir.file("none"), dir.file("empty/below"), dir.path()}) {
    try {
      (void)FileBytes::open(path);
      ADD_FAILURE() << path;
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInput) << error.what();
    }
  }
}

}  // namespace
}  // namespace lastbit::io
