// Dependencies point one way (ARCHITECTURE.md). Greps every include of src/, sim/, kernels/, cli/ and python/ and names
// the violations.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "support/shared.h"

namespace lastbit {
namespace {

// What each folder may include beside itself: a folder ("core") or a single header ("ops/cost.h").
const std::map<std::string, std::set<std::string>>& allowed_includes() {
  static const std::map<std::string, std::set<std::string>> table{
      {"core", {}},
      {"numerics", {"core"}},
      {"tensor", {"core", "numerics"}},
      {"io", {"core", "numerics", "tensor"}},
      {"ops", {"core", "numerics", "tensor"}},
      {"check", {"core", "numerics", "tensor", "io", "ops", "model", "text", "train", "infer"}},
      {"model", {"core", "numerics", "tensor", "ops", "io"}},
      {"text", {"core"}},
      {"corpus", {"core", "tensor", "io", "text"}},
      {"train", {"core", "numerics", "tensor", "ops", "model", "io", "text", "corpus"}},
      {"infer", {"core", "numerics", "tensor", "ops", "model", "io", "text"}},
      {"eval", {"core", "numerics", "tensor", "ops", "model", "io", "text", "corpus", "infer"}},
      {"sim", {"core", "io", "ops/cost.h", "model/config.h", "model/config_file.h", "model/counts.h"}},
      {"python", {"core", "numerics", "tensor", "io", "model", "check", "sim"}},
      {"kernels", {"core", "numerics", "tensor", "ops", "model", "train", "infer", "check"}},
      {"cli",
       {"core", "numerics", "tensor", "io", "ops", "model", "text", "corpus", "train", "infer", "eval", "check",
        "kernels", "sim"}},
  };
  return table;
}

// The folder that a path below the repository belongs to: "src/io/npy.h" -> "io", "sim/engine/x.cc" -> "sim".
std::string folder_of(const std::string& path) {
  const std::string inside = path.starts_with("src/") ? path.substr(4) : path;
  return inside.substr(0, inside.find('/'));
}

// The header of an #include "..." line, empty for any other line.
std::string included_header(std::string line) {
  std::erase_if(line, [](char c) { return c == ' ' || c == '\t'; });
  constexpr std::string_view kInclude = "#include\"";
  if (!line.starts_with(kInclude)) return {};
  const std::string header = line.substr(kInclude.size());
  return header.substr(0, header.find('"'));
}

// Lines "path: includes x" for each quoted include in `text` that `path` may not have.
std::vector<std::string> violations(const std::string& path, const std::string& text) {
  const std::string folder = folder_of(path);
  const auto allowed = allowed_includes().find(folder);
  if (allowed == allowed_includes().end()) return {path + ": its folder '" + folder + "' has no rule"};
  std::vector<std::string> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::string header = included_header(line);
    if (header.empty()) continue;
    const std::string target = header.substr(0, header.find('/'));
    const bool fine = target == folder || allowed->second.contains(target) || allowed->second.contains(header);
    if (!fine) found.push_back(path + ": includes " + header);
  }
  return found;
}

TEST(IncludeDirection, EveryFileKeepsIt) {
  std::vector<std::string> all;
  std::size_t files = 0;
  for (const std::string top : {"src", "sim", "kernels", "cli", "python"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(testing::source_path(top))) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cc" && extension != ".cu") continue;
      std::ifstream file(entry.path());
      const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
      const auto path = std::filesystem::relative(entry.path(), testing::source_path(".")).string();
      for (const std::string& line : violations(path, text)) all.push_back(line);
      ++files;
    }
  }
  EXPECT_GT(files, 10u);
  for (const std::string& line : all) ADD_FAILURE() << line;
}

TEST(IncludeDirection, ViolationsAreSeen) {
  EXPECT_TRUE(violations("src/tensor/a.cc", "#include \"core/error.h\"\n#include <vector>\n").empty());
  EXPECT_EQ(violations("src/core/a.cc", "\n  # include \"tensor/tensor.h\"\n").size(), 1u);
  EXPECT_EQ(violations("sim/train/a.cc", "#include \"model/transformer.h\"\n").size(), 1u);
  EXPECT_TRUE(violations("sim/train/a.cc", "#include \"ops/cost.h\"\n#include \"sim/engine/engine.h\"\n").empty());
  EXPECT_EQ(violations("src/novel/a.cc", "").size(), 1u);
}

}  // namespace
}  // namespace lastbit
