#include "op_cases.h"

#include <cstdint>
#include <span>

#include "core/philox.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

Tensor random(const Shape& shape, const std::string& name) {
  Tensor result = Tensor::empty(DType::kF32, shape);
  const core::RandomStream stream(5, name);
  std::uint64_t i = 0;
  for (float& value : result.mutable_values<float>()) value = 2 * stream.uniform(i++) - 1;
  return result;
}

Tensor whole(const Shape& shape, const std::vector<std::int64_t>& values) {
  return Tensor::from<std::int64_t>(shape, values);
}
Tensor wide(const Shape& shape, const std::vector<double>& values) { return Tensor::from<double>(shape, values); }
Tensor narrow(const Shape& shape, const std::vector<float>& values) { return Tensor::from<float>(shape, values); }

void add_layers(std::vector<OpCase>& cases) {
  cases.push_back(
      {"embedding", {{"ids", whole({3}, {4, 0, 4})}, {"table", random({5, 4}, "t")}, {"dy", random({3, 4}, "d")}}, {}});
  cases.push_back(
      {"rms_norm", {{"x", random({2, 3, 4}, "x")}, {"weight", random({4}, "w")}, {"dy", random({2, 3, 4}, "d")}}, {}});
  cases.push_back({"rope",
                   {{"x", random({2, 3, 2, 6}, "x")},
                    {"positions", whole({2, 3}, {0, 7, 2, 5, 5, 1})},
                    {"dy", random({2, 3, 2, 6}, "d")}},
                   {{"scaling", "yarn"}, {"first", "2"}, {"layout", "interleaved_to_halves"}}});
  cases.push_back({"rope", {{"x", random({3, 2, 4}, "x")}}, {{"scaling", "llama3"}}});
  cases.push_back(
      {"swiglu", {{"gate", random({2, 3}, "g")}, {"up", random({2, 3}, "u")}, {"dy", random({2, 3}, "d")}}, {}});
  cases.push_back({"add", {{"a", random({2, 3}, "a")}, {"b", random({2, 3}, "b")}}, {}});
}

void add_linear(std::vector<OpCase>& cases) {
  const tensor::NamedTensors inputs{{"x", random({2, 3, 8}, "x")},
                                    {"weight", random({5, 8}, "w")},
                                    {"bias", random({5}, "b")},
                                    {"dy", random({2, 3, 5}, "d")}};
  cases.push_back({"linear", inputs, {}});
  cases.push_back({"linear", inputs, {{"numerics", "fp8-h800"}, {"layer", "expert_down"}, {"settle", "true"}}});
  const tensor::NamedTensors grouped{{"x", random({4, 8}, "x")},
                                     {"weights", random({3, 5, 8}, "w")},
                                     {"offsets", whole({4}, {0, 1, 1, 4})},
                                     {"dy", random({4, 5}, "d")}};
  cases.push_back({"grouped_linear", grouped, {}});
  cases.push_back({"grouped_linear", grouped, {{"numerics", "fp8-h800"}}});
}

void add_attention(std::vector<OpCase>& cases) {
  const tensor::NamedTensors inputs{{"q", random({2, 3, 4, 8}, "q")},
                                    {"k", random({2, 5, 2, 8}, "k")},
                                    {"v", random({2, 5, 2, 6}, "v")},
                                    {"first_key", whole({2, 3}, {0, 0, 3, 1, 3, 3})},
                                    {"end_key", whole({2, 3}, {3, 3, 5, 3, 5, 5})},
                                    {"dout", random({2, 3, 4, 6}, "d")}};
  cases.push_back({"attention", inputs, {{"past", "2"}}});
  cases.push_back({"attention", inputs, {{"causal", "false"}, {"round_weights", "true"}, {"path", "plain"}}});
}

void add_routing(std::vector<OpCase>& cases) {
  const Tensor logits = random({4, 8}, "l");
  const Tensor gradient = random({4, 2}, "g");
  cases.push_back({"router",
                   {{"logits", logits}, {"bias", random({8}, "b")}, {"grad_topk_weight", gradient}},
                   {{"num_experts_per_tok", "2"}, {"group_rank", "top_two"}, {"n_group", "4"}, {"topk_group", "2"}}});
  cases.push_back({"router",
                   {{"logits", logits}, {"grad_topk_weight", gradient}},
                   {{"num_experts_per_tok", "2"},
                    {"scoring_func", "softmax"},
                    {"random_second", "true"},
                    {"capacity_factor", "1"},
                    {"device_capacity_factor", "1"},
                    {"devices", "2"},
                    {"tokens_a_sequence", "2"}}});
  cases.push_back({"router",
                   {{"logits", logits}, {"token_ids", whole({4}, {3, 1, 4, 1})}},
                   {{"num_experts_per_tok", "1"}, {"selection", "hash"}}});
  cases.push_back({"jitter", {{"x", random({3, 4}, "x")}, {"dy", random({3, 4}, "d")}}, {}});
  const Tensor topk = whole({3, 2}, {0, 1, -1, 2, 1, 2});
  cases.push_back(
      {"dispatch", {{"x", random({3, 4}, "x")}, {"topk_idx", topk}, {"dy", random({5, 4}, "d")}}, {{"experts", "3"}}});
  cases.push_back({"combine",
                   {{"x", random({5, 4}, "x")},
                    {"topk_idx", topk},
                    {"topk_weight", random({3, 2}, "w")},
                    {"dy", random({3, 4}, "d")}},
                   {{"experts", "3"}}});
  cases.push_back(
      {"load_metrics", {{"topk_idx", topk}, {"chosen_idx", whole({3, 2}, {0, 1, 0, 2, 1, 2})}}, {{"experts", "3"}}});
  cases.push_back({"bias_update", {{"bias", random({3}, "b")}, {"load", whole({3}, {2, 0, 1})}}, {}});
}

void add_balance(std::vector<OpCase>& cases) {
  const Tensor logits = random({4, 6}, "l");
  const Tensor choice = whole({4, 2}, {0, 1, 2, 5, -1, 3, 4, 5});
  cases.push_back(
      {"seq_balance_loss", {{"logits", logits.reshape({2, 2, 6})}, {"topk_idx", choice.reshape({2, 2, 2})}}, {}});
  for (const std::string op : {"batch_balance_loss", "expert_balance_loss"}) {
    cases.push_back({op, {{"logits", logits}, {"topk_idx", choice}}, {}});
    cases.push_back({op, {{"logits", logits}}, {{"num_experts_per_tok", "2"}, {"shared_logits", "1"}}});
  }
  cases.push_back({"device_balance_loss", {{"logits", logits}, {"topk_idx", choice}}, {{"devices", "3"}}});
  cases.push_back({"communication_balance_loss",
                   {{"logits", logits}, {"topk_idx", choice}},
                   {{"devices", "3"}, {"kept_devices", "2"}}});
  cases.push_back({"gshard_loss", {{"logits", logits}}, {{"tokens_a_group", "2"}}});
  cases.push_back({"switch_loss", {{"logits", logits}}, {}});
  cases.push_back({"router_z_loss", {{"logits", logits}}, {}});
}

void add_losses(std::vector<OpCase>& cases) {
  const tensor::NamedTensors inputs{
      {"logits", random({3, 7}, "l")}, {"targets", whole({3}, {6, -1, 0})}, {"weights", wide({3}, {0.5, 1, 2})}};
  cases.push_back({"cross_entropy", inputs, {{"z_loss", "0.001"}}});
  cases.push_back({"cross_entropy", inputs, {{"chunk", "3"}, {"scale", "1"}}});
  const tensor::NamedTensors generated{
      {"logits", random({2, 3, 5}, "l")}, {"tokens", whole({2, 3}, {4, 0, 1, 2, 3, 0})}, {"lens", whole({2}, {2, 3})}};
  cases.push_back({"token_log_probabilities", generated, {}});
  tensor::NamedTensors grpo = generated;
  grpo.emplace("logp_old", narrow({2, 3}, {-1, -2, 0, -1.5F, -1, -2}));
  grpo.emplace("logp_ref", narrow({2, 3}, {-2, -1, 0, -1.5F, -1, -1}));
  tensor::NamedTensors with_advantages = grpo;
  grpo.emplace("rewards", narrow({2}, {1, 0}));
  cases.push_back({"grpo", grpo, {}});
  with_advantages.emplace("adv", narrow({2}, {1, -1}));
  cases.push_back({"grpo", with_advantages, {{"reading", "seq"}}});
}

void add_quantisation(std::vector<OpCase>& cases) {
  const Tensor x = random({3, 20}, "x");
  cases.push_back({"quantize", {{"x", x}}, {{"tile", "1x8"}, {"transpose", "true"}}});
  cases.push_back({"quantize", {{"x", x}}, {{"format", "nvfp4"}}});
  cases.push_back({"quantize", {{"x", x}}, {{"format", "e5m6"}}});
  const std::vector<std::uint8_t> codes{0x38, 0x40, 0xb8, 0, 0x7e, 1};
  const std::vector<std::uint16_t> wide_codes{0x3c0, 1, 0x800};
  const std::vector<std::uint8_t> small{0, 1, 7, 15};
  cases.push_back({"dequantize",
                   {{"q", Tensor::from<std::uint8_t>({2, 3}, codes)}, {"scale", narrow({2, 2}, {1, 2, 0.5F, 3})}},
                   {{"tile", "1x2"}}});
  cases.push_back({"dequantize",
                   {{"q", Tensor::from<std::uint16_t>({1, 3}, wide_codes)}, {"scale", narrow({1, 1}, {2})}},
                   {{"format", "e5m6"}}});
  cases.push_back({"dequantize",
                   {{"q", Tensor::from<std::uint8_t>({2, 2}, small)},
                    {"scale", Tensor::from<std::uint8_t>({2, 1}, std::span(codes).first(2))},
                    {"tensor_scale", narrow({1}, {0.25F})}},
                   {{"format", "nvfp4"}}});
}

void add_training(std::vector<OpCase>& cases) {
  cases.push_back({"clip_gradients", {{"grad", random({2, 3}, "g")}}, {{"max_norm", "0.5"}}});
  const Tensor squares = narrow({3}, {0.5F, 0, 0.25F});
  const tensor::NamedTensors weights{{"w", random({3}, "w")}, {"grad", random({3}, "g")}};
  tensor::NamedTensors all = weights;
  all.emplace("m", random({3}, "m"));
  all.emplace("v", squares);
  cases.push_back({"adamw", all, {{"step", "2"}}});
  cases.push_back({"adamw", weights, {{"moments", "bf16"}, {"moment_use", "update_from_unrounded"}}});
  const tensor::NamedTensors run{{"step", whole({3}, {0, 1000, 5000})}, {"tokens", wide({3}, {0, 1e9, 1.2e13})}};
  cases.push_back({"learning_rate", run, {}});
  cases.push_back({"learning_rate", run, {{"schedule", "step_decay"}, {"factor", "0.5"}}});
  cases.push_back({"learning_rate", run, {{"schedule", "cosine"}, {"total_steps", "10000"}}});
  cases.push_back({"learning_rate", run, {{"schedule", "constant"}}});
  cases.push_back({"batch_size", {{"tokens", wide({2}, {0, 1e11})}}, {}});
}

void add_sampling(std::vector<OpCase>& cases) {
  cases.push_back({"sampling",
                   {{"logits", random({2, 6}, "l")}, {"u", wide({2}, {0.25, 0.75})}},
                   {{"temperature", "0.7"}, {"top_k", "4"}, {"top_p", "0.9"}}});
  cases.push_back({"verify_greedy", {{"draft", whole({2}, {1, 3})}, {"p", random({3, 4}, "p")}}, {}});
  cases.push_back({"verify_sampled",
                   {{"draft", whole({2}, {1, 0})},
                    {"p", wide({3, 2}, {0.25, 0.75, 0.5, 0.5, 0.125, 0.875})},
                    {"q", wide({2, 2}, {0.5, 0.5, 0.75, 0.25})},
                    {"u_accept", wide({2}, {0.5, 0.9})},
                    {"u_resample", wide({1}, {0.3})}},
                   {}});
  cases.push_back({"pack_documents", {{"document_tokens", whole({4}, {5, 3, 9, 1})}}, {{"window_tokens", "4"}}});
}

}  // namespace

std::vector<OpCase> op_cases() {
  std::vector<OpCase> cases;
  add_layers(cases);
  add_linear(cases);
  add_attention(cases);
  add_routing(cases);
  add_balance(cases);
  add_losses(cases);
  add_quantisation(cases);
  add_training(cases);
  add_sampling(cases);
  return cases;
}

}  // namespace lastbit::check
