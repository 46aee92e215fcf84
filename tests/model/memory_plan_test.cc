#include "model/memory_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/config_file.h"
#include "model/counts.h"
#include "model/weight_specs.h"

namespace lastbit::model {
namespace {

double bytes_of(const std::vector<MemoryPart>& plan, const std::string& start) {
  double bytes = 0;
  for (const MemoryPart& part : plan)
    if (part.name.starts_with(start)) bytes += part.bytes;
  return bytes;
}

PlannedPass pass_of(bool backward) {
  PlannedPass pass;
  pass.batch = 4;
  pass.tokens = 256;
  pass.backward = backward;
  return pass;
}

TEST(MemoryPlan, WeightsAndGradientsAreTheParameters) {
  const ModelConfig config = load_model_config("base-bench");
  const auto parameters = static_cast<double>(count_parameters(config).total());
  const auto plan = memory_plan(config, ops::numerics_by_name("fp32"), pass_of(true));
  EXPECT_EQ(bytes_of(plan, "weights"), 4 * parameters);
  EXPECT_EQ(bytes_of(plan, "gradients"), 4 * parameters);
  EXPECT_EQ(bytes_of(memory_plan(config, ops::numerics_by_name("fp64"), pass_of(false)), "weights"), 8 * parameters);
}

// What the recipe saves: codes in place of values; what recomputation saves: norms, heads, SwiGLU.
TEST(MemoryPlan, CodesAndRecomputationTakeLess) {
  const ModelConfig config = load_model_config("base-bench");
  const auto kept = [&](const char* policy, Recompute recompute) {
    PlannedPass pass = pass_of(true);
    pass.recompute = recompute;
    return bytes_of(memory_plan(config, ops::numerics_by_name(policy), pass), "kept");
  };
  const double all = kept("fp32", {});
  EXPECT_LT(kept("fp8-h800", {}), 0.8 * all);
  double fewest = all;
  for (const Recompute& recompute :
       {Recompute{true, false, false}, Recompute{true, true, false}, Recompute{true, true, true}}) {
    EXPECT_LT(kept("fp32", recompute), fewest);
    fewest = kept("fp32", recompute);
  }
}

// A byte for each weight of a layer but the router's, and the head's two, beside what a step cannot do without.
TEST(MemoryPlan, CodesOfWeightsAreKeptWhereTheBackwardPassHasThem) {
  ModelConfig config = load_model_config("tiny");
  PlannedPass pass = pass_of(true);
  const auto codes = [&](const char* policy) {
    return bytes_of(memory_plan(config, ops::numerics_by_name(policy), pass), "codes of weights");
  };
  double projections = 0;
  for (const WeightSpec& spec : main_weights(config))
    if (spec.role.find("proj") != std::string::npos)
      projections += static_cast<double>(tensor::element_count(spec.shape));
  const auto head = static_cast<double>(2 * config.vocab_size * config.hidden_size);
  EXPECT_EQ(codes("fp8-h800"), projections + head);
  EXPECT_EQ(codes("bf16"), head);
  EXPECT_EQ(codes("fp32"), 0);
  config.medusa_heads = 2;
  const auto square = static_cast<double>(config.hidden_size * config.hidden_size);
  EXPECT_EQ(codes("fp8-h800"), projections + head + 2 * square);
  // An MTP module has one more layer; what joins it to the model is in BF16.
  config.medusa_heads = 0;
  pass.mtp = true;
  double module = 0;
  for (const WeightSpec& spec : mtp_weights(config))
    if (spec.role.find("_proj") != std::string::npos && spec.role != "eh_proj.weight")
      module += static_cast<double>(tensor::element_count(spec.shape));
  EXPECT_GT(module, 0);
  EXPECT_EQ(codes("fp8-h800"), projections + head + module);
}

TEST(MemoryPlan, ModulesAndHeadsBeyondTheModelKeepTheirs) {
  ModelConfig config = load_model_config("tiny");
  PlannedPass pass = pass_of(true);
  const auto kept = [&](const char* part) {
    return bytes_of(memory_plan(config, ops::numerics_by_name("fp32"), pass), part);
  };
  EXPECT_EQ(kept("kept: MTP"), 0);
  pass.mtp = true;
  // Of a layer with experts, and what joins it to the model: six tensors of d.
  config.num_hidden_layers = 1;
  config.first_k_dense_replace = 0;
  const double layer = kept("kept") - kept("kept: MTP");
  EXPECT_EQ(kept("kept: MTP"), layer + 4 * 256 * 6 * 128 * 4);
  config.medusa_heads = 3;
  EXPECT_EQ(kept("kept: Medusa"), 4 * 256 * (2 + 3 * 3) * 128 * 4);
}

TEST(MemoryPlan, StreamingHoldsOneLayer) {
  const ModelConfig config = load_model_config("deepseek-v3");
  PlannedPass pass = pass_of(false);
  const double all = bytes_of(memory_plan(config, ops::numerics_by_name("fp32"), pass), "weights");
  pass.stream = true;
  const double one = bytes_of(memory_plan(config, ops::numerics_by_name("fp32"), pass), "weights");
  EXPECT_NEAR(all, 4 * 671.03e9, 4e9);
  EXPECT_NEAR(one, 4 * (11.5e9 + 2 * 129280.0 * 7168), 1e9);  // a mixture's layer, embedding and head
}

}  // namespace
}  // namespace lastbit::model
