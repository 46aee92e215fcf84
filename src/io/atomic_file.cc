#include "io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/error.h"

namespace lastbit::io {
namespace {

namespace fs = std::filesystem;

std::string resolve_target(const std::string& path) {
  if (path.empty()) core::fail_input("cannot write a file without a name");
  std::error_code ignored;
  std::string target = path;
  if (fs::is_symlink(fs::symlink_status(path, ignored))) target = fs::weakly_canonical(path, ignored).string();
  if (target.empty()) target = path;
  const fs::file_status status = fs::status(target, ignored);
  if (fs::is_directory(status)) core::fail_input("{}: is a folder, expected the name of a file to write", path);
  if (fs::exists(status) && !fs::is_regular_file(status))
    core::fail_input("{}: is not a regular file, expected the name of a file to write", path);
  return target;
}

[[noreturn]] void fail_writing(const std::string& path, int error) {
  std::error_code ignored;
  const fs::path folder = fs::path(path).parent_path();
  if (!folder.empty() && !fs::is_directory(folder, ignored))
    core::fail_input("{}: cannot write: there is no folder {}", path, folder.string());
  core::fail_io("{}: cannot write: {}", path, std::strerror(error));
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(resolve_target(path)) {
  static std::atomic<unsigned> counter{0};
  do {
    temporary_ = fmt::format("{}.{}-{}.partial", target_, getpid(), counter++);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) fail_writing(path_, errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_writing(path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::commit() {
  core::check(descriptor_ >= 0, "a file is committed once");
  // A library may have replaced the temporary file by another of the same name: sync what is there now.
  const int current = ::open(temporary_.c_str(), O_RDONLY | O_CLOEXEC);
  if (current < 0) fail_writing(path_, errno);
  const int sync_error = ::fsync(current) == 0 ? 0 : errno;
  ::close(current);
  if (sync_error != 0) fail_writing(path_, sync_error);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_writing(path_, errno);
  ::close(descriptor_);
  descriptor_ = -1;
}

void write_text_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace lastbit::io
