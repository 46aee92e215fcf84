// Operands and masks for the tests of the attention core.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "ops/attention_core.h"
#include "random_tensor.h"

namespace lastbit::ops {

// Uniform in [-size, size), of any of the two dtypes.
template <typename T>
tensor::Tensor random_values(const std::string& name, const tensor::Shape& shape, T size = 1) {
  const tensor::Tensor source = random_tensor(name, shape);
  std::vector<T> values;
  values.reserve(static_cast<std::size_t>(source.size()));
  for (const float x : source.values<float>()) values.push_back(static_cast<T>(x) * size);
  return tensor::Tensor::from<T>(shape, values);
}

struct AttentionCase {
  std::string name;
  std::int64_t batch = 1;
  std::int64_t queries = 1;
  std::int64_t keys = 1;
  std::int64_t heads = 1;
  std::int64_t kv_heads = 1;
  std::int64_t qk_dim = 1;
  std::int64_t v_dim = 1;
  bool causal = true;
  std::int64_t past = 0;
  std::vector<std::int64_t> documents = {};  // their lengths, the same in each batch row; empty: no mask arrays
  double value_size = 1;
};

// The tensors of a case; a mask() borrows them.
template <typename T>
struct AttentionOperands {
  explicit AttentionOperands(const AttentionCase& c)
      : q(random_values<T>("q", {c.batch, c.queries, c.heads, c.qk_dim})),
        k(random_values<T>("k", {c.batch, c.keys, c.kv_heads, c.qk_dim})),
        v(random_values<T>("v", {c.batch, c.keys, c.kv_heads, c.v_dim}, static_cast<T>(c.value_size))),
        dout(random_values<T>("dout", {c.batch, c.queries, c.heads, c.v_dim})),
        causal(c.causal),
        past(c.past),
        packed(!c.documents.empty()) {
    std::vector<std::int64_t> firsts;
    std::vector<std::int64_t> ends;
    for (std::int64_t b = 0; b < c.batch && packed; ++b) {
      std::int64_t start = 0;
      for (const std::int64_t length : c.documents) {
        for (std::int64_t i = std::max(start, past); i < std::min(start + length, past + c.queries); ++i) {
          firsts.push_back(start);
          ends.push_back(start + length);
        }
        start += length;
      }
    }
    if (packed) first_key = tensor::Tensor::from<std::int64_t>({c.batch, c.queries}, firsts);
    if (packed) end_key = tensor::Tensor::from<std::int64_t>({c.batch, c.queries}, ends);
  }

  [[nodiscard]] AttentionMask mask() const {
    return {causal, past, packed ? &first_key : nullptr, packed && !causal ? &end_key : nullptr};
  }

  tensor::Tensor q;
  tensor::Tensor k;
  tensor::Tensor v;
  tensor::Tensor dout;
  tensor::Tensor first_key;
  tensor::Tensor end_key;
  bool causal;
  std::int64_t past;
  bool packed;
};

// Sizes around the blocks of 128 keys, the tiles of 256 rows and the strips of 24; all head layouts and masks.
inline std::vector<AttentionCase> attention_cases() {
  return {
      {"one", 1, 1, 1, 1, 1, 1, 1},
      {"no batch", 0, 3, 3, 2, 1, 4, 4},
      {"no queries", 2, 0, 5, 2, 1, 4, 4},
      {"no values", 1, 3, 3, 2, 1, 4, 0},
      {"MHA, a block less one", 2, 127, 127, 3, 3, 5, 7},
      {"MHA, a block", 1, 128, 128, 2, 2, 16, 8},
      {"MHA, a block and one", 1, 129, 129, 2, 2, 9, 3},
      {"MHA, beyond a tile", 1, 300, 300, 1, 1, 4, 5},
      {"MHA, a task a head", 1, 150, 150, 9, 9, 3, 2},
      {"GQA", 2, 140, 140, 6, 2, 5, 6},
      {"MQA, beyond a tile", 1, 70, 70, 8, 1, 6, 5},
      {"MQA, rows of one query in two tiles", 1, 2, 40, 300, 1, 3, 2, true, 38},
      {"absorbed MLA", 1, 9, 9, 3, 1, 576, 512},
      {"absorbed MLA, decode", 2, 1, 140, 3, 1, 576, 33, true, 139},
      {"past", 1, 50, 200, 4, 2, 5, 6, true, 150},
      {"past, keys to spare", 1, 20, 200, 2, 2, 5, 6, true, 120},
      {"all keys", 2, 5, 300, 4, 2, 5, 6, false},
      {"all keys of as many", 1, 131, 131, 2, 1, 5, 6, false},
      {"packed", 2, 300, 300, 4, 2, 5, 6, true, 0, {1, 128, 40, 131}},
      {"packed, with past", 1, 150, 300, 2, 2, 5, 6, true, 150, {1, 128, 40, 131}},
      {"packed, all keys", 2, 300, 300, 2, 1, 5, 6, false, 0, {1, 128, 40, 131}},
      // Products below the least number: chains and rescaled sums that round to -0.
      {"underflow", 1, 140, 140, 2, 1, 5, 6, true, 0, {}, 4e-45},
  };
}

inline bool same_bits(const tensor::Tensor& a, const tensor::Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && std::ranges::equal(a.bytes(), b.bytes());
}

// The tokens [begin, end) of a batch row, as a batch of one.
inline tensor::Tensor tokens(const tensor::Tensor& x, std::int64_t row, std::int64_t begin, std::int64_t end) {
  return x.slice(0, row, row + 1).slice(1, begin, end).contiguous();
}

}  // namespace lastbit::ops
