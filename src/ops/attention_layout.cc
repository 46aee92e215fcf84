#include "ops/attention_layout.h"

#include <algorithm>
#include <span>

#include "core/error.h"

namespace lastbit::ops {
namespace {

using tensor::DType;
using tensor::Tensor;

AttentionLayout checked_shapes(const Tensor& q, const Tensor& k, const Tensor& v) {
  core::check(q.rank() == 4 && k.rank() == 4 && v.rank() == 4, "attention_core: [B, S, heads, dim]");
  AttentionLayout layout{};
  layout.dtype = q.dtype();
  layout.batch = q.dim(0);
  layout.queries = q.dim(1);
  layout.keys = k.dim(1);
  layout.heads = q.dim(2);
  layout.kv_heads = k.dim(2);
  layout.qk_dim = q.dim(3);
  layout.v_dim = v.dim(3);
  core::check(layout.dtype == DType::kF32 || layout.dtype == DType::kF64, "attention_core: FP32 or FP64");
  core::check(k.dtype() == layout.dtype && v.dtype() == layout.dtype, "attention_core: q, k and v of one dtype");
  core::check(layout.kv_heads > 0 && layout.heads > 0 && layout.heads % layout.kv_heads == 0,
              "attention_core: heads a multiple of kv_heads");
  layout.group = layout.heads / layout.kv_heads;
  core::check(k.shape() == tensor::Shape{layout.batch, layout.keys, layout.kv_heads, layout.qk_dim} &&
                  v.shape() == tensor::Shape{layout.batch, layout.keys, layout.kv_heads, layout.v_dim},
              "attention_core: shapes of q, k and v agree");
  return layout;
}

// A [B, Sq] array of the mask, or nothing.
std::span<const std::int64_t> mask_array(const Tensor* array, const AttentionLayout& layout) {
  if (array == nullptr) return {};
  core::check(array->dtype() == DType::kI64 && array->shape() == tensor::Shape{layout.batch, layout.queries},
              "attention_core: first_key and end_key are [B, Sq] i64");
  return array->values<std::int64_t>();
}

// Finds the documents and key ranges of one batch row.
void add_batch_row(const AttentionMask& mask, std::int64_t batch, std::span<const std::int64_t> first_keys,
                   std::span<const std::int64_t> end_keys, AttentionLayout& layout) {
  std::int64_t last_first = 0;
  std::int64_t last_end = 0;
  for (std::int64_t i = 0; i < layout.queries; ++i) {
    const auto index = static_cast<std::size_t>(batch * layout.queries + i);
    const std::int64_t first = first_keys.empty() ? 0 : first_keys[index];
    std::int64_t end = end_keys.empty() ? layout.keys : end_keys[index];
    core::check(end <= layout.keys, "attention_core: keys of a query within Sk");
    if (mask.causal) {
      core::check(mask.past + i < layout.keys, "attention_core: keys reach to each query's own");
      end = std::min(end, mask.past + i + 1);
    }
    core::check(first >= last_first && end >= last_end, "attention_core: first_key and end_key do not decrease");
    core::check(first < end, "attention_core: a query meets a key at least");
    if (i == 0 || first != last_first) {
      core::check(i == 0 || first >= last_end, "attention_core: documents do not overlap");
      layout.documents.push_back({batch, i, 0, first});
    }
    ++layout.documents.back().queries;
    layout.end_keys.push_back(end);
    last_first = first;
    last_end = end;
  }
}

}  // namespace

AttentionLayout attention_layout(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionMask& mask,
                                 const AttentionOptions& options) {
  AttentionLayout layout = checked_shapes(q, k, v);
  core::check(mask.past >= 0, "attention_core: past is at least 0");
  core::check(!options.round_weights || layout.dtype == DType::kF32, "attention_core: round_weights wants FP32");
  const std::span<const std::int64_t> first_keys = mask_array(mask.first_key, layout);
  const std::span<const std::int64_t> end_keys = mask_array(mask.end_key, layout);
  layout.end_keys.reserve(static_cast<std::size_t>(layout.batch * layout.queries));
  for (std::int64_t batch = 0; batch < layout.batch; ++batch) add_batch_row(mask, batch, first_keys, end_keys, layout);
  return layout;
}

AttentionLayout attention_layout(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                                 const AttentionResult& result, const AttentionMask& mask,
                                 const AttentionOptions& options) {
  AttentionLayout layout = attention_layout(q, k, v, mask, options);
  const tensor::Shape shape = {layout.batch, layout.queries, layout.heads, layout.v_dim};
  core::check(dout.shape() == shape && result.out.shape() == shape &&
                  result.log_sum_exp.shape() == tensor::Shape{layout.batch, layout.queries, layout.heads},
              "attention_core_backward: dout and the result as forward gives it");
  core::check(
      dout.dtype() == layout.dtype && result.out.dtype() == layout.dtype && result.log_sum_exp.dtype() == layout.dtype,
      "attention_core_backward: one dtype");
  return layout;
}

}  // namespace lastbit::ops
