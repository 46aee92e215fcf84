// lastbit convert: checkpoints in FP32, BF16 and FP8 blocks.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/arrays.h"
#include "io/atomic_file.h"
#include "io/json.h"
#include "io/weights.h"
#include "support/cli.h"
#include "support/shared.h"
#include "tensor/cast.h"

namespace lastbit {
namespace {

using testing::run_cli;

// Sizes that are no multiples of a block, experts, a router with a bias, an MTP module.
const nlohmann::json kConfig{{"model_type", "deepseek_v3"},
                             {"vocab_size", 64},
                             {"hidden_size", 160},
                             {"intermediate_size", 200},
                             {"moe_intermediate_size", 96},
                             {"num_hidden_layers", 2},
                             {"first_k_dense_replace", 1},
                             {"n_routed_experts", 4},
                             {"num_experts_per_tok", 2},
                             {"n_group", 1},
                             {"topk_group", 1},
                             {"n_shared_experts", 1},
                             {"num_nextn_predict_layers", 1},
                             {"num_attention_heads", 2},
                             {"q_lora_rank", 48},
                             {"kv_lora_rank", 32},
                             {"qk_nope_head_dim", 32},
                             {"qk_rope_head_dim", 16},
                             {"v_head_dim", 32},
                             {"max_position_embeddings", 64}};

class Convert : public ::testing::Test {
 protected:
  void SetUp() override {
    io::write_text_file(folder_.file("config.json"), kConfig.dump());
    const auto made = run_cli({"init", folder_.file("config.json"), "--seed", "3", "--out", folder_.file("fp32")});
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }

  void convert(const std::string& from, const std::string& to, const std::string& out) {
    const auto result =
        run_cli({"convert", folder_.file(from), "--to", to, "--out", folder_.file(out), "--shard-gb", "0.001"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  std::vector<float> logits(const std::string& checkpoint) {
    const std::string out = folder_.file(checkpoint + ".npz");
    const auto result = run_cli({"run", folder_.file(checkpoint), "--token-ids", "1,2,3,5,8", "--out", out});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const tensor::Tensor values = tensor::to_f32(io::load_array(out + ":logits"));
    return {values.values<float>().begin(), values.values<float>().end()};
  }

  testing::TempDir folder_;
};

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(a[i] - b[i], 2);
    norm += std::pow(a[i], 2);
  }
  return std::sqrt(difference / norm);
}

TEST_F(Convert, ToFp8AndBack) {
  convert("fp32", "fp8", "fp8");
  convert("fp8", "fp32", "back");
  const io::WeightDirectory stored = io::WeightDirectory::open(folder_.file("fp8"));
  const std::string expert = "model.layers.1.mlp.experts.3.down_proj.weight";
  EXPECT_EQ(stored.tensor(expert).dtype(), tensor::DType::kE4M3);
  EXPECT_EQ(stored.tensor(expert + "_scale_inv").shape(), (tensor::Shape{2, 1}));  // of [160, 96]
  EXPECT_EQ(stored.tensor("model.layers.2.eh_proj.weight").dtype(), tensor::DType::kBF16);
  EXPECT_EQ(stored.tensor("model.layers.1.mlp.gate.weight").dtype(), tensor::DType::kBF16);
  EXPECT_EQ(stored.tensor("model.layers.1.mlp.gate.e_score_correction_bias").dtype(), tensor::DType::kF32);
  EXPECT_FALSE(stored.contains("lm_head.weight_scale_inv"));
  const nlohmann::json config = io::load_json(folder_.file("fp8/config.json"));
  EXPECT_EQ(config.at("quantization_config").at("weight_block_size"), nlohmann::json::array({128, 128}));
  // What was dequantised on the way in is what was dequantised on the way back.
  EXPECT_EQ(logits("fp8"), logits("back"));
  const double difference = relative_difference(logits("fp32"), logits("fp8"));
  EXPECT_GT(difference, 1e-3);
  EXPECT_LT(difference, 0.1);
  EXPECT_FALSE(io::load_json(folder_.file("back/config.json")).contains("quantization_config"));
}

TEST_F(Convert, ToBf16InShards) {
  convert("fp32", "bf16", "bf16");
  const nlohmann::json index = io::load_json(folder_.file("bf16/model.safetensors.index.json"));
  EXPECT_EQ(index.at("weight_map").at("lm_head.weight"), "model-00001-of-00002.safetensors");
  EXPECT_LT(relative_difference(logits("fp32"), logits("bf16")), 0.02);
  convert("bf16", "fp32", "wide");
  EXPECT_EQ(logits("bf16"), logits("wide"));
}

TEST_F(Convert, RefusesWhatItMust) {
  const auto refused = [&](std::vector<std::string> arguments, const std::vector<std::string>& parts) {
    arguments.insert(arguments.begin(), "convert");
    testing::expect_one_line_error(run_cli(arguments), 2, parts);
  };
  refused({folder_.file("fp32"), "--to", "fp9", "--out", folder_.file("x")}, {"fp9", "fp8"});
  refused({folder_.file("absent"), "--to", "fp8", "--out", folder_.file("x")}, {"absent"});
  refused({folder_.file("fp32"), "--to", "fp8", "--out", folder_.file("fp32")},
          {"config.json", "without a checkpoint"});
}

}  // namespace
}  // namespace lastbit
