#include "model/balance_loss.h"

#include <algorithm>

#include "ops/add.h"
#include "ops/balance.h"

namespace lastbit::model {
namespace {

// The most devices that a token is sent to: M of the communication loss.
std::int64_t kept_devices(const ModelConfig& config) {
  if (config.topk_method != TopkMethod::kGreedy) return config.topk_group;
  return std::min(config.num_experts_per_tok, config.router_options.devices);
}

void add(AuxiliaryLoss& total, const ops::BalanceLoss& term) {
  total.loss += term.loss;
  if (total.dlogits.size() == 0) {
    total.dlogits = term.dlogits;
  } else {
    ops::accumulate(total.dlogits, term.dlogits);
  }
}

}  // namespace

AuxiliaryLoss auxiliary_loss(const ModelConfig& config, const tensor::Tensor& logits, const ops::Routing& routing,
                             std::int64_t tokens_a_sequence) {
  const BalanceOptions& balance = config.balance;
  const std::int64_t sequence = config.seq_aux ? tokens_a_sequence : 0;
  const std::int64_t shared = config.router_options.shared_logits ? config.n_shared_experts : 0;
  const ops::Affinity affinity =
      config.scoring_func == ScoringFunc::kSigmoid ? ops::Affinity::kSigmoid : ops::Affinity::kSoftmax;
  const bool counts = config.aux_loss_alpha > 0 || balance.device_alpha > 0 || balance.communication_alpha > 0;
  const tensor::Tensor choice = counts && !balance.count_routed
                                    ? ops::unbiased_choice(logits, affinity, config.num_experts_per_tok, shared)
                                    : routing.chosen;
  const auto counted = [&](double alpha) {
    return ops::BalanceInput{logits, choice, affinity, alpha, sequence, shared};
  };
  AuxiliaryLoss total;
  if (config.aux_loss_alpha > 0) add(total, ops::expert_balance_loss(counted(config.aux_loss_alpha)));
  if (balance.device_alpha > 0)
    add(total, ops::device_balance_loss(counted(balance.device_alpha), config.router_options.devices));
  if (balance.communication_alpha > 0)
    add(total, ops::communication_balance_loss(counted(balance.communication_alpha), config.router_options.devices,
                                               kept_devices(config)));
  if (balance.gshard_alpha > 0) add(total, ops::gshard_loss(logits, balance.gshard_alpha, sequence));
  if (balance.switch_alpha > 0) add(total, ops::switch_loss(logits, balance.switch_alpha));
  if (balance.z_coefficient > 0) add(total, ops::router_z_loss(logits, balance.z_coefficient));
  return total;
}

}  // namespace lastbit::model
