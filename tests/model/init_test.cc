#include "model/init.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "core/error.h"
#include "core/parallel.h"
#include "io/weights.h"
#include "model/config_file.h"
#include "model/counts.h"
#include "model/tiny_models.h"
#include "model/transformer.h"
#include "support/shared.h"

namespace lastbit::model {
namespace {

TEST(WeightSpecs, AddUpToTheCounts) {
  for (const char* preset : {"tiny", "deepseek-v3", "deepseek-v2", "deepseek-v2-lite", "deepseekmoe-16b",
                             "deepseek-67b", "qwen2.5-72b", "gshard-137b"}) {
    const ModelConfig config = load_model_config(preset);
    const ParameterCounts counts = count_parameters(config);
    std::int64_t main = 0;
    std::int64_t mtp = 0;
    for (const WeightSpec& spec : main_weights(config)) main += tensor::element_count(spec.shape);
    for (const WeightSpec& spec : mtp_weights(config)) mtp += tensor::element_count(spec.shape);
    EXPECT_EQ(main, counts.total()) << preset;
    EXPECT_EQ(mtp, counts.mtp_stored) << preset;
  }
}

TEST(WeightSpecs, AddUpToTheCountsOfLastbitsOwnKeys) {
  for (const nlohmann::json& object :
       {with(tiny_v1(), {{"lastbit_router", "hash"}, {"num_experts_per_tok", 1}}),
        with(tiny_v1(), {{"lastbit_shared_logits", true}, {"lastbit_medusa_heads", 2}}),
        with(tiny_v3(), {{"lastbit_medusa_heads", 2}, {"lastbit_medusa_own_heads", true}, {"qk_rope_head_dim", 0}})}) {
    const ModelConfig config = parse_model_config(object, "x.json");
    std::int64_t elements = 0;
    for (const WeightSpec& spec : main_weights(config)) elements += tensor::element_count(spec.shape);
    EXPECT_EQ(elements, count_parameters(config).total()) << object;
  }
}

TEST(WeightSpecs, EveryRandomTensorHasItsOwnStream) {
  const ModelConfig config = load_model_config("small");
  std::vector<WeightSpec> specs = main_weights(config);
  for (const WeightSpec& spec : mtp_weights(config)) specs.push_back(spec);
  std::map<std::uint64_t, std::string> first_words;
  for (const WeightSpec& spec : specs) {
    if (spec.kind != WeightKind::kMatrix || !spec.copy_of.empty()) continue;
    const tensor::Tensor weight =
        initial_weight({spec.name, {2, 2}, spec.kind, spec.role, spec.layer, spec.expert, ""}, config, 1);
    const auto values = weight.values<std::uint32_t>();
    const std::uint64_t key = (std::uint64_t{values[0]} << 32) | values[2];
    EXPECT_TRUE(first_words.emplace(key, spec.name).second) << spec.name << " repeats " << first_words[key];
  }
}

TEST(Init, WritesACheckpointThatRunsAndRepeats) {
  const testing::TempDir dir;
  core::set_num_threads(1);
  init_checkpoint("tiny", 1, dir.file("a"));
  core::set_num_threads(3);
  init_checkpoint("tiny", 1, dir.file("b"));
  core::set_num_threads(0);
  init_checkpoint("tiny", 2, dir.file("c"));
  const auto a = io::WeightDirectory::open(dir.file("a"));
  const auto b = io::WeightDirectory::open(dir.file("b"));
  const auto c = io::WeightDirectory::open(dir.file("c"));
  ASSERT_EQ(a.names(), b.names());
  for (const std::string& name : a.names())
    EXPECT_TRUE(std::ranges::equal(a.tensor(name).bytes(), b.tensor(name).bytes())) << name;
  const std::string embedding = "model.embed_tokens.weight";
  EXPECT_FALSE(std::ranges::equal(a.tensor(embedding).bytes(), c.tensor(embedding).bytes()));
  EXPECT_TRUE(std::ranges::equal(a.tensor(embedding).bytes(), a.tensor("model.layers.4.embed_tokens.weight").bytes()));
  EXPECT_EQ(a.tensor("model.norm.weight").values<float>()[5], 1.0F);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(a.tensor(embedding).values<float>()[0]), 0x3d8a5005U);

  const Transformer model = Transformer::load(dir.file("a"), {});
  const std::vector<std::int64_t> ids = {1, 17, 4000, 8191};
  ForwardOptions options;
  options.taps = {"loss", "logits"};
  tensor::NamedTensors outputs = model.forward(tensor::Tensor::from<std::int64_t>({1, 4}, ids), options);
  // Small random logits: every token about equally likely.
  EXPECT_NEAR(outputs.at("loss").values<float>()[0], std::log(8192.0), 0.2);
}

TEST(Init, RefusesWhatDoesNotFit) {
  try {
    init_checkpoint("deepseek-v3", 1, "nowhere");
    ADD_FAILURE() << "684B parameters were written";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kUnsupported) << error.what();
  }
}

}  // namespace
}  // namespace lastbit::model
