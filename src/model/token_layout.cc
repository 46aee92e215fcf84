#include "model/token_layout.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace lastbit::model {

using tensor::DType;
using tensor::Tensor;

std::int64_t TokenLayout::end_position() const {
  const auto values = positions.values<std::int64_t>();
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end()) + 1;
}

TokenLayout plain_layout(std::int64_t batch, std::int64_t tokens, std::int64_t past) {
  TokenLayout layout{batch, tokens, past, Tensor::empty(DType::kI64, {batch, tokens}), {}};
  const auto positions = layout.positions.mutable_values<std::int64_t>();
  for (std::int64_t i = 0; i < batch * tokens; ++i) positions[static_cast<std::size_t>(i)] = past + i % tokens;
  return layout;
}

TokenLayout packed_layout(std::int64_t batch, std::int64_t tokens, const std::vector<std::int64_t>& document_lengths) {
  for (const std::int64_t length : document_lengths)
    if (length < 1) core::fail_input("document lengths: found {}, expected at least 1", length);
  const std::int64_t total = std::accumulate(document_lengths.begin(), document_lengths.end(), std::int64_t{0});
  if (total != tokens)
    core::fail_input("document lengths: they sum to {}, expected {}: the tokens of a row", total, tokens);
  TokenLayout layout = plain_layout(batch, tokens);
  layout.first_key = Tensor::empty(DType::kI64, {batch, tokens});
  auto position = layout.positions.mutable_values<std::int64_t>().begin();
  auto first_key = layout.first_key.mutable_values<std::int64_t>().begin();
  for (std::int64_t row = 0; row < batch; ++row) {
    std::int64_t start = 0;
    for (const std::int64_t length : document_lengths) {
      std::iota(position, position + length, std::int64_t{0});
      first_key = std::fill_n(first_key, length, start);
      position += length;
      start += length;
    }
  }
  return layout;
}

}  // namespace lastbit::model
