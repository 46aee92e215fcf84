// The vectors of losses.safetensors through `lastbit op`, as somebody with a file and a kernel uses it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/arrays.h"
#include "io/json.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "support/cli.h"
#include "support/shared.h"
#include "tensor/cast.h"

namespace lastbit {
namespace {

using nlohmann::json;
using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;
using Words = std::vector<std::string>;

std::string losses_path() { return testing::shared_path("golden/model/losses.safetensors"); }

Tensor golden(const std::string& key) { return io::SafetensorsFile::open(losses_path()).tensor(key); }

json golden_parameters(const std::string& key) {
  return io::load_json(testing::shared_path("golden/model/losses.json")).at(key);
}

class OpGolden : public ::testing::Test {
 protected:
  void SetUp() override { LASTBIT_NEEDS_SHARED(); }

  // "name=key" of losses.safetensors as words of the command line.
  static Words bind(const std::vector<std::pair<std::string, std::string>>& inputs) {
    Words words;
    for (const auto& [name, key] : inputs) {
      words.emplace_back("--in");
      words.push_back(name + "=" + losses_path() + ":" + key);
    }
    return words;
  }

  // Runs the operator and gives its results.
  NamedTensors run(const std::string& op, const Words& words, const Words& settings = {}) {
    Words all{"op", op, "--out", dir.file("out.safetensors")};
    all.insert(all.end(), words.begin(), words.end());
    for (const std::string& setting : settings) all.insert(all.end(), {"--set", setting});
    const testing::CliResult result = testing::run_cli(all);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    if (result.exit_code != 0) return {};
    NamedTensors out;
    for (const auto& [name, array] : io::load_arrays(dir.file("out.safetensors"))) out.emplace(name, array.clone());
    return out;
  }

  std::string save(const std::string& name, const Tensor& array) {
    io::save_npy(dir.file(name + ".npy"), array);
    return name + "=" + dir.file(name + ".npy");
  }

  testing::TempDir dir;
};

// FP64 against FP64: `share` of the largest entry, by default a few hundred roundings of 2^-53.
void expect_near(const NamedTensors& results, const std::string& name, const std::string& key, double share = 1e-12) {
  ASSERT_TRUE(results.contains(name)) << name;
  const auto ours = results.at(name).values<double>();
  const Tensor expected = golden(key);
  const auto theirs = expected.values<double>();
  ASSERT_EQ(ours.size(), theirs.size()) << key;
  double largest = 0;
  for (const double value : theirs) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < ours.size(); ++i) ASSERT_NEAR(ours[i], theirs[i], share * largest) << key << " at " << i;
}

void expect_bytes(const Tensor& ours, const Tensor& expected, const std::string& what) {
  EXPECT_EQ(ours.dtype(), expected.dtype()) << what;
  EXPECT_EQ(ours.shape(), expected.shape()) << what;
  EXPECT_TRUE(std::ranges::equal(ours.bytes(), expected.bytes())) << what;
}

TEST_F(OpGolden, SequenceWiseBalanceLoss) {
  const NamedTensors raw =
      run("seq_balance_loss", bind({{"logits", "seqbal.logits"}}), {"alpha=1e-4", "num_experts_per_tok=2"});
  expect_near(raw, "loss", "seqbal.raw.loss");
  expect_near(raw, "grad_logits", "seqbal.raw.grad_logits");
  expect_near(raw, "f", "seqbal.raw.f");
  expect_near(raw, "P", "seqbal.P");

  // "biased" counts the experts that the router really chose.
  const Tensor flat = golden("seqbal.logits").reshape({24, 8});
  Words words = bind({{"bias", "seqbal.bias"}});
  words.insert(words.end(), {"--in", save("logits", flat)});
  const NamedTensors routing = run("router", words, {"num_experts_per_tok=2"});
  words = bind({{"logits", "seqbal.logits"}});
  words.insert(words.end(), {"--in", save("topk_idx", routing.at("topk_idx").reshape({2, 12, 2}))});
  const NamedTensors biased = run("seq_balance_loss", words, {"alpha=1e-4"});
  expect_near(biased, "loss", "seqbal.biased.loss");
  expect_near(biased, "grad_logits", "seqbal.biased.grad_logits");
  expect_near(biased, "f", "seqbal.biased.f");
}

TEST_F(OpGolden, DeepSeekMoELosses) {
  const Words logits = bind({{"logits", "moe1.logits"}});
  const NamedTensors expert = run("expert_balance_loss", logits, {"alpha=0.01", "num_experts_per_tok=3"});
  expect_near(expert, "loss", "moe1.expert.loss");
  expect_near(expert, "grad_logits", "moe1.expert.grad_logits");
  expect_near(expert, "f", "moe1.f");
  expect_near(expert, "P", "moe1.P");
  const NamedTensors device = run("device_balance_loss", logits, {"alpha=0.05", "num_experts_per_tok=3", "devices=3"});
  expect_near(device, "loss", "moe1.device.loss");
  expect_near(device, "grad_logits", "moe1.device.grad_logits");
  expect_near(device, "f", "moe1.f_device");
  expect_near(device, "P", "moe1.P_device");

  const NamedTensors limited = run("router", logits,
                                   {"scoring_func=softmax", "norm_topk_prob=false", "num_experts_per_tok=3",
                                    "group_rank=max", "n_group=3", "topk_group=2"});
  expect_bytes(limited.at("topk_idx"), golden("moe1.topk_idx_limited"), "device-limited routing");
  const NamedTensors sent =
      run("communication_balance_loss", bind({{"logits", "moe1.logits"}, {"topk_idx", "moe1.topk_idx_limited"}}),
          {"alpha=0.02", "devices=3", "kept_devices=2"});
  expect_near(sent, "loss", "moe1.comm.loss");
  expect_near(sent, "grad_logits", "moe1.comm.grad_logits");
  expect_near(sent, "f", "moe1.f_comm");
}

TEST_F(OpGolden, GshardSwitchAndZ) {
  const Words logits = bind({{"logits", "gs.logits"}});
  for (const auto& [op, prefix] :
       {std::pair{"gshard_loss", "gshard"}, {"switch_loss", "switch"}, {"router_z_loss", "zloss"}}) {
    const NamedTensors loss = run(op, logits);
    expect_near(loss, "loss", std::string(prefix) + ".loss");
    expect_near(loss, "grad_logits", std::string(prefix) + ".grad_logits");
  }
}

// Router, loads and bias update in turn, step by step along the trace.
TEST_F(OpGolden, BiasUpdateFollowsItsTrace) {
  const Tensor logits = golden("bias.logits");
  const Tensor loads = golden("bias.load");
  const Tensor trace = golden("bias.trace");
  Tensor bias = trace.slice(0, 0, 1).contiguous().reshape({8});
  for (std::int64_t step = 0; step < 6; ++step) {
    SCOPED_TRACE(step);
    const std::string now = save("bias", bias);
    const std::string rows = save("logits", logits.slice(0, step, step + 1).contiguous().reshape({24, 8}));
    const NamedTensors routing = run("router", {"--in", rows, "--in", now}, {"num_experts_per_tok=2"});
    const NamedTensors metrics = run("load_metrics", {"--in", save("topk_idx", routing.at("topk_idx"))}, {"experts=8"});
    const auto load = metrics.at("load").values<std::int64_t>();
    const auto expected = loads.values<double>().subspan(static_cast<std::size_t>(8 * step), 8);
    for (std::size_t e = 0; e < 8; ++e) EXPECT_EQ(static_cast<double>(load[e]), expected[e]);
    bias = run("bias_update", {"--in", now, "--in", save("load", metrics.at("load"))}, {"gamma=0.001"}).at("bias");
    expect_bytes(bias, trace.slice(0, step + 1, step + 2).contiguous().reshape({8}), "bias");
  }
}

TEST_F(OpGolden, AdamWWithBf16MomentsBitForBit) {
  const json parameters = golden_parameters("adamw");
  const Tensor gradients = golden("adamw.grads");
  for (const std::string habit : {"update_from_rounded", "update_from_unrounded"}) {
    const Tensor trace = golden("adamw." + habit + ".w");
    Tensor w = golden("adamw.w0");
    NamedTensors state;
    for (std::int64_t t = 0; t < 4; ++t) {
      NamedTensors inputs{{"w", w}, {"grad", gradients.slice(0, t, t + 1).contiguous().reshape({64})}};
      if (t > 0) inputs.insert({{"m", state.at("m")}, {"v", state.at("v")}});
      io::save_arrays(dir.file("in.safetensors"), inputs);
      state = run("adamw", {"--in", dir.file("in.safetensors")},
                  {"moments=bf16", "moment_use=" + habit, "step=" + std::to_string(t + 1),
                   "learning_rate=" + parameters.at("lr").dump(), "beta1=" + parameters.at("beta1").dump(),
                   "beta2=" + parameters.at("beta2").dump(), "eps=" + parameters.at("eps").dump(),
                   "weight_decay=" + parameters.at("weight_decay").dump()});
      w = state.at("w");
      expect_bytes(w, trace.slice(0, t, t + 1).contiguous().reshape({64}), habit + " w");
    }
    for (const std::string moment : {"m", "v"}) {
      EXPECT_EQ(state.at(moment).dtype(), DType::kBF16);
      expect_bytes(tensor::to_f32(state.at(moment)), golden("adamw." + habit + "." + moment), habit + " " + moment);
    }
  }
}

TEST_F(OpGolden, Clipping) {
  const Tensor gradient = golden("adamw.grads").slice(0, 0, 1).contiguous().reshape({64});
  const NamedTensors clipped = run("clip_gradients", {"--in", save("grad", gradient)}, {"max_norm=1"});
  EXPECT_NEAR(clipped.at("norm").values<double>()[0] / golden("clip.norm").values<double>()[0], 1, 1e-15);
  const Tensor wide = tensor::cast(gradient, DType::kF64);
  const NamedTensors in_fp64 = run("clip_gradients", {"--in", save("grad", wide)});
  expect_near(in_fp64, "out", "clip.out", 1e-15);
}

TEST_F(OpGolden, LearningRate) {
  const json cases = golden_parameters("lr_v3");
  std::vector<std::int64_t> steps;
  std::vector<double> tokens;
  for (const json& c : cases) {
    steps.push_back(c.at("step"));
    tokens.push_back(c.at("tokens"));
  }
  const auto count = std::ssize(steps);
  const NamedTensors rates = run("learning_rate", {"--in", save("step", Tensor::from<std::int64_t>({count}, steps)),
                                                   "--in", save("tokens", Tensor::from<double>({count}, tokens))});
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const double expected = cases[i].at("lr");
    EXPECT_NEAR(rates.at("lr").values<double>()[i], expected, 1e-15 * expected);
  }
}

// Values of order 1 after some ten roundings; behind the end of an output ours are 0 and the golden's anything.
void expect_near_where_valid(const Tensor& ours, const std::string& key) {
  const Tensor expected = golden(key);
  const Tensor lengths = golden("grpo.lens");
  ASSERT_EQ(ours.size(), expected.size()) << key;
  const std::int64_t positions = golden("grpo.tokens").dim(1);
  const std::int64_t width = ours.size() / (lengths.size() * positions);
  for (std::int64_t i = 0; i < ours.size(); ++i) {
    const std::int64_t row = i / width;
    const auto length = lengths.values<std::int64_t>()[static_cast<std::size_t>(row / positions)];
    const bool valid = row % positions < length;
    const auto at = static_cast<std::size_t>(i);
    ASSERT_NEAR(ours.values<double>()[at], valid ? expected.values<double>()[at] : 0, 1e-14) << key << " at " << i;
  }
}

TEST_F(OpGolden, Grpo) {
  for (const auto& [logits, key] :
       {std::pair{"grpo.logits_old", "grpo.logp_old"}, {"grpo.logits_ref", "grpo.logp_ref"}})
    expect_near_where_valid(
        run("token_log_probabilities", bind({{"logits", logits}, {"tokens", "grpo.tokens"}, {"lens", "grpo.lens"}}))
            .at("logp"),
        key);
  // Padding of the golden log probabilities is 0 or less, as it must be.
  const Words words = bind({{"logits", "grpo.logits"},
                            {"tokens", "grpo.tokens"},
                            {"lens", "grpo.lens"},
                            {"logp_old", "grpo.logp_old"},
                            {"logp_ref", "grpo.logp_ref"},
                            {"rewards", "grpo.rewards"}});
  for (const std::string deviation : {"popstd", "sampstd"})
    for (const std::string reading : {"token", "seq", "tokmean"}) {
      const NamedTensors loss =
          run("grpo", words, {"reading=" + reading, "deviation=" + deviation, "clip_range=0.2", "kl_weight=0.04"});
      const std::string prefix = "grpo." + deviation + ".";
      EXPECT_NEAR(loss.at("loss").values<double>()[0], golden(prefix + reading + ".loss").values<double>()[0], 1e-14);
      expect_near(loss, "adv", prefix + "adv", 1e-14);
      if (reading != "tokmean") expect_near_where_valid(loss.at("grad_logits"), prefix + reading + ".grad_logits");
      if (reading == "token") expect_near_where_valid(loss.at("k3"), prefix + "token.k3");
    }
}

TEST_F(OpGolden, QuantisationBitForBit) {
  for (const auto& [prefix, scale] : {std::pair{"fp8.act", "fp32"}, {"fp8.act_ue8m0", "ue8m0"}}) {
    const NamedTensors codes = run("quantize", bind({{"x", "fp8.act.x"}}),
                                   {"zero_block=epsilon", "amax_epsilon=1e-4", std::string("scale=") + scale});
    expect_bytes(codes.at("q"), golden(std::string(prefix) + ".q"), prefix);
    expect_bytes(codes.at("scale"), golden(std::string(prefix) + ".scale"), prefix);
  }
}

TEST_F(OpGolden, YarnFrequencies) {
  const Tensor x = Tensor::zeros(DType::kF64, {1, 1, 64});
  const Words settings{"scaling=yarn", "factor=40", "original_positions=4096"};
  expect_near(run("rope", {"--in", save("x", x)}, settings), "inv_freq", "yarn.v3.inv_freq");
}

TEST_F(OpGolden, SpeculativeVerification) {
  const json cases = io::load_json(testing::shared_path("golden/model/transforms.json")).at("spec").at("cases");
  const auto rows = [](const json& table) {
    std::vector<double> all;
    for (const json& row : table)
      for (const json& value : row) all.push_back(value);
    return Tensor::from<double>({std::ssize(table), std::ssize(table[0])}, all);
  };
  for (const json& c : cases) {
    const std::vector<std::int64_t> draft = c.at("draft");
    const std::vector<double> u_accept = c.at("u_accept");
    const std::vector<double> u_resample{c.at("u_resample").get<double>()};
    NamedTensors inputs{{"p", rows(c.at("p"))}, {"draft", Tensor::from<std::int64_t>({std::ssize(draft)}, draft)}};
    io::save_arrays(dir.file("greedy.npz"), inputs);
    inputs.insert({{"q", rows(c.at("q"))},
                   {"u_accept", Tensor::from<double>({std::ssize(u_accept)}, u_accept)},
                   {"u_resample", Tensor::from<double>({1}, u_resample)}});
    io::save_arrays(dir.file("sampled.npz"), inputs);
    const NamedTensors greedy = run("verify_greedy", {"--in", dir.file("greedy.npz")});
    EXPECT_EQ(greedy.at("accepted").values<std::int64_t>()[0], c.at("greedy_accepted"));
    EXPECT_EQ(greedy.at("next_token").values<std::int64_t>()[0], c.at("greedy_next"));
    const NamedTensors sampled = run("verify_sampled", {"--in", dir.file("sampled.npz")});
    EXPECT_EQ(sampled.at("accepted").values<std::int64_t>()[0], c.at("accepted"));
    EXPECT_EQ(sampled.at("next_token").values<std::int64_t>()[0], c.at("next_token"));
    const std::vector<double> residual = c.at("residual");
    for (std::size_t i = 0; i < residual.size(); ++i)
      EXPECT_NEAR(sampled.at("residual").values<double>()[i], residual[i], 1e-15);
  }
}

}  // namespace
}  // namespace lastbit
