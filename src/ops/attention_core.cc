#include "ops/attention_core.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/elementary.h"
#include "numerics/reduce.h"

namespace lastbit::ops {
namespace {

struct Sizes {
  std::int64_t tokens;  // S
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t qk_dim;
  std::int64_t v_dim;
};

// exp(score - largest) / sum over `count` scores, in place.
void softmax(float* scores, std::int64_t count) {
  const float largest = *std::max_element(scores, scores + count);
  for (std::int64_t j = 0; j < count; ++j) scores[j] = numerics::exp(scores[j] - largest);
  const float total = numerics::sum(scores, count);
  for (std::int64_t j = 0; j < count; ++j) scores[j] /= total;
}

// One query: q [qk_dim]; k and v point to key 0 of its KV head; writes out [v_dim].
void attend(const float* q, const float* k, const float* v, std::int64_t keys, float scale, const Sizes& sizes,
            float* scores, float* out) {
  for (std::int64_t j = 0; j < keys; ++j)
    scores[j] = numerics::dot(q, k + j * sizes.kv_heads * sizes.qk_dim, sizes.qk_dim) * scale;
  softmax(scores, keys);
  std::fill_n(out, sizes.v_dim, 0.0F);
  for (std::int64_t j = 0; j < keys; ++j) {
    const float* value = v + j * sizes.kv_heads * sizes.v_dim;
    for (std::int64_t i = 0; i < sizes.v_dim; ++i) out[i] += scores[j] * value[i];
  }
}

}  // namespace

tensor::Tensor attention_core(const tensor::Tensor& q, const tensor::Tensor& k, const tensor::Tensor& v, double scale,
                              const Numerics& numerics) {
  core::check(numerics.policy == Policy::kFp32, "attention_core follows fp32");
  core::check(q.rank() == 4 && k.rank() == 4 && v.rank() == 4, "attention_core: [B, S, heads, dim]");
  const Sizes sizes{q.dim(1), q.dim(2), k.dim(2), q.dim(3), v.dim(3)};
  core::check(k.shape() == tensor::Shape{q.dim(0), sizes.tokens, sizes.kv_heads, sizes.qk_dim} &&
                  v.shape() == tensor::Shape{q.dim(0), sizes.tokens, sizes.kv_heads, sizes.v_dim} &&
                  sizes.heads % sizes.kv_heads == 0,
              "attention_core: shapes of q, k and v agree");
  tensor::Tensor result =
      tensor::Tensor::empty(tensor::DType::kF32, {q.dim(0), sizes.tokens, sizes.heads, sizes.v_dim});
  const float* queries = q.values<float>().data();
  const float* keys = k.values<float>().data();
  const float* values = v.values<float>().data();
  float* out = result.mutable_values<float>().data();
  const std::int64_t heads_a_kv_head = sizes.heads / sizes.kv_heads;
  core::parallel_for(q.dim(0) * sizes.tokens * sizes.heads, 8, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> scores(static_cast<std::size_t>(sizes.tokens));
    for (std::int64_t i = begin; i < end; ++i) {  // i = (batch S + token) heads + head
      const std::int64_t kv_head = i % sizes.heads / heads_a_kv_head;
      const std::int64_t token = i / sizes.heads % sizes.tokens;
      const std::int64_t first = i / sizes.heads / sizes.tokens * sizes.tokens * sizes.kv_heads + kv_head;
      attend(queries + i * sizes.qk_dim, keys + first * sizes.qk_dim, values + first * sizes.v_dim, token + 1,
             static_cast<float>(scale), sizes, scores.data(), out + i * sizes.v_dim);
    }
  });
  return result;
}

}  // namespace lastbit::ops
