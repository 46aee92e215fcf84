// The safetensors format: a JSON header and the tensors' bytes. Source: huggingface/safetensors, README "Format".
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::io {

using Metadata = std::map<std::string, std::string>;

// A file, memory-mapped, its header checked: every dtype known, every range inside the file and as long as its shape
// asks, no overlaps, no gaps, no name twice. Cheap to copy.
class SafetensorsFile {
 public:
  [[nodiscard]] static SafetensorsFile open(const std::string& path);
  // From memory that `keep_alive` (may be null) keeps valid; `name` stands for the file in messages.
  [[nodiscard]] static SafetensorsFile parse(std::span<const std::byte> bytes, const std::string& name,
                                             std::shared_ptr<const void> keep_alive = nullptr);

  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }  // sorted
  [[nodiscard]] bool contains(const std::string& name) const { return entries_.contains(name); }
  // Borrows the file's bytes where they are aligned for the dtype, else copies. A missing name is an error that
  // suggests one.
  [[nodiscard]] tensor::Tensor tensor(const std::string& name) const;
  [[nodiscard]] tensor::NamedTensors tensors() const;
  [[nodiscard]] const Metadata& metadata() const { return metadata_; }

 private:
  struct Entry {
    tensor::DType dtype = tensor::DType::kF32;
    tensor::Shape shape;
    std::size_t begin = 0;  // bytes from the first byte after the header
    std::size_t end = 0;
  };
  void read_header(std::string_view header);
  void check_coverage() const;

  std::string path_;
  std::shared_ptr<const void> keep_alive_;
  std::span<const std::byte> data_;  // after the header
  std::map<std::string, Entry> entries_;
  std::vector<std::string> names_;
  Metadata metadata_;
};

// Tensors are laid out by element size, largest first, then by name; the header is padded so that each is aligned.
// Same tensors, same bytes.
void save_safetensors(const std::string& path, const tensor::NamedTensors& tensors, const Metadata& metadata = {});

}  // namespace lastbit::io
