#include "ops/attention_core.h"

#include <limits>

#include "core/parallel.h"
#include "numerics/reduce.h"
#include "ops/attention_rows.h"

namespace lastbit::ops {
namespace {

using numerics::MatrixView;
using tensor::Tensor;

// Rows a task at most: enough to pay for preparing a block of keys, few enough for the scores to stay in the cache.
constexpr std::int64_t kForwardRows = 256;

template <typename T>
struct ForwardOperands {
  const T* q;
  const T* k;
  const T* v;
  T* out;
  T* log_sum_exp;
  T scale;
  bool round_weights;
};

// Up to kForwardRows rows of a document against all their keys.
template <typename T>
class ForwardTile {
 public:
  ForwardTile(const ForwardOperands<T>& operands, const AttentionRows& rows)
      : in_(operands),
        rows_(rows),
        layout_(*rows.layout),
        q_(attention_scratch<T>(rows.count * layout_.qk_dim)),
        acc_(attention_scratch<T>(rows.count * layout_.v_dim)),
        scores_(attention_scratch<T>(rows.count * kAttentionKeyBlock)),
        largest_(static_cast<std::size_t>(rows.count), -std::numeric_limits<T>::infinity()),
        sum_(static_cast<std::size_t>(rows.count), T{0}) {}

  void run() {
    rows_.gather(in_.q, layout_.qk_dim, q_.get());
    std::fill_n(acc_.get(), rows_.count * layout_.v_dim, T{0});
    const std::int64_t end = rows_.end_key(rows_.count - 1);
    for (std::int64_t block = rows_.document->first_key; block < end; block += kAttentionKeyBlock)
      meet(block, std::min(kAttentionKeyBlock, end - block));
    finish();
  }

 private:
  void meet(std::int64_t block, std::int64_t keys) {
    const std::int64_t key = layout_.key_index(*rows_.document, rows_.kv_head, block);
    const T* k = in_.k + key * layout_.qk_dim;
    const T* v = in_.v + key * layout_.v_dim;
    const std::int64_t k_stride = layout_.kv_heads * layout_.qk_dim;
    const std::int64_t v_stride = layout_.kv_heads * layout_.v_dim;
    // A masked value is multiplied by zero, which is nothing unless it is infinite or NaN.
    const bool masked = rows_.end_key(rows_.first_beyond(block)) < block + keys;
    const bool apart = masked && !all_finite(v, keys, layout_.v_dim, v_stride);
    for_each_strip(rows_, block, keys, apart ? 1 : kAttentionStrip, [&](const AttentionStrip& strip) {
      T* scores = scores_.get() + strip.first * kAttentionKeyBlock;
      T* acc = acc_.get() + strip.first * layout_.v_dim;
      numerics::matmul({{q_.get() + strip.first * layout_.qk_dim, strip.rows, layout_.qk_dim, layout_.qk_dim},
                        {k, layout_.qk_dim, strip.keys, k_stride, true},
                        scores,
                        kAttentionKeyBlock});
      for (std::int64_t row = 0; row < strip.rows; ++row) weigh(strip.first + row, block, strip.keys);
      numerics::matmul({MatrixView<T>{scores, strip.rows, strip.keys, kAttentionKeyBlock},
                        {v, strip.keys, layout_.v_dim, v_stride},
                        acc,
                        layout_.v_dim,
                        true});
    });
  }

  // Scores to weights, one row; masked ones to zero, which adds nothing to the sum, and to acc no more than a zero,
  // which is nothing as acc is never -0.
  void weigh(std::int64_t row, std::int64_t block, std::int64_t keys) {
    T* s = scores_.get() + row * kAttentionKeyBlock;
    T& m = largest_[static_cast<std::size_t>(row)];
    T& l = sum_[static_cast<std::size_t>(row)];
    const std::int64_t met = std::min(keys, rows_.end_key(row) - block);
    const T largest = scale_scores(s, met, in_.scale, m);
    exp_below(s, met, largest);
    std::fill(s + met, s + keys, T{0});
    const T alpha = numerics::exp(m - largest);
    l = l * alpha + numerics::sum(s, met);
    m = largest;
    if (in_.round_weights) round_to_bf16(s, met);
    if (alpha == T{1}) return;  // changes nothing
    T* acc = acc_.get() + row * layout_.v_dim;
    for_each_element(layout_.v_dim, [acc, alpha](std::int64_t i) { acc[i] = acc[i] * alpha + T{0}; });
  }

  void finish() {
    for (std::int64_t row = 0; row < rows_.count; ++row) {
      const T l = sum_[static_cast<std::size_t>(row)];
      const T* acc = acc_.get() + row * layout_.v_dim;
      T* out = in_.out + rows_.index(row) * layout_.v_dim;
      for_each_element(layout_.v_dim, [out, acc, l](std::int64_t i) { out[i] = acc[i] / l; });
      in_.log_sum_exp[rows_.index(row)] = largest_[static_cast<std::size_t>(row)] + numerics::log(l);
    }
  }

  const ForwardOperands<T>& in_;
  const AttentionRows& rows_;
  const AttentionLayout& layout_;
  std::unique_ptr<T[]> q_;       // [rows, qk_dim]
  std::unique_ptr<T[]> acc_;     // [rows, v_dim]
  std::unique_ptr<T[]> scores_;  // [rows, kAttentionKeyBlock]
  std::vector<T> largest_;       // m
  std::vector<T> sum_;           // l
};

template <typename T>
void run_forward(const AttentionLayout& layout, const ForwardOperands<T>& operands) {
  std::vector<AttentionRows> tiles;
  for (const AttentionDocument& document : layout.documents) {
    const std::int64_t rows = document.queries * layout.group;
    for (std::int64_t kv_head = 0; kv_head < layout.kv_heads; ++kv_head)
      for (std::int64_t first = 0; first < rows; first += kForwardRows)
        tiles.push_back({&layout, &document, kv_head, first, std::min(kForwardRows, rows - first)});
  }
  core::parallel_for(static_cast<std::int64_t>(tiles.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) ForwardTile<T>(operands, tiles[static_cast<std::size_t>(i)]).run();
  });
}

}  // namespace

AttentionResult attention_core(const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                               const AttentionMask& mask, const AttentionOptions& options) {
  const AttentionLayout layout = attention_layout(q, k, v, mask, options);
  AttentionResult result{Tensor::empty(layout.dtype, {layout.batch, layout.queries, layout.heads, layout.v_dim}),
                         Tensor::empty(layout.dtype, {layout.batch, layout.queries, layout.heads})};
  const auto compute = [&]<typename T>(T scale_in_dtype) {
    run_forward<T>(layout, {q.values<T>().data(), k.values<T>().data(), v.values<T>().data(),
                            result.out.mutable_values<T>().data(), result.log_sum_exp.mutable_values<T>().data(),
                            scale_in_dtype, options.round_weights});
  };
  if (layout.dtype == tensor::DType::kF32)
    compute(static_cast<float>(scale));
  else
    compute(scale);
  return result;
}

}  // namespace lastbit::ops
