// The attention core, by blocks or plain.
#include <algorithm>
#include <cmath>

#include "check/op_arguments.h"
#include "check/op_families.h"
#include "ops/attention_core.h"

namespace lastbit::check {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;

// The keys [first, end) that one query meets.
struct KeyRange {
  std::int64_t first = 0;
  std::int64_t end = 0;
};

// What attention_core() asks of a mask, for every query; key ranges are in order along a row.
void check_mask(const OpArguments& in, const ops::AttentionMask& mask) {
  const std::int64_t queries = in.size("Sq");
  const std::int64_t keys = in.size("Sk");
  if (mask.causal && mask.past + queries > keys)
    core::fail_input("{}: {} queries behind {} keys want {} keys, found {}; expected past = Sk - Sq, or causal=false",
                     in.op(), queries, mask.past, mask.past + queries, keys);
  if (!mask.causal) {
    in.refuse_settings({"past"}, "it shifts the causal mask, and causal is false");
    in.require_with("first_key", "end_key");
  }
  if (mask.first_key != nullptr) in.require_range("first_key", 0, keys);
  if (mask.end_key != nullptr) in.require_range("end_key", 1, keys + 1);
  for (std::int64_t b = 0; b < in.size("B"); ++b) {
    KeyRange last;
    for (std::int64_t i = 0; i < queries; ++i) {
      const auto at = static_cast<std::size_t>(b * queries + i);
      KeyRange range{0, keys};
      if (mask.first_key != nullptr) range.first = mask.first_key->values<std::int64_t>()[at];
      if (mask.end_key != nullptr) range.end = mask.end_key->values<std::int64_t>()[at];
      if (mask.causal) range.end = std::min(range.end, mask.past + i + 1);
      if (range.first >= range.end)
        core::fail_input("{}: query [{}, {}] meets the keys {} to {}, expected one at least", in.op(), b, i,
                         range.first, range.end - 1);
      const bool next_document = i == 0 || range.first != last.first;
      if (range.first < last.first || range.end < last.end || (next_document && i > 0 && range.first < last.end))
        core::fail_input(
            "{}: query [{}, {}] meets the keys {} to {} and the one before {} to {}, expected documents one behind the "
            "other",
            in.op(), b, i, range.first, range.end - 1, last.first, last.end - 1);
      last = range;
    }
  }
}

NamedTensors run_attention(const OpArguments& in) {
  if (in.size("heads") % in.size("kv_heads") != 0)
    core::fail_input("{}: {} heads and {} kv_heads, expected a multiple", in.op(), in.size("heads"),
                     in.size("kv_heads"));
  const ops::AttentionMask mask{in.flag("causal"), in.whole("past"), in.find("first_key"), in.find("end_key")};
  check_mask(in, mask);
  const ops::AttentionOptions options{in.flag("round_weights")};
  if (options.round_weights && in.dtype() == tensor::DType::kF64)
    core::fail_input("{}: round_weights with f64, expected f32", in.op());
  const double scale = in.given("scale") ? in.number("scale") : 1 / std::sqrt(static_cast<double>(in.size("qk_dim")));
  const Tensor& q = in.tensor("q");
  const Tensor& k = in.tensor("k");
  const Tensor& v = in.tensor("v");
  const bool plain = in.text("path") == "plain";
  const ops::AttentionResult result = plain ? ops::attention_core_plain(q, k, v, scale, mask, options)
                                            : ops::attention_core(q, k, v, scale, mask, options);
  NamedTensors out{{"out", result.out}, {"log_sum_exp", result.log_sum_exp}};
  if (const Tensor* dout = in.find("dout")) {
    const ops::AttentionGrads grads =
        plain ? ops::attention_core_backward_plain(*dout, q, k, v, result, scale, mask, options)
              : ops::attention_core_backward(*dout, q, k, v, result, scale, mask, options);
    out.emplace("dq", grads.dq);
    out.emplace("dk", grads.dk);
    out.emplace("dv", grads.dv);
  }
  return out;
}

}  // namespace

std::vector<OpEntry> attention_ops() {
  const OpElements kFloat = OpElements::kFloat;
  return {{"attention",
           "Softmax(scale q k^T) v with online softmax; MHA, GQA and MQA",
           {{"q", kFloat, "[B, Sq, heads, qk_dim]", "queries"},
            {"k", kFloat, "[B, Sk, kv_heads, qk_dim]", "keys; consecutive heads share one"},
            {"v", kFloat, "[B, Sk, kv_heads, v_dim]", "values"},
            {"first_key", OpElements::kIndex, "[B, Sq]", "first key of each query's document", false},
            {"end_key", OpElements::kIndex, "[B, Sq]", "one past its last", false},
            {"dout", kFloat, "[B, Sq, heads, v_dim]", "gradient of out", false}},
           {number_setting("scale", "", -kLargeFactor, kLargeFactor, "of the scores (default: 1 / sqrt(qk_dim))"),
            flag_setting("causal", true, "query i meets no key beyond past + i"),
            whole_setting("past", "0", 0, kManyTokens, "keys before the first query"),
            flag_setting("round_weights", false, "f32: round the softmax weights to bf16 before they meet the values"),
            choice_setting("path", {"blocked", "plain"}, "blocks of keys and threads, or scalar loops: the same bits")},
           {{"out", "[B, Sq, heads, v_dim]", "the weighted values"},
            {"log_sum_exp", "[B, Sq, heads]", "of the scaled scores"},
            {"dq", "[B, Sq, heads, qk_dim]", "with dout"},
            {"dk", "[B, Sk, kv_heads, qk_dim]", "with dout"},
            {"dv", "[B, Sk, kv_heads, v_dim]", "with dout"}},
           run_attention}};
}

}  // namespace lastbit::check
