// The attention core as its header states it: loops over one query's own keys, nothing shared.
#include <cmath>
#include <limits>

#include "numerics/reduce.h"
#include "ops/attention_rows.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

// total + the pieces of sum_k x[k xs] y[k ys], k = begin, ..., end - 1.
template <typename T>
T add_chain(T total, const T* x, std::int64_t x_stride, const T* y, std::int64_t y_stride, std::int64_t begin,
            std::int64_t end) {
  for (std::int64_t piece = begin; piece < end; piece += numerics::kMatmulBlockK) {
    T chain = 0;
    for (std::int64_t k = piece; k < std::min(piece + numerics::kMatmulBlockK, end); ++k)
      chain = std::fma(x[k * x_stride], y[k * y_stride], chain);
    total += chain;
  }
  return total;
}

template <typename T>
struct PlainOperands {
  const AttentionLayout& layout;
  const T* q;
  const T* k;
  const T* v;
  T scale;
  bool round_weights;

  [[nodiscard]] const T* key(const AttentionDocument& document, std::int64_t kv_head, std::int64_t j) const {
    return k + layout.key_index(document, kv_head, j) * layout.qk_dim;
  }
  [[nodiscard]] const T* value(const AttentionDocument& document, std::int64_t kv_head, std::int64_t j) const {
    return v + layout.key_index(document, kv_head, j) * layout.v_dim;
  }
  [[nodiscard]] T score(const T* query, const T* key_vector) const {
    return add_chain(T{0}, query, 1, key_vector, 1, 0, layout.qk_dim) * scale;
  }
};

template <typename T>
void attend_plain(const PlainOperands<T>& in, const AttentionDocument& document, std::int64_t kv_head, std::int64_t row,
                  T* out, T* log_sum_exp) {
  const AttentionLayout& layout = in.layout;
  const std::int64_t index = layout.row_index(document, kv_head, row);
  const std::int64_t end = layout.row_end(document, row);
  const std::int64_t value_stride = layout.kv_heads * layout.v_dim;
  std::vector<T> acc(static_cast<std::size_t>(layout.v_dim), T{0});
  std::vector<T> p;
  T m = -std::numeric_limits<T>::infinity();
  T l = 0;
  for (std::int64_t block = document.first_key; block < end; block += kAttentionKeyBlock) {
    const std::int64_t keys = std::min(kAttentionKeyBlock, end - block);
    p.resize(static_cast<std::size_t>(keys));
    const T old = m;
    for (std::int64_t j = 0; j < keys; ++j) {
      T& s = p[static_cast<std::size_t>(j)];
      s = in.score(in.q + index * layout.qk_dim, in.key(document, kv_head, block + j));
      m = std::max(m, s);
    }
    for (T& s : p) s = numerics::exp(s - m);
    const T alpha = numerics::exp(old - m);
    l = l * alpha + numerics::sum(p.data(), keys);
    if (in.round_weights) round_to_bf16(p.data(), keys);
    for (std::int64_t i = 0; i < layout.v_dim; ++i) {
      T& a = acc[static_cast<std::size_t>(i)];
      a = add_chain(a * alpha + T{0}, p.data(), 1, in.value(document, kv_head, block) + i, value_stride, 0, keys);
    }
  }
  for (std::int64_t i = 0; i < layout.v_dim; ++i) out[index * layout.v_dim + i] = acc[static_cast<std::size_t>(i)] / l;
  log_sum_exp[index] = m + numerics::log(l);
}

template <typename T>
struct PlainBackward {
  PlainOperands<T> in;
  const T* dout;
  const T* out;
  const T* log_sum_exp;
  T* dq;
  T* dk;
  T* dv;
};

// P and dS of one document and KV head, [rows, keys], zero where a row does not meet a key.
template <typename T>
struct PlainWeights {
  std::int64_t rows;
  std::int64_t keys;
  std::vector<T> p;
  std::vector<T> ds;
  std::vector<std::int64_t> first_row;  // of each key: the first row that meets it
};

template <typename T>
PlainWeights<T> plain_weights(const PlainBackward<T>& b, const AttentionDocument& document, std::int64_t kv_head) {
  const AttentionLayout& layout = b.in.layout;
  const std::int64_t rows = document.queries * layout.group;
  const std::int64_t keys = layout.row_end(document, rows - 1) - document.first_key;
  const auto size = static_cast<std::size_t>(rows * keys);
  PlainWeights<T> w{rows, keys, std::vector<T>(size), std::vector<T>(size),
                    std::vector<std::int64_t>(static_cast<std::size_t>(keys), rows)};
  for (std::int64_t row = rows; row-- > 0;) {
    const std::int64_t index = layout.row_index(document, kv_head, row);
    const T* dout = b.dout + index * layout.v_dim;
    const T d = numerics::dot(dout, b.out + index * layout.v_dim, layout.v_dim);
    for (std::int64_t j = 0; j < layout.row_end(document, row) - document.first_key; ++j) {
      const std::int64_t key = document.first_key + j;
      T& p = w.p[static_cast<std::size_t>(row * keys + j)];
      T& ds = w.ds[static_cast<std::size_t>(row * keys + j)];
      const T s = b.in.score(b.in.q + index * layout.qk_dim, b.in.key(document, kv_head, key));
      const T dp = add_chain(T{0}, dout, 1, b.in.value(document, kv_head, key), 1, 0, layout.v_dim);
      p = numerics::exp(s - b.log_sum_exp[index]);
      ds = p * (dp - d) * b.in.scale;
      if (b.in.round_weights) round_to_bf16(&p, 1);
      if (b.in.round_weights) round_to_bf16(&ds, 1);
      w.first_row[static_cast<std::size_t>(j)] = row;
    }
  }
  return w;
}

// target[., width] of key j += sum over rows of weight[row, j] source[row, .], in pieces of rows.
template <typename T>
void add_over_rows(const PlainBackward<T>& b, const AttentionDocument& document, std::int64_t kv_head,
                   const PlainWeights<T>& w, const std::vector<T>& weight, const T* source, std::int64_t width,
                   T* target) {
  std::vector<T> rows(static_cast<std::size_t>(w.rows * width));
  AttentionRows{&b.in.layout, &document, kv_head, 0, w.rows}.gather(source, width, rows.data());
  for (std::int64_t j = 0; j < w.keys; ++j) {
    T* d = target + b.in.layout.key_index(document, kv_head, document.first_key + j) * width;
    const std::int64_t first = w.first_row[static_cast<std::size_t>(j)];
    for (std::int64_t piece = 0; piece < w.rows; piece += numerics::kMatmulBlockK)
      for (std::int64_t i = 0; i < width; ++i)
        d[i] = add_chain(d[i], weight.data() + j, w.keys, rows.data() + i, width, std::max(piece, first),
                         std::min(piece + numerics::kMatmulBlockK, w.rows));
  }
}

template <typename T>
void differentiate_plain(const PlainBackward<T>& b, const AttentionDocument& document, std::int64_t kv_head) {
  const AttentionLayout& layout = b.in.layout;
  const PlainWeights<T> w = plain_weights(b, document, kv_head);
  add_over_rows(b, document, kv_head, w, w.p, b.dout, layout.v_dim, b.dv);
  add_over_rows(b, document, kv_head, w, w.ds, b.in.q, layout.qk_dim, b.dk);
  const T* keys = b.in.key(document, kv_head, document.first_key);
  const std::int64_t key_stride = layout.kv_heads * layout.qk_dim;
  for (std::int64_t row = 0; row < w.rows; ++row) {
    T* dq = b.dq + layout.row_index(document, kv_head, row) * layout.qk_dim;
    const std::int64_t met = layout.row_end(document, row) - document.first_key;
    for (std::int64_t block = 0; block < met; block += kAttentionKeyBlock)
      for (std::int64_t i = 0; i < layout.qk_dim; ++i)
        dq[i] = add_chain(dq[i], w.ds.data() + row * w.keys, 1, keys + i, key_stride, block,
                          std::min(block + kAttentionKeyBlock, met));
  }
}

}  // namespace

AttentionResult attention_core_plain(const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                                     const AttentionMask& mask, const AttentionOptions& options) {
  const AttentionLayout layout = attention_layout(q, k, v, mask, options);
  AttentionResult result{Tensor::empty(layout.dtype, {layout.batch, layout.queries, layout.heads, layout.v_dim}),
                         Tensor::empty(layout.dtype, {layout.batch, layout.queries, layout.heads})};
  const auto compute = [&]<typename T>(T scale_in_dtype) {
    const PlainOperands<T> in{layout,         q.values<T>().data(), k.values<T>().data(), v.values<T>().data(),
                              scale_in_dtype, options.round_weights};
    for (const AttentionDocument& document : layout.documents)
      for (std::int64_t kv_head = 0; kv_head < layout.kv_heads; ++kv_head)
        for (std::int64_t row = 0; row < document.queries * layout.group; ++row)
          attend_plain(in, document, kv_head, row, result.out.mutable_values<T>().data(),
                       result.log_sum_exp.mutable_values<T>().data());
  };
  if (layout.dtype == tensor::DType::kF32)
    compute(static_cast<float>(scale));
  else
    compute(scale);
  return result;
}

AttentionGrads attention_core_backward_plain(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                                             const AttentionResult& result, double scale, const AttentionMask& mask,
                                             const AttentionOptions& options) {
  const AttentionLayout layout = attention_layout(dout, q, k, v, result, mask, options);
  AttentionGrads grads{Tensor::zeros(layout.dtype, q.shape()), Tensor::zeros(layout.dtype, k.shape()),
                       Tensor::zeros(layout.dtype, v.shape())};
  const auto compute = [&]<typename T>(T scale_in_dtype) {
    const PlainBackward<T> b{{layout, q.values<T>().data(), k.values<T>().data(), v.values<T>().data(), scale_in_dtype,
                              options.round_weights},
                             dout.values<T>().data(),
                             result.out.values<T>().data(),
                             result.log_sum_exp.values<T>().data(),
                             grads.dq.mutable_values<T>().data(),
                             grads.dk.mutable_values<T>().data(),
                             grads.dv.mutable_values<T>().data()};
    for (const AttentionDocument& document : layout.documents)
      for (std::int64_t kv_head = 0; kv_head < layout.kv_heads; ++kv_head) differentiate_plain(b, document, kv_head);
  };
  if (layout.dtype == tensor::DType::kF32)
    compute(static_cast<float>(scale));
  else
    compute(scale);
  return grads;
}

}  // namespace lastbit::ops
