// Descriptions by name or path: the TOML or JSON files of data/clusters and data/jobs, and changes to them from the
// command line.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace lastbit::sim::cluster {

// One "--set a.b.c=value": the first part of the key names what it changes.
struct Override {
  std::string subject;            // "cluster", "job", "assume", "model"
  std::vector<std::string> path;  // the rest of the key; never empty
  std::string value;              // as written: a JSON value, else a string
};

// Splits "cluster.network.nic_peak=50 GB/s"; Error(kInput) when there is no '=', no dot or no such subject.
[[nodiscard]] std::vector<Override> parse_overrides(const std::vector<std::string>& settings);

// Applies those of `subject` to `object`; an index such as "phase.0.tokens" must exist, objects are made on the way.
void apply_overrides(nlohmann::json& object, const std::vector<Override>& overrides, const std::string& subject);

// What to call the file at `path` in messages about its object: the path, with the overrides of `subject` if any.
[[nodiscard]] std::string name_with_overrides(const std::string& path, const std::vector<Override>& overrides,
                                              const std::string& subject);

// The path of a description: `name_or_path` itself when it has an extension, else data/FOLDER/NAME.toml (or .json).
// Error(kInput) names the `what` ("cluster"), with a suggestion among those there are.
[[nodiscard]] std::string description_path(const std::string& folder, const std::string& name_or_path,
                                           const std::string& what);

// Names of the descriptions in data/FOLDER, sorted.
[[nodiscard]] std::vector<std::string> description_names(const std::string& folder);

}  // namespace lastbit::sim::cluster
