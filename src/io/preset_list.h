// The presets below the data folder: one file each, named by its stem.
#pragma once

#include <string>
#include <vector>

namespace lastbit::io {

struct PresetFile {
  std::string name;     // the file's stem, what --cluster and --job take
  std::string comment;  // a TOML file's first line without its '#', or ""
};

// The .json and .toml files of data/`folder`, by name; none when the folder is not there.
[[nodiscard]] std::vector<PresetFile> list_presets(const std::string& folder);

}  // namespace lastbit::io
