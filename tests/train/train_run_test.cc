#include "train/train_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "core/parallel.h"
#include "io/atomic_file.h"
#include "io/routing_trace.h"
#include "io/sealed_hdf5.h"
#include "model/transformer.h"
#include "train/metrics_log.h"
#include "train/small_run.h"
#include "train/train_state.h"

namespace lastbit::train {
namespace {

namespace fs = std::filesystem;

const char* const kLast = "/checkpoints/step-000000006.h5";

// The bytes of the last checkpoint of a run of `output` with these threads.
std::string run_at_once(const testing::TempDir& folder, const std::string& output, int threads,
                        nlohmann::json changes = {}) {
  core::set_num_threads(threads);
  changes["output"] = folder.file(output);
  EXPECT_EQ(train(small_config(folder, changes), {}).end, RunEnd::kFinished);
  core::set_num_threads(0);
  return testing::read_file(folder.file(output) + kLast);
}

TEST(TrainRun, ResumesBitForBitAtAnyNumberOfThreads) {
  const testing::TempDir folder;
  for (const std::string numerics : {"fp32", "fp8-h800", "fp8-h800-delayed"}) {
    const nlohmann::json changes = {{"numerics", numerics}};
    const std::string expected = run_at_once(folder, numerics + "-one", 1, changes);
    ASSERT_NE(expected, "");
    EXPECT_EQ(run_at_once(folder, numerics + "-two", 2, changes), expected);
    const TrainConfig config =
        small_config(folder, {{"numerics", numerics}, {"output", folder.file(numerics + "-parts")}});
    RunOptions options;
    options.resume = true;
    options.max_steps = 3;
    EXPECT_EQ(train(config, options).end, RunEnd::kStopped);
    core::set_num_threads(2);
    EXPECT_EQ(train(config, options).end, RunEnd::kFinished);
    core::set_num_threads(0);
    EXPECT_EQ(testing::read_file(config.output + kLast), expected) << numerics;
  }
}

TEST(TrainRun, WritesWhatItSaysAndKeepsTheLastCheckpoints) {
  const testing::TempDir folder;
  const TrainConfig config =
      small_config(folder, {{"record", {{"routing_trace_every", 2}, {"shadow_every", 4}}}, {"numerics", "fp8-h800"}});
  const RunResult result = train(config, {});
  EXPECT_EQ(result.summary.at("end"), "finished");
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(config.output + "/checkpoints"))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"step-000000004.h5", "step-000000006.h5"}));
  const std::vector<nlohmann::json> lines = read_metrics(config.output + "/metrics.jsonl");
  EXPECT_EQ(std::ranges::count_if(lines, [](const auto& line) { return line.contains("loss"); }), 6);
  EXPECT_EQ(std::ranges::count_if(lines, [](const auto& line) { return line.contains("validation"); }), 2);
  EXPECT_EQ(std::ranges::count_if(lines, [](const auto& line) { return line.contains("shadow"); }), 1);
  const io::RoutingTrace trace = io::load_routing_trace(config.output + "/routing.h5");
  EXPECT_EQ(trace.steps, (std::vector<std::int64_t>{2, 4, 6}));
  EXPECT_EQ(trace.tokens, (std::vector<std::int64_t>{64, 128, 128}));
  const std::string report = testing::read_file(config.output + "/report.html");
  for (const char* part : {"Expert load, layer 1", "Relative error, wgrad", "bits a byte", "</html>"})
    EXPECT_NE(report.find(part), std::string::npos) << part;
  EXPECT_EQ(report.find("nan"), std::string::npos);
  // The exported weights are the masters.
  const model::Transformer model = model::Transformer::load(config.output + "/model", ops::numerics_by_name("fp32"));
  const io::SealedFile last = io::load_sealed_hdf5(config.output + kLast);
  for (const auto& [key, tensor] : last.tensors)
    if (key.starts_with("weights/")) {
      const auto bytes = model.weights().get(key.substr(8)).bytes();
      ASSERT_TRUE(std::ranges::equal(bytes, tensor.bytes())) << key;
    }
}

// What a step does, from its parts: the gradient of all its rows at once, clipped, through AdamW's first step.
TEST(TrainRun, AStepIsClippedAdamWOnTheMeanGradient) {
  const testing::TempDir folder;
  const TrainConfig config =
      small_config(folder, {{"steps", 1},
                            {"batch", {{"first_sequences", 4}}},
                            {"learning_rate", {{"schedule", "constant"}, {"warm_up_steps", 0}, {"floor", nullptr}}},
                            {"optimiser", {{"moments", "fp32"}, {"clip_norm", 0.5}, {"epsilon", 1e-4}}},
                            {"balance", {{"auxiliary_losses", false}}}});
  Trainer trainer(config);
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  const std::vector<float> before(trainer.state().weights.at(name).values<float>().begin(),
                                  trainer.state().weights.at(name).values<float>().end());
  model::Gradients gradients = trainer.model().zero_gradients();
  TokenWindows windows(config.data, 1024, config.seed);
  model::LossOptions options;
  options.mtp.emplace();
  (void)trainer.model().loss_and_gradients(windows.read(0, 4).ids, options, gradients);
  const StepReport report = trainer.step();
  double squares = 0;
  for (const auto& [key, tensor] : gradients.tensors())
    for (const float g : tensor.values<float>()) squares += static_cast<double>(g) * static_cast<double>(g);
  EXPECT_NEAR(report.gradient_norm, std::sqrt(squares), 1e-5 * std::sqrt(squares));
  const double factor = std::min(1.0, 0.5 / (std::sqrt(squares) + 1e-6));
  EXPECT_LT(factor, 1);
  const auto gradient = gradients.of(name).values<float>();
  const auto after = trainer.state().weights.at(name).values<float>();
  for (std::size_t i = 0; i < before.size(); ++i) {
    const double g = static_cast<double>(gradient[i]) * factor;
    const double expected = static_cast<double>(before[i]) * (1 - 0.01 * 0.1) - 0.01 * g / (std::abs(g) + 1e-4);
    // Two micro-batches are summed in another order than one of four rows.
    ASSERT_NEAR(static_cast<double>(after[i]), expected, 2e-6) << i;
  }
}

TEST(TrainRun, BiasesMoveAgainstTheLoadUntilTheyRest) {
  const testing::TempDir folder;
  Trainer trainer(small_config(folder, {{"balance", {{"bias_rate", 0.01}, {"bias_until", 0.5}}}}));
  const std::string name = "model.layers.1.mlp.gate.e_score_correction_bias";
  const StepReport report = trainer.step();
  ASSERT_EQ(report.layers.size(), 2U);  // the model's and the MTP module's
  const double mean = 64.0 * 2 / 8;
  for (std::size_t i = 0; i < 8; ++i) {
    const auto load = static_cast<double>(report.layers[0].load[i]);
    const float expected = load > mean ? -0.01F : load < mean ? 0.01F : 0.0F;
    EXPECT_EQ(trainer.state().weights.at(name).values<float>()[i], expected) << i;
  }
  while (!trainer.finished()) {
    const std::vector<float> before(trainer.state().weights.at(name).values<float>().begin(),
                                    trainer.state().weights.at(name).values<float>().end());
    const StepReport later = trainer.step();
    const bool rests = std::ranges::equal(before, trainer.state().weights.at(name).values<float>());
    EXPECT_EQ(rests, later.bias_rate == 0);
  }
}

TEST(TrainRun, DivergenceNamesThePlaceAndLeavesAStateThatRepeatsIt) {
  const testing::TempDir folder;
  const TrainConfig config = small_config(
      folder, {{"learning_rate", {{"schedule", "constant"}, {"peak", 1e20}, {"warm_up_steps", 1}, {"floor", nullptr}}},
               {"optimiser", {{"weight_decay", 0}}}});
  const RunResult first = train(config, {});
  ASSERT_EQ(first.end, RunEnd::kDiverged);
  for (const char* part : {"step 3", "micro-batch 0", "layer ", "tensor '"})
    EXPECT_NE(first.message.find(part), std::string::npos) << first.message;
  RunOptions options;
  options.resume_from = config.output + "/checkpoints/before-failure-000000002.h5";
  EXPECT_EQ(train(config, options).message, first.message);
}

TEST(TrainRun, RefusesToMixRuns) {
  const testing::TempDir folder;
  const TrainConfig config = small_config(folder);
  RunOptions options;
  options.max_steps = 2;
  (void)train(config, options);
  EXPECT_THROW((void)train(config, options), core::Error);  // checkpoints there, no resume
  options.resume = true;
  try {
    (void)train(small_config(folder, {{"optimiser", {{"beta2", 0.99}}}}), options);
    FAIL();
  } catch (const core::Error& error) {
    EXPECT_NE(std::string(error.what()).find("another 'optimiser'"), std::string::npos) << error.what();
  }
}

TEST(TrainRun, TakesUpTheMetricsWhereTheCheckpointStands) {
  const testing::TempDir folder;
  const std::string path = folder.file("metrics.jsonl");
  io::write_text_file(path, "{\"step\":0}\n{\"step\":1,\"a\":2}\n{\"step\":2}\n{\"step\":3,\"b\"");
  MetricsLog log(path, 1);
  log.append({{"step", 2}, {"c", 1}});
  const std::vector<nlohmann::json> lines = read_metrics(path);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[2].at("c"), 1);
}

}  // namespace
}  // namespace lastbit::train
