// What attention keeps of the tokens that it has seen: for MLA the normed latent and the rotated shared key (arXiv
// 2405.04434, section 2.1.2), otherwise keys and values.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::model {

class KeyValueCache {
 public:
  explicit KeyValueCache(std::int64_t layers) : layers_(static_cast<std::size_t>(layers)) {}

  // MLA: c_kv [B, S, kv_lora_rank], k_rope [B, S, qk_rope_head_dim], which may be 0 wide; otherwise keys and values [B,
  // S, kv_heads, dim].
  struct Entry {
    tensor::Tensor first;
    tensor::Tensor second;
  };
  // Adds the entries of the tokens that follow; returns those of all tokens so far.
  Entry append(std::int64_t layer, const Entry& entry);
  // Tokens of each row so far, in a layer that has been appended to as often as all others.
  [[nodiscard]] std::int64_t tokens() const;

 private:
  struct Layer {
    Entry stored;  // [B, capacity, ...]
    std::int64_t tokens = 0;
  };
  std::vector<Layer> layers_;
};

}  // namespace lastbit::model
