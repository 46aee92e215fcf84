#include "io/data_dir.h"

#include <array>
#include <cstdlib>
#include <filesystem>

#include "core/error.h"

namespace lastbit::io {

namespace fs = std::filesystem;

namespace {

std::string& chosen_folder() {
  static std::string folder;
  return folder;
}

}  // namespace

void set_data_dir(const std::string& folder) { chosen_folder() = folder; }

std::string data_dir() {
  if (const char* chosen = std::getenv("LASTBIT_DATA"); chosen != nullptr && *chosen != '\0') {
    if (!fs::is_directory(chosen)) core::fail_input("LASTBIT_DATA={}: no such folder", chosen);
    return chosen;
  }
  if (!chosen_folder().empty()) return chosen_folder();
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) core::fail_io("cannot find the program's own path: {}; set LASTBIT_DATA", error.message());
  const fs::path folder = program.parent_path();
  const std::array<fs::path, 2> places{(folder / "../../data").lexically_normal(),
                                       (folder / "../share/lastbit/data").lexically_normal()};
  for (const fs::path& place : places)
    if (fs::is_directory(place, error)) return place.string();
  core::fail_input("no data folder: found neither {} nor {}; set LASTBIT_DATA", places[0].string(), places[1].string());
}

std::string data_path(const std::string& relative) {
  const std::string root = data_dir();
  const fs::path path = fs::path(root) / relative;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) core::fail_input("{}: no '{}' in the data folder", root, relative);
  return path.string();
}

}  // namespace lastbit::io
