// The bytes of a file, memory-mapped where the system can.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lastbit::io {

class FileBytes {
 public:
  // Errors: a missing file or a folder is bad input; what the system refuses to read is an I/O error.
  [[nodiscard]] static std::shared_ptr<const FileBytes> open(const std::string& path);

  ~FileBytes();
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  [[nodiscard]] std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
  // Gives the memory of what was read so far back to the system; reading it again brings it back.
  void forget() const;

 private:
  FileBytes() = default;

  std::span<const std::byte> bytes_;
  std::vector<std::byte> copy_;  // of what cannot be mapped: a pipe
  bool mapped_ = false;
};

}  // namespace lastbit::io
