#include "io/file_bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace lastbit::io {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() { close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return value_; }

 private:
  int value_;
};

int open_for_reading(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor >= 0) return descriptor;
  if (errno == ENOENT || errno == ENOTDIR) core::fail_input("{}: no such file", path);
  core::fail_io("{}: cannot read: {}", path, std::strerror(errno));
}

std::vector<std::byte> read_to_end(int descriptor, const std::string& path) {
  std::vector<std::byte> bytes;
  std::array<std::byte, 65536> chunk{};
  for (;;) {
    const ssize_t count = ::read(descriptor, chunk.data(), chunk.size());
    if (count == 0) return bytes;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) core::fail_io("{}: cannot read: {}", path, std::strerror(errno));
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + count);
  }
}

}  // namespace

std::shared_ptr<const FileBytes> FileBytes::open(const std::string& path) {
  const Descriptor descriptor(open_for_reading(path));
  struct stat status = {};
  if (fstat(descriptor.get(), &status) != 0) core::fail_io("{}: cannot read: {}", path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) core::fail_input("{}: is a folder, expected a file", path);

  const std::shared_ptr<FileBytes> file(new FileBytes);
  const auto size = static_cast<std::size_t>(status.st_size);
  if (S_ISREG(status.st_mode) && size > 0) {
    void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor.get(), 0);
    if (address == MAP_FAILED) core::fail_io("{}: cannot map: {}", path, std::strerror(errno));
    file->bytes_ = {static_cast<const std::byte*>(address), size};
    file->mapped_ = true;
  } else {
    file->copy_ = read_to_end(descriptor.get(), path);
    file->bytes_ = file->copy_;
  }
  return file;
}

void FileBytes::forget() const {
  if (mapped_) (void)madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
}

FileBytes::~FileBytes() {
  if (mapped_) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace lastbit::io
