#include "corpus/token_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace lastbit::corpus {
namespace {

class OpenTokens {
 public:
  explicit OpenTokens(const std::string& path) : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) core::fail_input("{}: cannot read: {}", path, std::strerror(errno));
  }
  ~OpenTokens() { ::close(descriptor_); }
  OpenTokens(const OpenTokens&) = delete;
  OpenTokens& operator=(const OpenTokens&) = delete;
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace

TokenFile::TokenFile(std::string path, std::int64_t tokens) : path_(std::move(path)) {
  const OpenTokens file(path_);
  const std::int64_t expected = tokens * std::int64_t{sizeof(text::TokenId)};
  struct stat status = {};
  if (fstat(file.get(), &status) != 0) core::fail_io("{}: cannot read: {}", path_, std::strerror(errno));
  if (status.st_size != expected) core::fail_input("{}: {} bytes, expected {}", path_, status.st_size, expected);
}

void TokenFile::read(std::int64_t begin, std::span<text::TokenId> tokens) const {
  const OpenTokens file(path_);
  std::span<std::byte> left = std::as_writable_bytes(tokens);
  auto at = static_cast<off_t>(begin * std::int64_t{sizeof(text::TokenId)});
  while (!left.empty()) {
    const ssize_t count = ::pread(file.get(), left.data(), left.size(), at);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) core::fail_io("{}: cannot read: {}", path_, count < 0 ? std::strerror(errno) : "it is shorter now");
    left = left.subspan(static_cast<std::size_t>(count));
    at += count;
  }
}

}  // namespace lastbit::corpus
