#include "model/mla.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/parallel.h"
#include "model/weight_specs.h"
#include "numerics/matmul.h"
#include "ops/element_type.h"
#include "ops/rope.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

constexpr std::int64_t kTokensATask = 16;

ops::RopeLayout rope_layout(const ModelConfig& config) {
  if (config.model_type == "deepseek_v2") return ops::RopeLayout::kInterleaved;
  return config.rope_interleave ? ops::RopeLayout::kInterleavedToHalves : ops::RopeLayout::kHalfSplit;
}

// Columns [begin, end) of the last axis, as a tensor of its own.
Tensor columns(const Tensor& x, std::int64_t begin, std::int64_t end) { return x.slice(-1, begin, end).clone(); }

// [x; y] along the last axis: rows of y are shared by `shared` rows of x each.
template <typename T>
void join_rows(const Tensor& x, const Tensor& y, std::int64_t shared, Tensor& joined) {
  const std::int64_t a = x.dim(-1);
  const std::int64_t b = y.dim(-1);
  const std::int64_t rows = joined.size() / (a + b);
  const T* left = x.values<T>().data();
  const T* right = y.values<T>().data();
  T* out = joined.mutable_values<T>().data();
  core::parallel_for(rows, kTokensATask * shared, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::copy_n(left + i * a, a, out + i * (a + b));
      std::copy_n(right + i / shared * b, b, out + i * (a + b) + a);
    }
  });
}

Tensor join(const Tensor& x, const Tensor& y, std::int64_t shared) {
  tensor::Shape shape = x.shape();
  shape.back() += y.dim(-1);
  Tensor joined = Tensor::empty(x.dtype(), shape);
  ops::with_element_type(x.dtype(), "attention: FP32 or FP64",
                         [&](auto type) { join_rows<decltype(type)>(x, y, shared, joined); });
  return joined;
}

// dx [..., heads, width] -> [...]: columns from `first` on, summed over heads, ascending from the first.
template <typename T>
Tensor sum_over_heads(const Tensor& dx, std::int64_t first) {
  const std::int64_t heads = dx.dim(-2);
  const std::int64_t width = dx.dim(-1);
  const std::int64_t kept = width - first;
  Tensor sum = Tensor::zeros(dx.dtype(), {dx.dim(0), dx.dim(1), kept});
  const T* from = dx.values<T>().data();
  T* to = sum.mutable_values<T>().data();
  core::parallel_for(dx.dim(0) * dx.dim(1), kTokensATask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t i = 0; i < kept; ++i) to[t * kept + i] += from[(t * heads + h) * width + first + i];
  });
  return sum;
}

// Per head h: to [tokens, heads, to_width] at column 0 = from [tokens, heads, from_width] at column 0 times a block of
// the up-projection [heads (nope + v), rank]: rows [first_row, first_row + block) of head h, as they are (W_UK folded
// into queries) or transposed (W_UV into the output).
template <typename T>
void fold(const Tensor& from, const Tensor& up, std::int64_t rows_a_head, std::int64_t first_row, std::int64_t block,
          bool transposed, Tensor& to) {
  const std::int64_t heads = from.dim(-2);
  const std::int64_t tokens = from.size() / (heads * from.dim(-1));
  const std::int64_t rank = up.dim(1);
  std::vector<numerics::MatmulProblem<T>> problems;
  for (std::int64_t h = 0; h < heads; ++h) {
    const T* weight = up.values<T>().data() + (h * rows_a_head + first_row) * rank;
    numerics::MatmulProblem<T> problem{};
    problem.a = {from.values<T>().data() + h * from.dim(-1), tokens, transposed ? rank : block, heads * from.dim(-1),
                 false};
    problem.b = {weight, transposed ? rank : block, transposed ? block : rank, rank, transposed};
    problem.d = to.mutable_values<T>().data() + h * to.dim(-1);
    problem.d_stride = heads * to.dim(-1);
    problems.push_back(problem);
  }
  numerics::matmul_batch(std::span<const numerics::MatmulProblem<T>>(problems));
}

}  // namespace

MlaPass::MlaPass(std::int64_t layer, const PassContext& context)
    : layer_(layer),
      context_(context),
      prefix_(layer_prefix(layer) + "self_attn."),
      q_proj_(context, prefix_ + (context.config.q_lora_rank > 0 ? "q_b_proj" : "q_proj"), context.numerics.projection),
      kv_a_(context, prefix_ + "kv_a_proj_with_mqa", context.numerics.projection),
      kv_norm_(context, prefix_ + "kv_a_layernorm", context.config.latent_norm_eps),
      kv_b_(context, prefix_ + "kv_b_proj", context.numerics.projection),
      o_(context, prefix_ + "o_proj", context.numerics.attention_output) {
  if (context.config.q_lora_rank == 0) return;
  q_a_.emplace(context, prefix_ + "q_a_proj", context.numerics.projection);
  q_norm_.emplace(context, prefix_ + "q_a_layernorm", context.config.latent_norm_eps);
}

Tensor MlaPass::queries_of_latent() {
  q_latent_ = q_proj_.input(q_norm_->forward(q_compressed_));
  return q_proj_.forward(q_latent_);
}

// q [B, S, heads, nope + rope], rotated.
Tensor MlaPass::queries(const ops::LinearInput& x) {
  const ModelConfig& c = context_.config;
  if (q_a_ && q_compressed_.size() == 0) q_compressed_ = q_a_->forward(x);
  Tensor q = q_a_ ? queries_of_latent() : q_proj_.forward(x);
  q = q.reshape({q.dim(0), q.dim(1), c.num_attention_heads, c.qk_head_dim()});
  if (c.qk_rope_head_dim > 0)
    ops::apply_rope(q, context_.rope, rope_layout(c), c.qk_nope_head_dim, &context_.layout.positions);
  ops::settle(q, context_.numerics);
  return q;
}

MlaPass::Heads MlaPass::expand(const Tensor& q, const Tensor& c_kv, const Tensor& k_rope) {
  const ModelConfig& c = context_.config;
  ops::LinearInput latent = kv_b_.input(c_kv);
  const Tensor expanded = kv_b_.forward(latent).reshape(
      {c_kv.dim(0), c_kv.dim(1), c.num_attention_heads, c.qk_nope_head_dim + c.v_head_dim});
  if (context_.keep) kv_latent_ = std::move(latent);
  const Tensor keys = columns(expanded, 0, c.qk_nope_head_dim);
  return {q, join(keys, k_rope, c.num_attention_heads),
          columns(expanded, c.qk_nope_head_dim, c.qk_nope_head_dim + c.v_head_dim)};
}

// W_UK and W_UV as the checkpoint has them, not quantised: what decoding does.
ops::AttentionResult MlaPass::attend_absorbed(const Tensor& q, const Tensor& c_kv, const Tensor& k_rope) {
  const ModelConfig& c = context_.config;
  const std::int64_t rows_a_head = c.qk_nope_head_dim + c.v_head_dim;
  const Tensor& up = context_.weights.get(prefix_ + "kv_b_proj.weight");
  const std::int64_t heads = c.num_attention_heads;
  const auto in_latent_space = [&](auto type) {
    using T = decltype(type);
    Tensor folded = Tensor::empty(q.dtype(), {q.dim(0), q.dim(1), heads, c.kv_lora_rank});
    fold<T>(q, up, rows_a_head, 0, c.qk_nope_head_dim, false, folded);
    ops::settle(folded, context_.numerics);
    const Tensor queries = join(folded, columns(q, c.qk_nope_head_dim, c.qk_head_dim()), 1);
    const std::int64_t width = c.kv_lora_rank + c.qk_rope_head_dim;
    const Tensor keys = join(c_kv, k_rope, 1).reshape({c_kv.dim(0), c_kv.dim(1), 1, width});
    const Tensor values = c_kv.reshape({c_kv.dim(0), c_kv.dim(1), 1, c.kv_lora_rank});
    ops::AttentionResult latent = ops::attention_core(queries, keys, values, softmax_scale(c), context_.layout.mask(),
                                                      {context_.numerics.bf16_attention_weights});
    ops::settle(latent.out, context_.numerics);
    ops::AttentionResult result{Tensor::empty(q.dtype(), {q.dim(0), q.dim(1), heads, c.v_head_dim}),
                                latent.log_sum_exp};
    fold<T>(latent.out, up, rows_a_head, c.qk_nope_head_dim, c.v_head_dim, true, result.out);
    return result;
  };
  return ops::with_element_type(q.dtype(), "attention: FP32 or FP64", in_latent_space);
}

Tensor MlaPass::forward(const Tensor& x) {
  const ModelConfig& c = context_.config;
  const auto tap = [&](const char* name, const Tensor& tensor) {
    context_.taps.record(fmt::format("{}.layer{}", name, layer_), tensor);
  };
  x_ = kv_a_.input(x);
  Tensor q = queries(x_);
  const Tensor compressed = kv_a_.forward(x_);
  kv_compressed_ = columns(compressed, 0, c.kv_lora_rank);
  k_rope_ = columns(compressed, c.kv_lora_rank, c.kv_lora_rank + c.qk_rope_head_dim);
  Tensor c_kv = kv_norm_.forward(kv_compressed_);
  if (c.qk_rope_head_dim > 0) {
    Tensor one_head = k_rope_.reshape({k_rope_.dim(0), k_rope_.dim(1), 1, c.qk_rope_head_dim});
    ops::apply_rope(one_head, context_.rope, rope_layout(c), 0, &context_.layout.positions);
    ops::settle(one_head, context_.numerics);
  }
  tap("cache.c_kv", c_kv);
  tap("cache.k_rope", k_rope_);
  Tensor k_rope = k_rope_;
  if (context_.cache != nullptr) {
    const KeyValueCache::Entry all = context_.cache->append(layer_, {c_kv, k_rope});
    c_kv = all.first;
    k_rope = all.second;
  }
  ops::AttentionResult result;
  if (context_.mla_form == MlaForm::kAbsorbed) {
    core::check(!context_.keep, "the absorbed form has no backward pass");
    tap("attn_q", q);
    result = attend_absorbed(q, c_kv, k_rope);
  } else {
    heads_ = expand(q, c_kv, k_rope);
    tap("attn_q", heads_.q);
    tap("attn_k", heads_.k);
    tap("attn_v", heads_.v);
    result = ops::attention_core(heads_.q, heads_.k, heads_.v, softmax_scale(c), context_.layout.mask(),
                                 {context_.numerics.bf16_attention_weights});
  }
  ops::settle(result.out, context_.numerics);
  tap("attn_heads", result.out);
  out_ = o_.input(result.out.reshape({x.dim(0), x.dim(1), c.num_attention_heads * c.v_head_dim}));
  Tensor y = o_.forward(out_);
  if (!context_.keep) return y;
  out_.end_fprop();
  log_sum_exp_ = result.log_sum_exp;
  if (context_.recompute.norms) x_ = q_latent_ = kv_latent_ = {};
  if (context_.recompute.up_projections) heads_ = {};
  return y;
}

Tensor MlaPass::backward_queries(Tensor dq, const ops::LinearInput& x) {
  const ModelConfig& c = context_.config;
  if (c.qk_rope_head_dim > 0)
    ops::apply_rope_backward(dq, context_.rope, rope_layout(c), c.qk_nope_head_dim, &context_.layout.positions);
  ops::settle(dq, context_.numerics);
  const Tensor rows = dq.reshape({dq.dim(0), dq.dim(1), c.num_attention_heads * c.qk_head_dim()});
  if (!q_a_) return q_proj_.backward(rows, x);
  if (q_latent_.empty()) q_latent_ = q_proj_.input(q_norm_->forward(q_compressed_));
  return q_a_->backward(q_norm_->backward(q_proj_.backward(rows, q_latent_), q_compressed_), x);
}

Tensor MlaPass::backward_keys_values(const ops::AttentionGrads& grads, const ops::LinearInput& x) {
  const ModelConfig& c = context_.config;
  Tensor dk_rope = ops::with_element_type(grads.dk.dtype(), "attention: FP32 or FP64", [&](auto type) {
    return sum_over_heads<decltype(type)>(grads.dk, c.qk_nope_head_dim);
  });
  if (c.qk_rope_head_dim > 0) {
    Tensor one_head = dk_rope.reshape({dk_rope.dim(0), dk_rope.dim(1), 1, c.qk_rope_head_dim});
    ops::apply_rope_backward(one_head, context_.rope, rope_layout(c), 0, &context_.layout.positions);
  }
  ops::settle(dk_rope, context_.numerics);
  const std::int64_t width = c.num_attention_heads * (c.qk_nope_head_dim + c.v_head_dim);
  Tensor dexpanded =
      join(columns(grads.dk, 0, c.qk_nope_head_dim), grads.dv, 1).reshape({grads.dk.dim(0), grads.dk.dim(1), width});
  ops::settle(dexpanded, context_.numerics);
  if (kv_latent_.empty()) kv_latent_ = kv_b_.input(kv_norm_.forward(kv_compressed_));
  const Tensor dcompressed = kv_norm_.backward(kv_b_.backward(dexpanded, kv_latent_), kv_compressed_);
  return kv_a_.backward(join(dcompressed, dk_rope, 1), x);
}

Tensor MlaPass::backward(const Tensor& dy, const Tensor& x) {
  const ModelConfig& c = context_.config;
  const auto tap = [&](const char* name, const Tensor& tensor) {
    context_.taps.record(fmt::format("grad.{}.layer{}", name, layer_), tensor);
  };
  if (x_.empty()) x_ = kv_a_.input(x);
  if (heads_.q.size() == 0) heads_ = expand(queries(x_), kv_norm_.forward(kv_compressed_), k_rope_);
  const tensor::Shape head_shape{dy.dim(0), dy.dim(1), c.num_attention_heads, c.v_head_dim};
  const Tensor dout = o_.backward(dy, out_).reshape(head_shape);
  tap("attn_heads", dout);
  const ops::AttentionGrads grads = ops::attention_core_backward(
      dout, heads_.q, heads_.k, heads_.v, {out_.values().reshape(head_shape), log_sum_exp_}, softmax_scale(c),
      context_.layout.mask(), {context_.numerics.bf16_attention_weights});
  context_.taps.record_copy(fmt::format("grad.attn_q.layer{}", layer_), grads.dq);  // turned back in place
  tap("attn_k", grads.dk);
  tap("attn_v", grads.dv);
  heads_ = {};
  const Tensor dx = backward_queries(grads.dq, x_);
  return add_settled(dx, backward_keys_values(grads, x_), context_);
}

}  // namespace lastbit::model
