#include "train/train_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "io/json.h"
#include "io/sealed_hdf5.h"

namespace lastbit::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFormat = "lastbit-train-state-1";
constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kSuffix = ".h5";
constexpr std::string_view kPartial = ".partial";

struct Part {
  const char* name;
  tensor::NamedTensors TrainState::*tensors;
};
constexpr std::array<Part, 5> kParts{{{"weights", &TrainState::weights},
                                      {"first_moments", &TrainState::first_moments},
                                      {"second_moments", &TrainState::second_moments},
                                      {"ema", &TrainState::ema},
                                      {"histories", &TrainState::histories}}};

std::int64_t integer_of(const io::Attributes& attributes, const std::string& key, const std::string& path) {
  const auto found = attributes.find(key);
  if (found == attributes.end() || !std::holds_alternative<std::int64_t>(found->second))
    core::fail_input("{}: attribute '{}' is missing, expected an integer", path, key);
  return std::get<std::int64_t>(found->second);
}

std::string text_of(const io::Attributes& attributes, const std::string& key) {
  const auto found = attributes.find(key);
  const auto* text = found == attributes.end() ? nullptr : std::get_if<std::string>(&found->second);
  return text == nullptr ? "" : *text;
}

void check_recipe(const json& found, const json& expected, const std::string& path) {
  const json changes = json::diff(found, expected);
  if (changes.empty()) return;
  const std::string pointer = changes.front().at("path").get<std::string>();
  std::string key = pointer.substr(1);
  std::ranges::replace(key, '/', '.');
  const auto value = [&pointer](const json& object) {
    const json::json_pointer at(pointer);
    return object.contains(at) ? object.at(at).dump() : std::string("nothing");
  };
  core::fail_input("{}: of a run with another '{}': found {}, expected {} as the config says", path, key, value(found),
                   value(expected));
}

bool is_checkpoint(const std::string& name) { return name.starts_with(kPrefix) && name.ends_with(kSuffix); }

}  // namespace

void save_train_state(const std::string& path, const TrainState& state, const json& recipe) {
  tensor::NamedTensors all;
  for (const Part& part : kParts)
    for (const auto& [name, tensor] : state.*part.tensors) all[fmt::format("{}/{}", part.name, name)] = tensor;
  io::save_sealed_hdf5(path, all,
                       {{"",
                         {{"format", std::string(kFormat)},
                          {"step", state.step},
                          {"tokens", state.tokens},
                          {"position", state.position},
                          {"recipe", recipe.dump()}}}});
}

TrainState load_train_state(const std::string& path, const json& recipe) {
  io::SealedFile file = io::load_sealed_hdf5(path);
  if (const std::string format = text_of(file.attributes, "format"); format != kFormat)
    core::fail_input("{}: format '{}', expected '{}'", path, format, kFormat);
  check_recipe(io::parse_json(text_of(file.attributes, "recipe"), path + ": recipe"), recipe, path);
  TrainState state;
  state.step = integer_of(file.attributes, "step", path);
  state.tokens = integer_of(file.attributes, "tokens", path);
  state.position = integer_of(file.attributes, "position", path);
  for (auto& [key, tensor] : file.tensors) {
    const std::size_t slash = key.find('/');
    const std::string kind = key.substr(0, slash);
    const auto part = std::ranges::find_if(kParts, [&kind](const Part& candidate) { return kind == candidate.name; });
    if (slash == std::string::npos || part == kParts.end()) core::fail_input("{}: unexpected dataset '{}'", path, key);
    (state.*part->tensors)[key.substr(slash + 1)] = std::move(tensor);
  }
  return state;
}

std::string CheckpointFolder::path_of(std::int64_t step) const {
  return fmt::format("{}/{}{:09}{}", folder_, kPrefix, step, kSuffix);
}

std::string CheckpointFolder::path_before_failure(std::int64_t step) const {
  return fmt::format("{}/before-failure-{:09}{}", folder_, step, kSuffix);
}

void CheckpointFolder::make() const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) core::fail_io("{}: cannot make the folder: {}", folder_, error.message());
}

std::vector<std::string> CheckpointFolder::all() const {
  std::vector<std::string> paths;
  if (!fs::is_directory(folder_)) return paths;
  for (const auto& entry : fs::directory_iterator(folder_))
    if (is_checkpoint(entry.path().filename().string())) paths.push_back(entry.path().string());
  std::ranges::sort(paths);
  return paths;
}

std::optional<std::string> CheckpointFolder::latest() const {
  std::vector<std::string> paths = all();
  return paths.empty() ? std::nullopt : std::optional(paths.back());
}

void CheckpointFolder::save(const TrainState& state, const json& recipe) const {
  make();
  save_train_state(path_of(state.step), state, recipe);
  std::error_code ignored;
  const std::vector<std::string> paths = all();
  for (std::size_t i = 0; i + static_cast<std::size_t>(kept_) < paths.size(); ++i) fs::remove(paths[i], ignored);
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kPrefix) && name.ends_with(kPartial)) fs::remove(entry.path(), ignored);
  }
}

}  // namespace lastbit::train
