// What experts are for: their load by domain, and what the model loses without them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "eval/text_score.h"
#include "model/transformer.h"
#include "tensor/tensor.h"

namespace lastbit::eval {

// Shares of a domain's tokens that choose each expert, by MoE layer: [layer][domain][expert], domains in name order;
// a row sums to num_experts_per_tok. ids of a domain: [rows, S].
struct DomainLoads {
  std::vector<std::int64_t> layers;
  std::vector<std::string> domains;
  std::vector<std::vector<std::vector<double>>> shares;
};
// Errors (bad input): a model without routed experts.
[[nodiscard]] DomainLoads domain_loads(const model::Transformer& model,
                                       const std::map<std::string, tensor::Tensor>& domains, std::int64_t batch);

// A page with a heat map a layer, without network.
[[nodiscard]] std::string domain_load_page(const DomainLoads& loads, const std::string& title);

// Loads of all experts on `ids`, by MoE layer: how many tokens chose each.
[[nodiscard]] std::map<std::int64_t, std::vector<std::int64_t>> expert_loads(const model::Transformer& model,
                                                                             const tensor::Tensor& ids,
                                                                             std::int64_t batch);

// The score of `ids` without each MoE layer's `count` most loaded experts (as the ids themselves load them), whose
// tokens go to the next ones in the router's order: their bias becomes so low that they are never chosen. After
// "sensitivity to disabling top routed experts" (arXiv 2401.06066, section 4.5), which masks by token. `model` is given
// back as it was. Errors: routers without a bias are unsupported; count leaves fewer experts than a token takes: bad
// input.
[[nodiscard]] TextScore score_without_top_experts(model::Transformer& model, const tensor::Tensor& ids,
                                                  std::span<const std::int64_t> token_bytes, std::int64_t count,
                                                  std::int64_t batch);
// Without the shared experts: their down projections are zero for the while. Errors (bad input): there are none.
[[nodiscard]] TextScore score_without_shared_experts(model::Transformer& model, const tensor::Tensor& ids,
                                                     std::span<const std::int64_t> token_bytes, std::int64_t batch);

}  // namespace lastbit::eval
