// Files that appear whole or not at all: written under a temporary name beside the target, then renamed.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace lastbit::io {

class AtomicFile {
 public:
  // Creates the temporary file. Errors: a folder that does not exist, or a target that is not a regular file, is bad
  // input; what the system refuses is an I/O error.
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();  // removes the temporary file unless committed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  // For libraries that open files themselves: write there, then commit().
  [[nodiscard]] const std::string& temporary_path() const { return temporary_; }
  // The file is on disk and under its name when this returns.
  void commit();

 private:
  std::string path_;    // as the user gave it, for messages
  std::string target_;  // symbolic links resolved
  std::string temporary_;
  int descriptor_ = -1;
};

// Writes `text` as the whole of `path`.
void write_text_file(const std::string& path, std::string_view text);

}  // namespace lastbit::io
