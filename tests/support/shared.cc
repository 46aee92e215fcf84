#include "support/shared.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace lastbit::testing {

std::string source_path(const std::string& relative) { return std::string(LASTBIT_SOURCE_DIR) + "/" + relative; }

std::string shared_path(const std::string& relative) { return source_path("../shared/" + relative); }

bool shared_exists() { return std::filesystem::exists(shared_path("golden/README.json")); }

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "lastbit-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a folder like " + name);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace lastbit::testing
