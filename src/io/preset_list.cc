#include "io/preset_list.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "io/data_dir.h"

namespace lastbit::io {
namespace {

std::string first_comment(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line) || !line.starts_with('#')) return "";
  const std::size_t text = line.find_first_not_of("# ");
  return text == std::string::npos ? "" : line.substr(text);
}

}  // namespace

std::vector<PresetFile> list_presets(const std::string& folder) {
  const std::filesystem::path root = std::filesystem::path(data_dir()) / folder;
  std::vector<PresetFile> presets;
  if (!std::filesystem::is_directory(root)) return presets;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    const std::filesystem::path& path = entry.path();
    if (path.extension() == ".json" || path.extension() == ".toml")
      presets.push_back({path.stem().string(), path.extension() == ".toml" ? first_comment(path) : ""});
  }
  std::ranges::sort(presets, {}, &PresetFile::name);
  return presets;
}

}  // namespace lastbit::io
