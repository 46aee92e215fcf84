#include "io/weights.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/suggest.h"
#include "io/atomic_file.h"
#include "io/json.h"

namespace lastbit::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using tensor::NamedTensors;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
const Metadata kWriterMetadata{{"format", "pt"}};  // transformers refuses files that do not say so

std::string join(const std::string& directory, const std::string& file) {
  return (fs::path(directory) / file).string();
}

void require_file_name(const std::string& index_path, const std::string& shard) {
  if (shard.empty() || shard == "." || shard == ".." || shard.find('/') != std::string::npos)
    core::fail_input("{}: shard '{}', expected the name of a file in the same folder", index_path, shard);
}

// weight_map of the index: tensor -> shard.
std::map<std::string, std::string> read_weight_map(const std::string& index_path) {
  const json index = load_json(index_path);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object())
    core::fail_input("{}: found no object 'weight_map', expected one from tensor names to shards", index_path);
  std::map<std::string, std::string> shards;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string())
      core::fail_input("{}: tensor '{}' is in {}, expected a shard's name", index_path, name, describe_json(shard));
    require_file_name(index_path, shard.get<std::string>());
    shards.emplace(name, shard.get<std::string>());
  }
  return shards;
}

void remove_file(const std::string& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error) core::fail_io("{}: cannot remove: {}", path, error.message());
}

void make_directory(const std::string& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error || !fs::is_directory(directory, error))
    core::fail_io("{}: cannot make the folder: {}", directory, error ? error.message() : "a file is in its place");
}

// Tensors in name order, as many a shard as fit.
std::vector<NamedTensors> split(const NamedTensors& tensors, std::size_t max_shard_bytes) {
  std::vector<NamedTensors> shards;
  std::size_t bytes = 0;
  for (const auto& [name, tensor] : tensors) {
    if (shards.empty() || bytes + tensor.nbytes() > max_shard_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    bytes += tensor.nbytes();
    shards.back().emplace(name, tensor);
  }
  return shards;
}

void save_shards(const std::string& directory, const std::vector<NamedTensors>& shards, std::size_t total_bytes) {
  json weight_map = json::object();
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string file = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    save_safetensors(join(directory, file), shards[i], kWriterMetadata);
    for (const auto& [name, tensor] : shards[i]) weight_map[name] = file;
  }
  const json index{{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
  write_text_file(join(directory, kIndexFile), index.dump(2) + "\n");
}

}  // namespace

WeightDirectory WeightDirectory::open(const std::string& directory) {
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored)) core::fail_input("{}: no such folder", directory);
  WeightDirectory weights;
  weights.directory_ = directory;
  if (const std::string single = join(directory, kSingleFile); fs::exists(single, ignored)) {
    weights.shards_.push_back(SafetensorsFile::open(single));
    for (const std::string& name : weights.shards_.front().names()) weights.shard_of_.emplace(name, 0);
  } else if (const std::string index = join(directory, kIndexFile); fs::exists(index, ignored)) {
    weights.open_indexed(index);
  } else {
    core::fail_input("{}: found neither {} nor {}", directory, kSingleFile, kIndexFile);
  }
  for (const auto& [name, shard] : weights.shard_of_) weights.names_.push_back(name);
  return weights;
}

void WeightDirectory::open_indexed(const std::string& index_path) {
  std::map<std::string, std::size_t> opened;
  for (const auto& [name, shard] : read_weight_map(index_path)) {
    if (!opened.contains(shard)) {
      const std::string path = join(directory_, shard);
      std::error_code ignored;
      if (!fs::exists(path, ignored))
        core::fail_input("{}: shard '{}', which holds tensor '{}', is not in the folder", index_path, shard, name);
      opened.emplace(shard, shards_.size());
      shards_.push_back(SafetensorsFile::open(path));
    }
    const std::size_t number = opened.at(shard);
    if (!shards_[number].contains(name))
      core::fail_input("{}: tensor '{}' is not in its shard '{}'", index_path, name, shard);
    shard_of_.emplace(name, number);
  }
}

tensor::Tensor WeightDirectory::tensor(const std::string& name) const {
  const auto found = shard_of_.find(name);
  if (found == shard_of_.end())
    core::fail_input("{}: no tensor '{}' among its {}{}", directory_, name, names_.size(),
                     core::suggestion(name, names_));
  return shards_[found->second].tensor(name);
}

void save_weight_directory(const std::string& directory, const NamedTensors& tensors, std::size_t max_shard_bytes) {
  make_directory(directory);
  std::size_t total_bytes = 0;
  for (const auto& [name, tensor] : tensors) total_bytes += tensor.nbytes();
  if (total_bytes <= max_shard_bytes) {
    save_safetensors(join(directory, kSingleFile), tensors, kWriterMetadata);
    remove_file(join(directory, kIndexFile));
    return;
  }
  save_shards(directory, split(tensors, max_shard_bytes), total_bytes);
  remove_file(join(directory, kSingleFile));
}

}  // namespace lastbit::io
