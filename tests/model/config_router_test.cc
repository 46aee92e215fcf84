#include "model/config_router.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "model/config_file.h"
#include "model/feed_forward.h"
#include "model/tiny_models.h"

namespace lastbit::model {
namespace {

ModelConfig parsed(const nlohmann::json& object) { return parse_model_config(object, "x.json"); }

nlohmann::json router(const char* name, std::int64_t experts, const nlohmann::json& more = nlohmann::json::object()) {
  return with(with(tiny_v1(), {{"lastbit_router", name}, {"num_experts_per_tok", experts}}), more);
}

// Refused in one line that holds each of `parts`.
void expect_refused(const nlohmann::json& object, const std::vector<std::string>& parts) {
  try {
    static_cast<void>(parsed(object));
    ADD_FAILURE() << "accepted: " << parts.front();
  } catch (const core::Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
  }
}

TEST(ConfigRouter, DefaultsAreTheReleases) {
  const ops::RouterRule v3 = router_rule(parsed(tiny_v3()));
  EXPECT_EQ(v3.affinity, ops::Affinity::kSigmoid);
  EXPECT_EQ(v3.group_rank, ops::GroupRank::kTopTwo);
  EXPECT_EQ(v3.capacity_factor, 0);
  EXPECT_TRUE(v3.normalise);
  EXPECT_FALSE(parsed(tiny_v3()).balance.count_routed);
  const ops::RouterRule v2 = router_rule(parsed(tiny_v2()));
  EXPECT_EQ(v2.group_rank, ops::GroupRank::kMax);
  EXPECT_EQ(v2.devices, 4);  // a group is a device
  EXPECT_TRUE(parsed(tiny_v2()).balance.count_routed);
  EXPECT_EQ(parsed(tiny_v1()).router_options.devices, 1);
}

TEST(ConfigRouter, ReadsEveryRouter) {
  const ops::RouterRule gshard =
      router_rule(parsed(router("gshard", 2, {{"lastbit_random_second", true}, {"lastbit_capacity_factor", 2.0}})));
  EXPECT_EQ(gshard.top_k, 2);
  EXPECT_TRUE(gshard.normalise);
  EXPECT_TRUE(gshard.random_second);
  EXPECT_EQ(gshard.capacity_factor, 2.0);
  const ModelConfig switched = parsed(router("switch", 1, {{"lastbit_jitter", 0.01}}));
  EXPECT_EQ(switched.router, RouterKind::kSwitch);
  EXPECT_EQ(switched.router_options.jitter, 0.01);
  EXPECT_FALSE(router_rule(switched).normalise);
  EXPECT_EQ(router_rule(parsed(router("hash", 1))).selection, ops::Selection::kHash);
  const ops::RouterRule top_p =
      router_rule(parsed(router("top_p", 4, {{"lastbit_top_p", 0.4}, {"scoring_func", "sigmoid"}})));
  EXPECT_EQ(top_p.selection, ops::Selection::kTopP);
  EXPECT_EQ(top_p.affinity, ops::Affinity::kNormalisedSigmoid);
  EXPECT_EQ(top_p.top_p, 0.4);
  EXPECT_EQ(top_p.top_k, 4);
  const ops::RouterRule shares = router_rule(parsed(with(tiny_v3(), {{"lastbit_group_rank", "top_share"}})));
  EXPECT_EQ(shares.group_rank, ops::GroupRank::kTopShare);
  EXPECT_FALSE(shares.masked_at_zero);
  EXPECT_TRUE(router_rule(parsed(with(tiny_v3(), {{"lastbit_masked_groups", "zero"}}))).masked_at_zero);
  const ops::RouterRule dropping = router_rule(parsed(
      with(tiny_v2(),
           {{"lastbit_device_capacity_factor", 1.0}, {"lastbit_devices", 2}, {"lastbit_protected_share", 0.25}})));
  EXPECT_EQ(dropping.device_capacity_factor, 1.0);
  EXPECT_EQ(dropping.devices, 2);
  EXPECT_EQ(dropping.protected_share, 0.25);
  EXPECT_EQ(router_rule(parsed(with(tiny_v1(), {{"lastbit_shared_logits", true}}))).shared_logits, 1);
}

TEST(ConfigRouter, RefusesBadValuesNamingTheKey) {
  struct Bad {
    nlohmann::json object;
    const char* key;
    const char* expected;
  };
  const std::vector<Bad> cases = {
      {router("gshard", 3), "num_experts_per_tok", "2 with router gshard"},
      {router("switch", 2), "num_experts_per_tok", "1 with router switch"},
      {router("hash", 2), "num_experts_per_tok", "1 with router hash"},
      {router("swich", 1), "lastbit_router", "did you mean 'switch'"},
      {router("top_p", 3), "lastbit_top_p", "no key"},
      {router("top_p", 3, {{"lastbit_top_p", 0}}), "lastbit_top_p", "above 0"},
      {router("top_p", 3, {{"lastbit_top_p", 1.5}}), "lastbit_top_p", "1.5"},
      {router("top_p", 3, {{"lastbit_top_p", 0.5}, {"topk_method", "noaux_tc"}}), "topk_method", "greedy"},
      {router("switch", 1, {{"lastbit_jitter", 1}}), "lastbit_jitter", "below 1"},
      {router("switch", 1, {{"lastbit_capacity_factor", -1}}), "lastbit_capacity_factor", "at least 0"},
      {router("switch", 1, {{"scoring_func", "sigmoid"}}), "scoring_func", "softmax"},
      {router("hash", 1, {{"aux_loss_alpha", 0.1}}), "aux_loss_alpha", "hash"},
      {router("hash", 1, {{"lastbit_z_loss", 0.1}}), "lastbit_z_loss", "the router is hash"},
      {with(tiny_v3(), {{"lastbit_top_p", 0.5}}), "lastbit_top_p", "deepseek_v3's"},
      {with(tiny_v3(), {{"lastbit_group_rank", "top3"}}), "lastbit_group_rank", "top2"},
      {with(tiny_v3(), {{"lastbit_balance_counts", "biased"}}), "lastbit_balance_counts", "routed"},
      {with(tiny_v3(), {{"lastbit_switch_loss_alpha", 0.1}}), "lastbit_switch_loss_alpha", "softmax"},
      {with(tiny_v3(), {{"lastbit_communication_loss_alpha", 0.1}, {"lastbit_devices", 2}}),
       "lastbit_communication_loss_alpha", "n_group"},
      {with(tiny_v2(), {{"lastbit_devices", 3}}), "lastbit_devices", "divisor of n_routed_experts 8"},
      {with(tiny_v2(), {{"lastbit_protected_share", 0.2}}), "lastbit_protected_share", "device_capacity"},
      {with(tiny_v2(), {{"lastbit_group_rank", "top2"}}), "lastbit_group_rank", "deepseek_v2's"},
      {with(tiny_v1(), {{"lastbit_shared_logits", true}, {"n_shared_experts", 0}}), "lastbit_shared_logits", "shared"},
      {with(tiny_v1(), {{"lastbit_device_loss_alpha", -0.1}}), "lastbit_device_loss_alpha", "at least 0"},
      {with(tiny_v1(), {{"lastbit_capacity_facto", 1}}), "lastbit_capacity_facto", "lastbit_capacity_factor"},
      {with(tiny_v3(), {{"lastbit_yarn_mscale", "always"}}), "lastbit_yarn_mscale", "yarn"},
      {with(tiny_v3(), {{"lastbit_medusa_own_heads", true}}), "lastbit_medusa_own_heads", "lastbit_medusa_heads"},
  };
  for (const Bad& bad : cases) expect_refused(bad.object, {"x.json", bad.key, bad.expected});
}

TEST(ConfigRouter, ADenseModelIgnoresThemAll) {
  EXPECT_EQ(parsed(router("top_p", 3, {{"n_routed_experts", 0}, {"lastbit_z_loss", 0.1}})).n_routed_experts, 0);
}

}  // namespace
}  // namespace lastbit::model
