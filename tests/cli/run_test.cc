// lastbit init and run: what a user gets, and what a user is told when something is wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/small_config.h"
#include "io/arrays.h"
#include "io/atomic_file.h"
#include "io/hdf5.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using tensor::Tensor;
using testing::CliResult;
using testing::expect_one_line_error;
using testing::run_cli;

class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_config("source.json", small_config());
    const CliResult made = run_cli({"init", dir_.file("source.json"), "--seed", "5", "--out", model()});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    const std::vector<std::int64_t> ids = {1, 2, 3, 31, 0, 7};
    io::save_npy(dir_.file("ids.npy"), Tensor::from<std::int64_t>({2, 3}, ids));
  }

  [[nodiscard]] std::string model() const { return dir_.file("model"); }
  [[nodiscard]] std::string out() const { return dir_.file("out.safetensors"); }
  void write_config(const std::string& file, const nlohmann::json& config) {
    io::write_text_file(dir_.file(file), config.dump());
  }

  CliResult run(const std::vector<std::string>& more = {}, const std::string& ids = "ids.npy") {
    std::vector<std::string> args{"run", model(), "--tokens", dir_.file(ids), "--out", out()};
    args.insert(args.end(), more.begin(), more.end());
    return run_cli(args);
  }

  // Expects exit code `code`, one line with each of `parts`, and no output file.
  void expect_refused(const CliResult& result, int code, const std::vector<std::string>& parts) {
    expect_one_line_error(result, code, parts);
    EXPECT_FALSE(std::filesystem::exists(out()));
  }

  // Rewrites the checkpoint with `change` applied to its tensors.
  template <typename Change>
  void change_weights(const Change& change) {
    tensor::NamedTensors tensors;
    for (const auto& [name, tensor] : io::SafetensorsFile::open(weights()).tensors()) tensors[name] = tensor.clone();
    change(tensors);
    io::save_safetensors(weights(), tensors);
  }
  [[nodiscard]] std::string weights() const { return model() + "/model.safetensors"; }

  testing::TempDir dir_;
};

TEST_F(RunTest, WritesTheTapsAskedFor) {
  const CliResult result = run({"--tap", "logits,hidden.layer1,router.topk_idx.layer1"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto file = io::SafetensorsFile::open(out());
  EXPECT_EQ(file.names(), (std::vector<std::string>{"hidden.layer1", "logits", "router.topk_idx.layer1"}));
  EXPECT_EQ(file.tensor("logits").shape(), (tensor::Shape{2, 3, 32}));
  EXPECT_EQ(file.tensor("router.topk_idx.layer1").shape(), (tensor::Shape{6, 2}));
}

TEST_F(RunTest, TakesTokenIdsOnTheCommandLineToo) {
  ASSERT_EQ(run_cli({"run", model(), "--token-ids", "1,2,3", "--out", out()}).exit_code, 0);
  const Tensor typed = io::load_array(out() + ":logits");
  io::save_npy(dir_.file("row.npy"), Tensor::from<std::int64_t>({1, 3}, std::vector<std::int64_t>{1, 2, 3}));
  ASSERT_EQ(run({}, "row.npy").exit_code, 0);
  EXPECT_EQ(std::ranges::equal(typed.bytes(), io::load_array(out() + ":logits").bytes()), true);
}

TEST_F(RunTest, RefusesNoTokensAndTwoSourcesOfThem) {
  expect_refused(run_cli({"run", model(), "--out", out()}), 2, {"--token-ids", "neither"});
  expect_refused(run({"--token-ids", "1,2"}), 2, {"--token-ids", "both"});
}

TEST_F(RunTest, WritesEveryContainerAlike) {
  for (const char* name : {"a.safetensors", "a.npz", "a.h5"}) {
    const CliResult result = run_cli({"run", model(), "--tokens", dir_.file("ids.npy"), "--out", dir_.file(name)});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  const Tensor reference = io::load_array(dir_.file("a.safetensors:logits"));
  for (const char* name : {"a.npz:logits", "a.h5:logits"}) {
    const Tensor other = io::load_array(dir_.file(name));
    EXPECT_EQ(other.shape(), reference.shape());
    EXPECT_TRUE(std::ranges::equal(other.bytes(), reference.bytes())) << name;
  }
}

TEST_F(RunTest, ASequenceHasTheSameBitsInAnyBatch) {
  ASSERT_EQ(run().exit_code, 0);
  const Tensor both = io::SafetensorsFile::open(out()).tensor("logits").clone();
  const std::vector<std::int64_t> second = {31, 0, 7};
  io::save_npy(dir_.file("second.npy"), Tensor::from<std::int64_t>({1, 3}, second));
  ASSERT_EQ(run({}, "second.npy").exit_code, 0);
  const Tensor alone = io::SafetensorsFile::open(out()).tensor("logits");
  EXPECT_TRUE(std::ranges::equal(alone.bytes(), both.slice(0, 1, 2).contiguous().bytes()));
}

TEST_F(RunTest, NamesWhatIsMissing) {
  expect_refused(run_cli({"run", dir_.file("nowhere"), "--tokens", dir_.file("ids.npy"), "--out", out()}), 2,
                 {"nowhere", "no such directory"});
  expect_refused(run({}, "no.npy"), 2, {"no.npy"});
  std::filesystem::remove(weights());
  expect_refused(run(), 2, {"model", "model.safetensors"});
  std::filesystem::remove(model() + "/config.json");
  expect_refused(run(), 2, {"config.json"});
}

TEST_F(RunTest, RefusesDamagedWeights) {
  std::filesystem::resize_file(weights(), std::filesystem::file_size(weights()) - 10);
  expect_refused(run(), 2, {"model.safetensors"});
  std::filesystem::resize_file(weights(), 20);
  expect_refused(run(), 2, {"model.safetensors"});
}

TEST_F(RunTest, RefusesWeightsThatDoNotFitTheConfig) {
  const std::string norm = "model.layers.0.input_layernorm.weight";
  change_weights([&](tensor::NamedTensors& tensors) { tensors[norm] = Tensor::zeros(tensor::DType::kF32, {17}); });
  expect_refused(run(), 2, {norm, "[17]", "[16]"});
  change_weights([&](tensor::NamedTensors& tensors) { tensors[norm] = Tensor::zeros(tensor::DType::kI32, {16}); });
  expect_refused(run(), 2, {norm, "i32", "f32"});
  change_weights([&](tensor::NamedTensors& tensors) { tensors.erase(norm); });
  expect_refused(run(), 2, {norm, "missing", "[16]"});
  change_weights([&](tensor::NamedTensors& tensors) {
    tensors[norm] = Tensor::zeros(tensor::DType::kF32, {16});
    tensors["model.layers.0.input_layernorms.weight"] = tensors[norm];
  });
  expect_refused(run(), 2, {"input_layernorms", "not expected", "did you mean '" + norm + "'"});
}

TEST_F(RunTest, RefusesAHalfMtpModuleButRunsWithoutOne) {
  change_weights([&](tensor::NamedTensors& tensors) { tensors.erase("model.layers.2.eh_proj.weight"); });
  expect_refused(run(), 2, {"model.layers.2.eh_proj.weight", "missing"});
  change_weights([&](tensor::NamedTensors& tensors) {
    std::erase_if(tensors, [](const auto& entry) { return entry.first.starts_with("model.layers.2."); });
  });
  EXPECT_EQ(run().exit_code, 0);
}

TEST_F(RunTest, RefusesWeightsThatAreNotFinite) {
  change_weights([&](tensor::NamedTensors& tensors) {
    tensors["lm_head.weight"].mutable_values<float>()[9] = std::numeric_limits<float>::quiet_NaN();
  });
  expect_refused(run(), 2, {"lm_head.weight", "element 9", "nan"});
}

TEST_F(RunTest, RefusesActivationsThatOverflow) {
  change_weights([&](tensor::NamedTensors& tensors) {
    for (float& value : tensors["lm_head.weight"].mutable_values<float>()) value = 3e38F;
  });
  expect_refused(run(), 2, {"not finite"});
}

TEST_F(RunTest, RefusesFp8WeightsWithoutScales) {
  const std::string name = "model.layers.0.self_attn.o_proj.weight";
  change_weights([&](tensor::NamedTensors& tensors) { tensors[name] = Tensor::zeros(tensor::DType::kE4M3, {16, 8}); });
  expect_refused(run(), 2, {name, "e4m3", "quantization_config"});
  nlohmann::json config = small_config();
  config["quantization_config"] = {{"quant_method", "fp8"}, {"fmt", "e4m3"}, {"weight_block_size", {8, 8}}};
  write_config("model/config.json", config);
  expect_refused(run(), 2, {name + "_scale_inv", "missing", "[2, 1]"});
}

TEST_F(RunTest, RefusesBadConfigs) {
  nlohmann::json config = small_config();
  config["kv_lora_ranks"] = 3;
  write_config("model/config.json", config);
  expect_refused(run(), 2, {"config.json", "kv_lora_ranks", "did you mean 'kv_lora_rank'"});
  io::write_text_file(model() + "/config.json", "{\"model_type\": ");
  expect_refused(run(), 2, {"config.json"});
}

TEST_F(RunTest, RefusesBadTokens) {
  const std::vector<std::int64_t> outside = {1, 2, 3, 4, 32, 5};
  io::save_npy(dir_.file("outside.npy"), Tensor::from<std::int64_t>({2, 3}, outside));
  expect_refused(run({}, "outside.npy"), 2, {"[1, 1]", "32", "0 to 31"});
  const std::vector<std::int64_t> negative = {-1};
  io::save_npy(dir_.file("negative.npy"), Tensor::from<std::int64_t>({1, 1}, negative));
  expect_refused(run({}, "negative.npy"), 2, {"[0, 0]", "-1"});
  const std::vector<std::int32_t> narrow = {1, 2};
  io::save_npy(dir_.file("narrow.npy"), Tensor::from<std::int32_t>({1, 2}, narrow));
  expect_refused(run({}, "narrow.npy"), 2, {"i32 [1, 2]", "i64 [B, S]"});
  io::save_npy(dir_.file("flat.npy"), Tensor::from<std::int64_t>({6}, outside));
  expect_refused(run({}, "flat.npy"), 2, {"i64 [6]", "i64 [B, S]"});
  io::save_npy(dir_.file("empty.npy"), Tensor::zeros(tensor::DType::kI64, {1, 0}));
  expect_refused(run({}, "empty.npy"), 2, {"at least one token"});
}

TEST_F(RunTest, RefusesBadTapsNumericsAndOutputs) {
  expect_refused(run({"--tap", "logits,hidden.layr1"}), 2, {"hidden.layr1", "did you mean 'hidden.layer1'"});
  expect_refused(run({"--tap", "router.logits.layer0"}), 2, {"router.logits.layer0"});  // a dense layer
  expect_refused(run({"--numerics", "fp33"}), 2, {"fp33", "did you mean 'fp32'"});
  expect_refused(run_cli({"run", model(), "--tokens", dir_.file("ids.npy"), "--out", dir_.file("out.txt")}), 2,
                 {"out.txt", ".safetensors"});
  const std::vector<std::int64_t> one = {1};
  io::save_npy(dir_.file("one.npy"), Tensor::from<std::int64_t>({1, 1}, one));
  expect_refused(run({"--tap", "loss"}, "one.npy"), 2, {"loss", "at least 2"});
  expect_refused(run({"--grads", dir_.file("g.npz")}, "one.npy"), 2, {"loss", "at least 2"});
  expect_refused(run({"--grads", dir_.file("g.npy")}), 2, {"g.npy", ".safetensors"});
  expect_refused(run({"--tap", "grad.hidden.layr1"}), 2, {"did you mean 'grad.hidden.layer1'"});
  expect_refused(run({"--stream", "--grads", dir_.file("g.npz")}), 2, {"--stream", "no gradients"});
  expect_refused(run({"--attention", "absorbed", "--grads", dir_.file("g.npz")}), 2, {"absorbed", "no backward pass"});
  expect_refused(run({"--recompute", "norms"}), 2, {"--recompute", "--grads"});
  expect_refused(run({"--seed", "-1", "--loss"}), 2, {"--seed", "-1"});
  expect_refused(run({"--step", "-1", "--loss"}), 2, {"--step", "-1"});
  expect_refused(run({"--documents", "1,1"}), 2, {"sum to 2", "3"});
  expect_refused(run({"--documents", "0,3"}), 2, {"found 0"});
  expect_refused(run({"--shadow", "fp16"}), 2, {"fp16", "fp32"});
  expect_refused(run({"--recompute", "everything"}), 2, {"everything"});
  expect_refused(run({"--mtp", "both"}), 2, {"both"});
  expect_refused(run_cli({"run", model(), "--token-ids", "1,2"}), 2, {"nothing to do", "--grads"});
  expect_refused(run_cli({"run", model(), "--token-ids", "1,2", "--tap", "logits"}), 2, {"--out"});
  EXPECT_FALSE(std::filesystem::exists(dir_.file("g.npz")));
}

TEST_F(RunTest, LossAndGradientsUnderEveryPolicy) {
  for (const char* policy : {"fp32", "fp64", "bf16", "fp8-h800", "fp8-h800-nopromote", "fp8-h800-e5m2"}) {
    const std::string grads = dir_.file(std::string(policy) + ".npz");
    const CliResult result =
        run_cli({"run", model(), "--tokens", dir_.file("ids.npy"), "--numerics", policy, "--loss", "--grads", grads});
    ASSERT_EQ(result.exit_code, 0) << policy << ": " << result.err;
    for (const char* line : {"loss   ", "loss, with gradients", "loss, with MTP as paper", "loss, with MTP as hf"})
      EXPECT_NE(result.out.find(line), std::string::npos) << result.out;
    const tensor::NamedTensors gradients = io::load_arrays(grads);
    EXPECT_TRUE(gradients.contains("grad.lm_head.weight"));
    EXPECT_FALSE(gradients.contains("grad.model.layers.2.eh_proj.weight"));  // the main loss does not reach MTP
    EXPECT_TRUE(gradients.contains("grad_mtp.paper.model.layers.2.eh_proj.weight"));
    EXPECT_TRUE(gradients.contains("grad_mtp.hf.model.layers.2.eh_proj.weight"));
    EXPECT_EQ(gradients.at("grad.lm_head.weight").dtype(),
              std::string(policy) == "fp64" ? tensor::DType::kF64 : tensor::DType::kF32);
  }
}

TEST_F(RunTest, RecomputationChangesNoBit) {
  for (const char* policy : {"fp32", "fp8-h800"}) {
    const auto grads = [&](const std::string& name, const std::vector<std::string>& more) {
      std::vector<std::string> arguments = {"run",        model(), "--tokens", dir_.file("ids.npy"),
                                            "--numerics", policy,  "--grads",  dir_.file(name)};
      arguments.insert(arguments.end(), more.begin(), more.end());
      EXPECT_EQ(run_cli(arguments).exit_code, 0);
      return io::load_arrays(dir_.file(name));
    };
    const tensor::NamedTensors kept = grads("kept.npz", {});
    for (const char* recompute : {"norms", "up_projections", "swiglu", "norms,up_projections,swiglu"}) {
      const tensor::NamedTensors made_again = grads("again.npz", {"--recompute", recompute});
      ASSERT_EQ(kept.size(), made_again.size());
      for (const auto& [name, gradient] : kept)
        EXPECT_TRUE(std::ranges::equal(gradient.bytes(), made_again.at(name).bytes())) << name << " " << recompute;
    }
  }
}

TEST_F(RunTest, AShadowListsEveryProductAndChangesNothing) {
  const CliResult result =
      run({"--numerics", "fp8-h800", "--shadow", "fp32", "--grads", dir_.file("g.npz"), "--mtp", "none"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"rel. err", "model.layers.1.mlp.experts.down_proj", "lm_head", "fprop", "dgrad", "wgrad"})
    EXPECT_NE(result.out.find(part), std::string::npos) << result.out;
  EXPECT_EQ(result.out.find("mlp.gate "), std::string::npos) << "the router is no product on a tensor core";
  ASSERT_EQ(run_cli({"run", model(), "--tokens", dir_.file("ids.npy"), "--numerics", "fp8-h800", "--grads",
                     dir_.file("alone.npz"), "--mtp", "none"})
                .exit_code,
            0);
  const tensor::NamedTensors alone = io::load_arrays(dir_.file("alone.npz"));
  for (const auto& [name, gradient] : io::load_arrays(dir_.file("g.npz")))
    EXPECT_TRUE(std::ranges::equal(gradient.bytes(), alone.at(name).bytes())) << name;
}

TEST_F(RunTest, AShadowOfNothingSaysSo) {
  const CliResult result = run({"--shadow", "fp32"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("no product ran on a tensor core"), std::string::npos) << result.out;
}

TEST_F(RunTest, StreamsInFp64) {
  ASSERT_EQ(run({"--numerics", "fp64"}).exit_code, 0);
  const tensor::NamedTensors whole = io::load_arrays(out());
  ASSERT_EQ(run({"--numerics", "fp64", "--stream"}).exit_code, 0);
  const tensor::NamedTensors streamed = io::load_arrays(out());
  EXPECT_TRUE(std::ranges::equal(whole.at("logits").bytes(), streamed.at("logits").bytes()));
}

TEST_F(RunTest, ADryRunPrintsThePlanWithoutTheWeights) {
  const CliResult result = run_cli({"run", "deepseek-v3", "--token-ids", "1,2,3", "--dry-run", "--stream"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"weights of one layer", "logits", "total", "MB"})
    EXPECT_NE(result.out.find(part), std::string::npos) << result.out;
}

// Grouped-query attention with biases and tied embeddings: the other families run, too.
TEST_F(RunTest, RunsLlamaAndQwen) {
  for (const char* type : {"llama", "qwen2"}) {
    nlohmann::json config{{"model_type", type},
                          {"vocab_size", 32},
                          {"hidden_size", 16},
                          {"intermediate_size", 24},
                          {"num_hidden_layers", 2},
                          {"num_attention_heads", 4},
                          {"num_key_value_heads", 2},
                          {"tie_word_embeddings", true},
                          {"max_position_embeddings", 64}};
    write_config("other.json", config);
    ASSERT_EQ(run_cli({"init", dir_.file("other.json"), "--out", dir_.file(type)}).exit_code, 0);
    const CliResult result = run_cli({"run", dir_.file(type), "--token-ids", "1,2,3,4", "--loss", "--grads",
                                      dir_.file("grads.npz"), "--tap", "logits,decode.logits", "--out", out()});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const tensor::NamedTensors outputs = io::load_arrays(out());
    EXPECT_TRUE(std::ranges::equal(outputs.at("logits").bytes(), outputs.at("decode.logits").bytes())) << type;
    std::filesystem::remove(out());
  }
}

TEST_F(RunTest, SaysWhatRoutersDropAndWeighsAuxiliaryLosses) {
  nlohmann::json config = small_config();
  config["lastbit_capacity_factor"] = 0.5;
  config["aux_loss_alpha"] = 0.25;
  write_config("model/config.json", config);
  const std::string grads = dir_.file("grads.npz");
  const CliResult left_out = run({"--grads", grads, "--balance-loss", "on", "--mtp", "none"});
  ASSERT_EQ(left_out.exit_code, 0) << left_out.err;
  EXPECT_NE(left_out.err.find("layer 1: "), std::string::npos) << left_out.err;
  EXPECT_NE(left_out.err.find("pairs dropped"), std::string::npos) << left_out.err;
  EXPECT_NE(left_out.err.find("auxiliary loss 0.2"), std::string::npos) << left_out.err;  // alpha times about 1
  const CliResult counted = run({"--grads", grads, "--balance-loss", "on", "--mtp", "none", "--balance-in-loss"});
  ASSERT_EQ(counted.exit_code, 0) << counted.err;
  EXPECT_NE(counted.out, left_out.out);
}

TEST_F(RunTest, TakesMtpAsReleasedOrAsPrinted) {
  const std::string grads = dir_.file("grads.npz");
  std::vector<std::string> printed;
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{{}, {"--mtp-loss", "all"}, {"--mtp-order", "hidden-first"}}) {
    std::vector<std::string> arguments = {"--grads", grads, "--mtp", "paper"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const CliResult result = run(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    for (const std::string& other : printed) EXPECT_NE(result.out, other);
    printed.push_back(result.out);
  }
}

TEST_F(RunTest, TakesGradientsOfMedusaHeads) {
  nlohmann::json config = small_config();
  config["lastbit_medusa_heads"] = 1;
  write_config("medusa.json", config);
  ASSERT_EQ(run_cli({"init", dir_.file("medusa.json"), "--out", dir_.file("medusa")}).exit_code, 0);
  const CliResult result = run_cli(
      {"run", dir_.file("medusa"), "--token-ids", "1,2,3,4", "--grads", dir_.file("grads.npz"), "--mtp", "none"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("loss, with Medusa heads"), std::string::npos) << result.out;
  const Tensor gradient = io::load_array(dir_.file("grads.npz:grad_medusa.medusa.0.proj.weight"));
  EXPECT_EQ(gradient.shape(), (tensor::Shape{16, 16}));
  EXPECT_GT(std::abs(gradient.values<float>()[0]), 0.0F);
}

TEST(InitCommand, RefusesUnknownModels) {
  const testing::TempDir dir;
  expect_one_line_error(run_cli({"init", "tinny", "--out", dir.file("x")}), 2, {"tinny", "did you mean 'tiny'"});
  EXPECT_FALSE(std::filesystem::exists(dir.file("x")));
}

}  // namespace
}  // namespace lastbit
