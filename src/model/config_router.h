// The mixture-of-experts part of a configuration: experts, router, what is dropped, auxiliary losses.
#pragma once

#include "io/config_reader.h"
#include "model/config.h"

namespace lastbit::model {

// Reads Hugging Face's keys (n_routed_experts, topk_method, ...) and Lastbit's own into `config`, whose model_type is
// known. Lastbit's are refused where the router has no use for them:
//   lastbit_router                  gshard, switch, hash or top_p in place of the model_type's router
//   lastbit_capacity_factor         any router: an expert takes this times its even share of the tokens
//   lastbit_random_second           gshard: true or false
//   lastbit_jitter                  switch: 0 up to, without, 1
//   lastbit_top_p                   top_p (required): above 0, at most 1
//   lastbit_hash_seed               hash
//   lastbit_devices                 divides the experts; default n_group where groups are limited, else 1
//   lastbit_device_capacity_factor, lastbit_protected_share         the routers of deepseek, deepseek_v2, deepseek_v3
//   lastbit_group_rank              topk_method noaux_tc: top2 or top_share
//   lastbit_masked_groups           topk_method noaux_tc: out or zero (RouterRule::masked_at_zero)
//   lastbit_shared_logits           the routers of deepseek and deepseek_v2: true or false
//   lastbit_balance_counts          topk_method noaux_tc: unbiased or routed
//   lastbit_device_loss_alpha, lastbit_communication_loss_alpha, lastbit_gshard_loss_alpha, lastbit_switch_loss_alpha,
//   lastbit_z_loss                  any router with logits: coefficients of at least 0
// Errors: bad input that names the key.
void read_moe(const io::ConfigReader& reader, ModelConfig& config);

}  // namespace lastbit::model
