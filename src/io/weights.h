// A checkpoint folder as Hugging Face lays it out: model.safetensors, or shards with model.safetensors.index.json.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "tensor/tensor.h"

namespace lastbit::io {

class WeightDirectory {
 public:
  // Maps every shard and checks that the index names only tensors that are there. model.safetensors is taken first
  // when both exist, as transformers does; tensors that a shard has beyond the index are ignored.
  // Errors: bad input that names the folder, and the shard or the tensor that is missing.
  [[nodiscard]] static WeightDirectory open(const std::string& directory);

  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }  // sorted
  [[nodiscard]] bool contains(const std::string& name) const { return shard_of_.contains(name); }
  // Borrowed from the mapped shard; a missing name is an error that suggests one.
  [[nodiscard]] tensor::Tensor tensor(const std::string& name) const;
  [[nodiscard]] const std::string& directory() const { return directory_; }

 private:
  void open_indexed(const std::string& index_path);

  std::string directory_;
  std::vector<SafetensorsFile> shards_;
  std::map<std::string, std::size_t> shard_of_;
  std::vector<std::string> names_;
};

// Writes model.safetensors, or, when the tensors take more than max_shard_bytes together, shards of at most that many
// bytes (one tensor may exceed it) in name order with their index. The folder is made if need be; an older
// model.safetensors or index that would contradict the new files is removed.
void save_weight_directory(const std::string& directory, const tensor::NamedTensors& tensors,
                           std::size_t max_shard_bytes = std::size_t{5} << 30);

}  // namespace lastbit::io
