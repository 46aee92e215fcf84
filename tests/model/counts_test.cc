#include "model/counts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "model/config_file.h"

namespace lastbit::model {
namespace {

// A published figure and the unit of its last digit: 671 to the nearest 1, 2.45 to the nearest 0.01.
struct Published {
  double value;
  double digit;
};

void expect_published(double counted, Published published, const std::string& what) {
  EXPECT_LE(std::abs(counted - published.value), 0.5 * published.digit * (1 + 1e-9)) << what << ": counted " << counted;
}

struct PublishedSize {
  const char* preset;
  Published total;                     // all in units of 1e9
  Published active;                    // with the input embedding
  Published active_without_embedding;  // digit 0: not published
};

TEST(Counts, ParametersAsPublished) {
  const std::vector<PublishedSize> sizes = {
      {"deepseek-v3", {671, 1}, {37.55, 0.01}, {36.63, 0.01}},
      {"deepseek-v2", {236, 1}, {21, 1}, {0, 0}},
      {"deepseek-v2-lite", {15.7, 0.1}, {2.66, 0.01}, {2.45, 0.01}},
      {"deepseekmoe-2b", {2.0, 0.1}, {0.3, 0.1}, {0, 0}},
      {"deepseekmoe-16b", {16.4, 0.1}, {2.83, 0.01}, {2.62, 0.01}},
      {"deepseekmoe-145b", {144.6, 0.1}, {22.20, 0.01}, {21.78, 0.01}},
      {"gshard-137b", {136.5, 0.1}, {21.6, 0.1}, {0, 0}},
      {"deepseek-7b", {6.9, 0.1}, {6.9, 0.1}, {0, 0}},
      {"deepseek-67b", {67, 1}, {67, 1}, {0, 0}},
      {"llama-3.1-405b", {405, 2}, {405, 2}, {0, 0}},
      {"qwen2.5-72b", {72.7, 0.1}, {72.7, 0.1}, {0, 0}},
  };
  for (const PublishedSize& size : sizes) {
    const ParameterCounts counts = count_parameters(load_model_config(size.preset));
    const std::string name = size.preset;
    expect_published(static_cast<double>(counts.total()) * 1e-9, size.total, name + " total");
    expect_published(static_cast<double>(counts.active()) * 1e-9, size.active, name + " active");
    if (size.active_without_embedding.digit > 0)
      expect_published(static_cast<double>(counts.active_without_embedding()) * 1e-9, size.active_without_embedding,
                       name + " active without embedding");
  }
}

// Published 142.3B total, 12.2B active, 374.6T FLOPs per 4K. 2 + 6 experts of width 1408 beside this attention are
// 13.6B; the published FLOPs agree with that (x = 8 x 1408 / (8/3 d) = 1.03125), so 12.2B is not reproduced.
TEST(Counts, HalfActivatedDeepSeekMoE) {
  const ModelConfig config = load_model_config("deepseekmoe-142b-half");
  const ParameterCounts counts = count_parameters(config);
  expect_published(static_cast<double>(counts.total()) * 1e-9, {142.3, 0.1}, "total");
  expect_published(static_cast<double>(counts.active()) * 1e-9, {13.6, 0.1}, "active");
  EXPECT_EQ(ffn_multiple(config), 1.03125);
  expect_published(paper_training_flops(config, 4096, ffn_multiple(config)) * 1e-12, {374.6, 0.1}, "FLOPs");
}

TEST(Counts, MultiTokenPredictionOfV3) {
  const ParameterCounts counts = count_parameters(load_model_config("deepseek-v3"));
  expect_published(static_cast<double>(counts.mtp_unique) * 1e-9, {11.6, 0.1}, "unique");
  expect_published(static_cast<double>(counts.mtp_stored) * 1e-9, {13.46, 0.01}, "as stored");
  EXPECT_EQ(counts.mtp_stored - counts.mtp_unique, 2 * 129280 * 7168);
}

TEST(Counts, SmallPresets) {
  const auto millions = [](const char* preset) {
    const ParameterCounts counts = count_parameters(load_model_config(preset));
    return static_cast<double>(counts.total() + counts.mtp_unique) * 1e-6;
  };
  EXPECT_NEAR(millions("tiny"), 5, 0.5);
  EXPECT_NEAR(millions("small"), 50, 5);
  EXPECT_NEAR(millions("base"), 500, 50);
}

TEST(Counts, TrainingFlopsATokenAtFourK) {  // arXiv 2505.09343, table 2: causal
  expect_published(count_flops(load_model_config("deepseek-v3"), 4096, true).training() * 1e-9, {250, 1}, "V3");
  expect_published(count_flops(load_model_config("deepseek-v2"), 4096, true).training() * 1e-9, {155, 1}, "V2");
}

struct PublishedFlops {
  const char* preset;
  Published teraflops;  // training, 4096 tokens
};

TEST(Counts, TrainingFlopsByThePapersFormula) {
  const std::vector<PublishedFlops> figures = {
      {"deepseek-7b", {183.48, 0.01}},
      {"deepseek-67b", {2057.46, 0.01}},
      {"deepseekmoe-16b", {74.42, 0.01}},
      {"gshard-137b", {572.7, 0.1}},
  };
  for (const PublishedFlops& figure : figures)
    expect_published(paper_training_flops(load_model_config(figure.preset), 4096) * 1e-12, figure.teraflops,
                     figure.preset);

  ModelConfig llama2_7b = load_model_config("deepseek-7b");
  llama2_7b.num_hidden_layers = 32;
  llama2_7b.vocab_size = 32000;
  expect_published(paper_training_flops(llama2_7b, 4096) * 1e-12, {187.94, 0.01}, "LLaMA2-7B");
}

// 585.6T published. The nominal x = 2 gives 572.7T; the true width (x = 2.0625) gives 585.5T, 0.02 % below.
TEST(Counts, TrainingFlopsOf145B) {
  const ModelConfig config = load_model_config("deepseekmoe-145b");
  EXPECT_EQ(ffn_multiple(config), 2.0625);
  expect_published(paper_training_flops(config, 4096) * 1e-12, {572.7, 0.1}, "nominal");
  EXPECT_NEAR(paper_training_flops(config, 4096, ffn_multiple(config)) * 1e-12, 585.6, 585.6 * 2.5e-4);
}

TEST(Counts, TrainingFlopsFromTheTrueOperators) {
  const auto teraflops = [](const char* preset) {
    return count_flops(load_model_config(preset), 4096, false).training() * 4096 * 1e-12;
  };
  expect_published(teraflops("deepseek-67b"), {1793, 1}, "67B");
  expect_published(teraflops("deepseekmoe-16b"), {75.9, 0.1}, "16B");
}

TEST(Counts, TwoBillionFamilyPerTwoK) {
  const ModelConfig config = load_model_config("deepseekmoe-2b");
  const auto teraflops = [&](double x) { return paper_training_flops(config, 2048, x) * 1e-12; };
  expect_published(paper_training_flops(config, 2048) * 1e-12, {4.3, 0.1}, "DeepSeekMoE");
  expect_published(teraflops(1), {2.9, 0.1}, "dense");
  expect_published(teraflops(3), {5.8, 0.1}, "GShard x1.5");
  expect_published(teraflops(16), {24.6, 0.1}, "dense x16");
}

TEST(Counts, CacheBytesAToken) {  // arXiv 2505.09343, table 1: BF16
  EXPECT_EQ(cache_bytes_per_token(load_model_config("deepseek-v3"), 2), 70272);
  EXPECT_EQ(cache_bytes_per_token(load_model_config("qwen2.5-72b"), 2), 327680);
  EXPECT_EQ(cache_bytes_per_token(load_model_config("llama-3.1-405b"), 2), 516096);
}

TEST(Counts, ExpertCombinations) {  // arXiv 2401.06066, section 3.1
  EXPECT_EQ(expert_combinations(16, 2), 120U);
  EXPECT_EQ(expert_combinations(64, 8), 4426165368U);
  EXPECT_EQ(expert_combinations(256, 8), 409663695276000U);
  EXPECT_EQ(expert_combinations(5, 5), 1U);
  EXPECT_EQ(expert_combinations(5, 0), 1U);
  EXPECT_EQ(expert_combinations(256, 128), std::nullopt);
}

// Forward FLOPs are twice the parameters that multiply, plus the attention core.
TEST(Counts, FlopsAgreeWithParameters) {
  for (const char* preset : {"deepseek-v3", "deepseek-v2-lite", "deepseekmoe-16b", "deepseek-67b", "tiny"}) {
    const ModelConfig config = load_model_config(preset);
    const ParameterCounts counts = count_parameters(config);
    const TokenFlops flops = count_flops(config, 4096, true);
    const double parameters = static_cast<double>(counts.active_without_embedding());
    EXPECT_NEAR((flops.forward() - flops.attention_core) / (2 * parameters), 1.0, 2e-3) << preset;
    const TokenFlops everywhere = count_flops(config, 4096, false);
    EXPECT_NEAR(everywhere.attention_core / flops.attention_core, 4096 / 2048.5, 1e-12) << preset;
  }
}

}  // namespace
}  // namespace lastbit::model
