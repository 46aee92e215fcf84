#include "model/parameter_groups.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "model/config_file.h"
#include "model/gradients.h"

namespace lastbit::model {
namespace {

TEST(ParameterGroups, EveryTrainedWeightIsInOneGroup) {
  const ModelConfig config = load_model_config("tiny");
  std::vector<WeightSpec> specs = main_weights(config);
  std::ranges::copy(mtp_weights(config), std::back_inserter(specs));
  const Gradients gradients(specs, tensor::DType::kF32);
  std::set<std::string> seen;
  std::size_t count = 0;
  for (const ParameterGroup& group : parameter_groups(specs)) {
    EXPECT_EQ(group.weight_decay, group.name == "matrices" || group.name == "embeddings") << group.name;
    seen.insert(group.weights.begin(), group.weights.end());
    count += group.weights.size();
  }
  EXPECT_EQ(count, seen.size());
  EXPECT_EQ(count, gradients.tensors().size());
  for (const std::string& name : seen) EXPECT_TRUE(gradients.has(name)) << name;
}

TEST(ParameterGroups, NormsNeverDecayAndEmbeddingsByOption) {
  const auto groups = parameter_groups(main_weights(load_model_config("qwen2.5-72b")), {false});
  ASSERT_EQ(groups.size(), 4U);
  EXPECT_EQ(groups[1].name, "embeddings");
  EXPECT_EQ(groups[1].weights, (std::vector<std::string>{"model.embed_tokens.weight", "lm_head.weight"}));
  EXPECT_FALSE(groups[1].weight_decay);
  EXPECT_EQ(groups[2].name, "norms");
  EXPECT_EQ(groups[2].weights.front(), "model.layers.0.input_layernorm.weight");
  EXPECT_EQ(groups[3].weights.front(), "model.layers.0.self_attn.q_proj.bias");
}

}  // namespace
}  // namespace lastbit::model
