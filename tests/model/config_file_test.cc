#include "model/config_file.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"
#include "io/config_file.h"
#include "io/data_dir.h"
#include "support/shared.h"

namespace lastbit::model {
namespace {

nlohmann::json preset(const std::string& name) {
  return io::load_config_file(io::data_path("models/" + name + ".json"));
}

// Expects that `object` is refused with `kind` and one line that holds each of `parts`.
void expect_refused(const nlohmann::json& object, core::ErrorKind kind, const std::vector<std::string>& parts) {
  try {
    static_cast<void>(parse_model_config(object, "x.json"));
    ADD_FAILURE() << "accepted: " << parts.front();
  } catch (const core::Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.kind(), kind) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
  }
}

struct BadValue {
  const char* key;
  nlohmann::json value;
  const char* expected;  // a part of the message
};

TEST(ModelConfigFile, ReadsDeepSeekV3) {
  const ModelConfig config = load_model_config("deepseek-v3");
  EXPECT_EQ(config.model_type, "deepseek_v3");
  EXPECT_EQ(config.vocab_size, 129280);
  EXPECT_EQ(config.num_hidden_layers, 61);
  EXPECT_EQ(config.attention, AttentionKind::kMla);
  EXPECT_EQ(config.q_lora_rank, 1536);
  EXPECT_EQ(config.qk_head_dim(), 192);
  EXPECT_TRUE(config.rope_interleave);
  EXPECT_EQ(config.router, RouterKind::kV3);
  EXPECT_EQ(config.topk_method, TopkMethod::kNoauxTc);
  EXPECT_EQ(config.n_group, 8);
  EXPECT_EQ(config.topk_group, 4);
  EXPECT_EQ(config.routed_scaling_factor, 2.5);
  ASSERT_TRUE(config.rope_scaling.has_value());
  EXPECT_EQ(config.rope_scaling->factor, 40);
  EXPECT_EQ(config.rope_scaling->mscale_all_dim, 1);
  ASSERT_TRUE(config.quantization_config.has_value());
  EXPECT_FALSE(config.is_moe_layer(2));
  EXPECT_TRUE(config.is_moe_layer(3));
  EXPECT_EQ(config.num_nextn_predict_layers, 1);
}

TEST(ModelConfigFile, ReadsTheOtherFamilies) {
  const ModelConfig v2 = load_model_config("deepseek-v2");
  EXPECT_EQ(v2.router, RouterKind::kV2);
  EXPECT_EQ(v2.topk_method, TopkMethod::kGroupLimitedGreedy);
  EXPECT_FALSE(v2.norm_topk_prob);
  EXPECT_EQ(load_model_config("deepseek-v2-lite").q_lora_rank, 0);
  const ModelConfig v1 = load_model_config("deepseekmoe-16b");
  EXPECT_EQ(v1.attention, AttentionKind::kGqa);
  EXPECT_EQ(v1.head_dim, 128);
  EXPECT_EQ(v1.router, RouterKind::kDeepSeekMoE);
  EXPECT_EQ(v1.scoring_func, ScoringFunc::kSoftmax);
  const ModelConfig llama = load_model_config("llama-3.1-405b");
  EXPECT_EQ(llama.num_key_value_heads, 8);
  ASSERT_TRUE(llama.rope_llama3.has_value());
  EXPECT_EQ(llama.rope_llama3->high_freq_factor, 4);
  EXPECT_TRUE(load_model_config("qwen2.5-72b").qkv_bias);
  EXPECT_EQ(load_model_config("gshard-137b").router, RouterKind::kGShard);
}

TEST(ModelConfigFile, EveryPresetLoadsAndNamesItsSource) {
  const std::vector<std::string> names = model_presets();
  EXPECT_GE(names.size(), 16U);
  for (const std::string& name : names) {
    EXPECT_NO_THROW(static_cast<void>(load_model_config(name))) << name;
    EXPECT_TRUE(preset(name).contains("lastbit_source")) << name;
  }
}

TEST(ModelConfigFile, ReadsGoldenDirectories) {
  LASTBIT_NEEDS_SHARED();
  for (const char* name : {"v3_base", "v3_yarn_noq", "v3_zerobias_nonorm", "v3_fp8", "v2_group", "v1_seqaux"})
    EXPECT_NO_THROW(static_cast<void>(load_model_config(testing::shared_path(std::string("golden/model/") + name))))
        << name;
}

TEST(ModelConfigFile, BaseBenchHasTheValuesOfThePeersBench) {
  LASTBIT_NEEDS_SHARED();
  const nlohmann::json bench = io::load_config_file(testing::shared_path("peers/bench_config.json"));
  const nlohmann::json ours = preset("base-bench");
  for (const auto& [key, value] : bench.items()) EXPECT_EQ(ours.at(key), value) << key;
}

TEST(ModelConfigFile, ReadsRopeParametersOfTransformersFive) {
  nlohmann::json object = preset("deepseek-v3");
  nlohmann::json parameters = object["rope_scaling"];
  parameters.erase("type");
  parameters["rope_type"] = "yarn";
  parameters["rope_theta"] = 50000;
  object["rope_parameters"] = parameters;
  expect_refused(object, core::ErrorKind::kInput, {"rope_scaling", "rope_parameters"});
  object.erase("rope_scaling");
  object.erase("rope_theta");
  const ModelConfig config = parse_model_config(object, "x.json");
  EXPECT_EQ(config.rope_theta, 50000);
  ASSERT_TRUE(config.rope_scaling.has_value());
  EXPECT_EQ(config.rope_scaling->factor, 40);
}

TEST(ModelConfigFile, RefusesBadValuesNamingTheKey) {
  const std::vector<BadValue> cases = {
      {"n_group", 7, "divisor of n_routed_experts 256"},
      {"n_group", 256, "at least 2"},
      {"topk_group", 9, "at most n_group 8"},
      {"topk_group", 0, "topk_group"},
      {"num_experts_per_tok", 129, "at most the 128 experts"},
      {"num_experts_per_tok", 0, "num_experts_per_tok"},
      {"qk_rope_head_dim", 63, "even"},
      {"v_head_dim", 0, "v_head_dim"},
      {"kv_lora_rank", nullptr, "kv_lora_rank"},
      {"hidden_size", "7168", "string \"7168\""},
      {"hidden_size", -1, "-1"},
      {"num_key_value_heads", 3, "divisor of num_attention_heads 128"},
      {"rms_norm_eps", 0, "above 0"},
      {"scoring_func", "sigmoit", "sigmoid"},
      {"topk_method", "greedy", "noaux_tc"},
      {"hidden_act", "gelu", "silu"},
      {"model_type", "deepseek_v4", "did you mean 'deepseek_v"},
      {"rope_theta", 0.5, "above 1"},
      {"routed_scaling_factor", 0, "above 0"},
  };
  for (const BadValue& bad : cases) {
    nlohmann::json object = preset("deepseek-v3");
    object[bad.key] = bad.value;
    expect_refused(object, core::ErrorKind::kInput, {"x.json", bad.key, bad.expected});
  }
}

TEST(ModelConfigFile, RefusesUnknownKeysWithASuggestion) {
  nlohmann::json object = preset("tiny");
  object["num_expert_per_tok"] = 2;
  expect_refused(object, core::ErrorKind::kInput, {"num_expert_per_tok", "did you mean 'num_experts_per_tok'"});
  object = preset("deepseek-v3");
  object["rope_scaling"]["factr"] = 2;
  expect_refused(object, core::ErrorKind::kInput, {"rope_scaling.factr", "factor"});
}

TEST(ModelConfigFile, SaysWhatIsValidButUnsupported) {
  nlohmann::json object = preset("deepseek-v3");
  object["rope_scaling"] = {{"type", "dynamic"}, {"factor", 2}};
  expect_refused(object, core::ErrorKind::kUnsupported, {"rope_scaling.type", "dynamic"});
  object = preset("deepseek-v3");
  object["quantization_config"] = {{"quant_method", "gptq"}};
  expect_refused(object, core::ErrorKind::kUnsupported, {"quantization_config.quant_method", "gptq"});
}

TEST(ModelConfigFile, NamesWhatCannotBeFound) {
  try {
    static_cast<void>(load_model_config("deepsek-v3"));
    ADD_FAILURE();
  } catch (const core::Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'deepseek-v3'"), std::string::npos) << error.what();
  }
  const testing::TempDir empty;
  EXPECT_THROW(static_cast<void>(load_model_config(empty.path())), core::Error);
}

}  // namespace
}  // namespace lastbit::model
