#include <array>

#include "core/parallel.h"
#include "numerics/reduce.h"
#include "ops/attention_rows.h"

namespace lastbit::ops {
namespace {

using numerics::MatrixView;
using tensor::Tensor;

// Rows that meet a block of keys at a time: the pieces that the gradients of keys and values are summed in.
constexpr std::int64_t kBackwardRows = numerics::kMatmulBlockK;

template <typename T>
struct BackwardOperands {
  const T* dout;
  const T* q;
  const T* k;
  const T* v;
  const T* out;
  const T* log_sum_exp;
  T* dq;
  T* dk;
  T* dv;
  T scale;
  bool round_weights;
};

// What one task computes. Where there are as many (document, KV head) pairs as threads, each is one task of five
// products a block. Otherwise tasks are blocks of rows for dq and blocks of keys for dk and dv: seven products a block,
// in more tasks. Each output is the same sum in the same order, so its bits do not tell.
struct BackwardTask {
  const AttentionDocument* document;
  std::int64_t kv_head;
  std::int64_t first_row;  // a multiple of kBackwardRows
  std::int64_t end_row;
  std::int64_t first_key;  // a multiple of kAttentionKeyBlock beyond the document's first
  std::int64_t end_key;
  bool want_dq;     // the keys are all keys of the rows
  bool want_dk_dv;  // the rows are all rows of the document
};

template <typename T>
class Backward {
 public:
  Backward(const BackwardOperands<T>& operands, const AttentionLayout& layout, const BackwardTask& task)
      : in_(operands),
        layout_(layout),
        task_(task),
        q_(attention_scratch<T>(kBackwardRows * layout.qk_dim)),
        dq_(attention_scratch<T>(kBackwardRows * layout.qk_dim)),
        dout_(attention_scratch<T>(kBackwardRows * layout.v_dim)),
        p_(attention_scratch<T>(kBackwardRows * kAttentionKeyBlock)),
        ds_(attention_scratch<T>(kBackwardRows * kAttentionKeyBlock)) {}

  void run() {
    for (std::int64_t first = task_.first_row; first < task_.end_row; first += kBackwardRows) {
      rows_ = {&layout_, task_.document, task_.kv_head, first, std::min(kBackwardRows, task_.end_row - first)};
      const std::int64_t end = std::min(task_.end_key, rows_.end_key(rows_.count - 1));
      if (task_.first_key >= end) continue;
      load_rows();
      for (std::int64_t block = task_.first_key; block < end; block += kAttentionKeyBlock)
        meet(block, std::min(kAttentionKeyBlock, end - block));
      if (task_.want_dq) rows_.scatter(dq_.get(), layout_.qk_dim, in_.dq);
    }
  }

 private:
  void load_rows() {
    rows_.gather(in_.q, layout_.qk_dim, q_.get());
    rows_.gather(in_.dout, layout_.v_dim, dout_.get());
    std::fill_n(dq_.get(), rows_.count * layout_.qk_dim, T{0});
    for (std::int64_t row = 0; row < rows_.count; ++row)
      d_[static_cast<std::size_t>(row)] =
          numerics::dot(dout_.get() + row * layout_.v_dim, in_.out + rows_.index(row) * layout_.v_dim, layout_.v_dim);
    rows_finite_ = all_finite(q_.get(), rows_.count, layout_.qk_dim, layout_.qk_dim) &&
                   all_finite(dout_.get(), rows_.count, layout_.v_dim, layout_.v_dim);
  }

  void meet(std::int64_t block, std::int64_t keys) {
    const std::int64_t first = rows_.first_beyond(block);
    const std::int64_t key = layout_.key_index(*task_.document, task_.kv_head, block);
    const T* k = in_.k + key * layout_.qk_dim;
    const std::int64_t k_stride = layout_.kv_heads * layout_.qk_dim;
    const std::int64_t v_stride = layout_.kv_heads * layout_.v_dim;
    const MatrixView<T> keys_across{k, layout_.qk_dim, keys, k_stride, true};
    const MatrixView<T> values_across{in_.v + key * layout_.v_dim, layout_.v_dim, keys, v_stride, true};
    // What is masked is multiplied by zero, which is nothing unless it is infinite or NaN.
    const bool masked = rows_.end_key(first) < block + keys;
    const bool apart = masked && !(rows_finite_ && all_finite(k, keys, layout_.qk_dim, k_stride));
    const std::int64_t partial = apart ? 1 : kAttentionStrip;
    for_each_strip(rows_, block, keys, partial, [&](const AttentionStrip& strip) {
      products(strip, keys_across, values_across);
      for (std::int64_t row = strip.first; row < strip.first + strip.rows; ++row) differentiate(row, block, keys);
      if (task_.want_dq)
        numerics::matmul({at_row(ds_, strip.first, strip.rows, strip.keys, kAttentionKeyBlock),
                          {k, strip.keys, layout_.qk_dim, k_stride},
                          dq_.get() + strip.first * layout_.qk_dim,
                          layout_.qk_dim,
                          true});
    });
    if (!task_.want_dk_dv) return;
    // Keys that all rows meet at once; those on the edge of the mask in strips, each with the rows that meet it.
    const std::int64_t whole = std::min(keys, rows_.end_key(0) - block);
    if (whole > 0) add_to_keys(0, whole, 0, key);
    for (std::int64_t j = std::max<std::int64_t>(whole, 0); j < keys; j += partial)
      add_to_keys(j, std::min(partial, keys - j), rows_.first_beyond(block + j), key);
  }

  [[nodiscard]] MatrixView<T> at_row(const std::unique_ptr<T[]>& matrix, std::int64_t row, std::int64_t rows,
                                     std::int64_t columns, std::int64_t stride) const {
    return {matrix.get() + row * stride, rows, columns, stride};
  }

  // q . k into p, dout . v into ds.
  void products(const AttentionStrip& strip, MatrixView<T> keys_across, MatrixView<T> values_across) {
    keys_across.cols = strip.keys;
    values_across.cols = strip.keys;
    numerics::matmul({at_row(q_, strip.first, strip.rows, layout_.qk_dim, layout_.qk_dim), keys_across,
                      p_.get() + strip.first * kAttentionKeyBlock, kAttentionKeyBlock});
    numerics::matmul({at_row(dout_, strip.first, strip.rows, layout_.v_dim, layout_.v_dim), values_across,
                      ds_.get() + strip.first * kAttentionKeyBlock, kAttentionKeyBlock});
  }

  // One row's products to P and dS; masked ones to zero.
  void differentiate(std::int64_t row, std::int64_t block, std::int64_t keys) {
    T* p = p_.get() + row * kAttentionKeyBlock;
    T* ds = ds_.get() + row * kAttentionKeyBlock;
    const std::int64_t met = std::min(keys, rows_.end_key(row) - block);
    const T d = d_[static_cast<std::size_t>(row)];
    const T scale = in_.scale;
    for_each_element(met, [p, scale](std::int64_t j) { p[j] *= scale; });
    exp_below(p, met, in_.log_sum_exp[rows_.index(row)]);
    for_each_element(met, [p, ds, d, scale](std::int64_t j) { ds[j] = p[j] * (ds[j] - d) * scale; });
    if (in_.round_weights) {
      round_to_bf16(p, met);
      round_to_bf16(ds, met);
    }
    std::fill(p + met, p + keys, T{0});
    std::fill(ds + met, ds + keys, T{0});
  }

  // dv += P^T dout, dk += dS^T q for the keys [j, j + count) of the block that starts at `key`, over the rows from
  // `first` on: to those before it they are masked.
  void add_to_keys(std::int64_t j, std::int64_t count, std::int64_t first, std::int64_t key) {
    const std::int64_t rows = rows_.count - first;
    const std::int64_t target = key + j * layout_.kv_heads;
    const std::int64_t corner = first * kAttentionKeyBlock + j;
    numerics::matmul({MatrixView<T>{p_.get() + corner, count, rows, kAttentionKeyBlock, true},
                      at_row(dout_, first, rows, layout_.v_dim, layout_.v_dim), in_.dv + target * layout_.v_dim,
                      layout_.kv_heads * layout_.v_dim, true});
    numerics::matmul({MatrixView<T>{ds_.get() + corner, count, rows, kAttentionKeyBlock, true},
                      at_row(q_, first, rows, layout_.qk_dim, layout_.qk_dim), in_.dk + target * layout_.qk_dim,
                      layout_.kv_heads * layout_.qk_dim, true});
  }

  const BackwardOperands<T>& in_;
  const AttentionLayout& layout_;
  const BackwardTask& task_;
  AttentionRows rows_{};
  bool rows_finite_ = true;
  std::unique_ptr<T[]> q_;            // [rows, qk_dim]
  std::unique_ptr<T[]> dq_;           // [rows, qk_dim]
  std::unique_ptr<T[]> dout_;         // [rows, v_dim]
  std::unique_ptr<T[]> p_;            // [rows, kAttentionKeyBlock]
  std::unique_ptr<T[]> ds_;           // [rows, kAttentionKeyBlock]
  std::array<T, kBackwardRows> d_{};  // dout . out
};

void add_backward_tasks(const AttentionLayout& layout, const AttentionDocument& document, std::int64_t kv_head,
                        bool whole, std::vector<BackwardTask>& tasks) {
  const std::int64_t rows = document.queries * layout.group;
  const std::int64_t end_key = layout.row_end(document, rows - 1);
  if (whole) {
    tasks.push_back({&document, kv_head, 0, rows, document.first_key, end_key, true, true});
    return;
  }
  for (std::int64_t row = 0; row < rows; row += kBackwardRows)
    tasks.push_back(
        {&document, kv_head, row, std::min(row + kBackwardRows, rows), document.first_key, end_key, true, false});
  for (std::int64_t key = document.first_key; key < end_key; key += kAttentionKeyBlock)
    tasks.push_back({&document, kv_head, 0, rows, key, std::min(key + kAttentionKeyBlock, end_key), false, true});
}

template <typename T>
void run_backward(const AttentionLayout& layout, const BackwardOperands<T>& operands) {
  const auto pairs = static_cast<std::int64_t>(layout.documents.size()) * layout.kv_heads;
  const bool whole = pairs >= core::num_threads();
  std::vector<BackwardTask> tasks;
  for (const AttentionDocument& document : layout.documents)
    for (std::int64_t kv_head = 0; kv_head < layout.kv_heads; ++kv_head)
      add_backward_tasks(layout, document, kv_head, whole, tasks);
  core::parallel_for(static_cast<std::int64_t>(tasks.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) Backward<T>(operands, layout, tasks[static_cast<std::size_t>(i)]).run();
  });
}

}  // namespace

AttentionGrads attention_core_backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                                       const AttentionResult& result, double scale, const AttentionMask& mask,
                                       const AttentionOptions& options) {
  const AttentionLayout layout = attention_layout(dout, q, k, v, result, mask, options);
  AttentionGrads grads{Tensor::zeros(layout.dtype, q.shape()), Tensor::zeros(layout.dtype, k.shape()),
                       Tensor::zeros(layout.dtype, v.shape())};
  const auto compute = [&]<typename T>(T scale_in_dtype) {
    run_backward<T>(layout, {dout.values<T>().data(), q.values<T>().data(), k.values<T>().data(), v.values<T>().data(),
                             result.out.values<T>().data(), result.log_sum_exp.values<T>().data(),
                             grads.dq.mutable_values<T>().data(), grads.dk.mutable_values<T>().data(),
                             grads.dv.mutable_values<T>().data(), scale_in_dtype, options.round_weights});
  };
  if (layout.dtype == tensor::DType::kF32)
    compute(static_cast<float>(scale));
  else
    compute(scale);
  return grads;
}

}  // namespace lastbit::ops
